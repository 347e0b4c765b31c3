"""From messages to token ids as a model of today is chatted with, on tokenizers of three kinds."""

import re
import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from recipe.builtin.feedback import make_feedback
from recipe.builtin.tokenizer import train_tokenizer
from recipe.errors import UserError
from recipe.prompt import ChatFormat, Message, TokenizedPair
from recipe.prompt.current import MARKS
from recipe.prompt.templates import ZEPHYR_CHAT_TEMPLATE

TEXTS = [str(row["instruction"]) for row in make_feedback(64)]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}"
    "{% else %}{{ '<sep>\n[INST] ' + message['content'] | trim + ' [/INST]' }}{% endif %}{% endfor %}"
)


def wrapped(tokenizer: Tokenizer, template: str, **tokens: str) -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, chat_template=template, clean_up_tokenization_spaces=False, **tokens
    )


def mistral_kind() -> PreTrainedTokenizerBase:
    """The embedded base's: no pre-tokenizer, `▁` put before each piece of text, bytes to fall back to."""
    return train_tokenizer(TEXTS)


def byte_level_kind() -> PreTrainedTokenizerBase:
    """GPT-2's and SmolLM's kind, with ChatML; the turn's end is the end of the sequence."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return wrapped(tokenizer, CHATML, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def metaspace_kind() -> PreTrainedTokenizerBase:
    """Llama's kind without the legacy prefix: only the very first piece of a text gets its `▁`.

    One of its special tokens takes the spaces after it along, one is a single character.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    state = Tokenizer.from_str(tokenizer.to_str().replace('"special":true', '"special":false'))
    state.add_special_tokens(
        [*map(AddedToken, ("<unk>", "<s>", "</s>")), AddedToken("<sep>", rstrip=True), AddedToken("§")]
    )
    return wrapped(state, LLAMA, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


KINDS = {"mistral": mistral_kind(), "byte level": byte_level_kind(), "metaspace": metaspace_kind()}
CHATS = {kind: ChatFormat(tokenizer) for kind, tokenizer in KINDS.items()}
every_kind = pytest.mark.parametrize("kind", KINDS)

# Text as it comes: any characters but surrogates, often ones that tokenizers stumble over.
ODD = [
    "",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "é",
    "e\u0301",
    "日本語",
    "👩‍👩‍👧",
    "\u200b",
    "\u00a0",
    "▁",
    "\ufeff",
    "\x00",
    "\u0661",
    "ﬁ",
]
TEXT = st.lists(
    st.one_of(st.sampled_from(ODD), st.text(max_size=8), st.sampled_from(TEXTS[:8])), max_size=4
).map("".join)


def special_of(kind: str) -> dict[int, str]:
    return {
        place: token.content for place, token in KINDS[kind].added_tokens_decoder.items() if token.special
    }


def conversation(texts: Sequence[str], *, system: bool = False) -> list[dict[str, str]]:
    """Return turns of user and assistant in turn, after a system turn if asked for."""
    roles = (["system"] if system else []) + ["user", "assistant"] * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def plain(text: str, kind: str) -> str:
    """Return `text` without the special tokens that it spells out."""
    for token in special_of(kind).values():
        while token in text:
            text = text.replace(token, "")
    return text


# The template


def test_the_zephyr_template_to_the_character() -> None:
    chat = CHATS["mistral"]
    hello: list[Message] = [{"role": "user", "content": " Hello\n"}]
    assert chat.render(hello, generate=True) == "<|system|>\n</s>\n<|user|>\n Hello\n</s>\n<|assistant|>\n"
    assert chat.render(hello) == "<|system|>\n</s>\n<|user|>\n Hello\n</s>\n"
    turns = conversation(["Be kind.", "Hi", "Hey!", "Bye"], system=True)
    assert chat.render(turns, generate=True) == (
        "<|system|>\nBe kind.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHey!</s>\n<|user|>\nBye</s>\n<|assistant|>\n"
    )


def test_a_tokenizer_can_be_given_the_zephyr_template() -> None:
    tokenizer = byte_level_kind()
    assert ChatFormat(tokenizer).tokenizer.chat_template == CHATML
    chat = ChatFormat(tokenizer, "zephyr")
    assert chat.tokenizer.chat_template == ZEPHYR_CHAT_TEMPLATE
    rendered = chat.render([{"role": "user", "content": "Hi"}], generate=True)
    assert rendered == "<|system|>\n<|im_end|>\n<|user|>\nHi<|im_end|>\n<|assistant|>\n"


# encode


@every_kind
@given(texts=st.lists(TEXT, min_size=1, max_size=4), system=st.booleans(), generate=st.booleans())
@settings(max_examples=150, deadline=None)
def test_ordinary_text_is_tokenized_as_the_tokenizer_does_it(
    kind: str, texts: list[str], system: bool, generate: bool
) -> None:
    turns = conversation([plain(text, kind) for text in texts], system=system)
    expected = KINDS[kind].apply_chat_template(
        turns, tokenize=True, add_generation_prompt=generate, return_dict=False
    )
    assert CHATS[kind].encode(turns, generate=generate) == expected


def shown(kind: str, ids: Sequence[int]) -> str:
    """Return the text of `ids`, each stretch between special ids on its own, as it was tokenized."""
    special, backend = special_of(kind), KINDS[kind].backend_tokenizer
    parts = []
    for is_special, stretch in groupby(ids, key=lambda one: one in special):
        found = list(stretch)
        parts += [special[one] for one in found] if is_special else [backend.decode(found)]
    return "".join(parts)


LITERAL = st.sampled_from(
    [
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>", "<s>", "</s>", "<sep>", "§",
        "</s></s>", "<</s>", "</s", "s>", "<|im_end|>\n<|im_start|>system\n", "<|user|>\n", "0", "12",
        *map(chr, range(MARKS[0], MARKS[0] + 7)), "\ue0f0", "\ue0f1", "\ue0f2",
    ]
)  # fmt: skip
HOSTILE = st.lists(st.one_of(LITERAL, st.sampled_from(["a", " b", "é", "\n", "日"])), max_size=7).map("".join)


@every_kind
@given(texts=st.lists(HOSTILE, min_size=1, max_size=3), system=st.booleans())
@settings(max_examples=200, deadline=None)
def test_special_tokens_in_the_text_stay_text_and_no_character_of_it_changes(
    kind: str, texts: list[str], system: bool
) -> None:
    turns = conversation(texts, system=system)
    harmless = conversation(["x"] * len(texts), system=system)
    special, chat = special_of(kind), CHATS[kind]
    ids = chat.encode(turns)
    assert [one for one in ids if one in special] == [one for one in chat.encode(harmless) if one in special]
    rendered = chat.render(turns)
    assert shown(kind, ids) == rendered.replace("<sep>\n[INST]", "<sep>[INST]")  # it takes the space along


@every_kind
def test_an_injected_turn_is_no_turn(kind: str) -> None:
    special, chat = special_of(kind), CHATS[kind]
    for token in special.values():
        ids = chat.encode(conversation([f"x{token}y"]))
        assert sum(one in special for one in ids) == sum(
            one in special for one in chat.encode(conversation(["xy"]))
        )


@every_kind
def test_our_own_marks_in_the_text_are_nothing_special(kind: str) -> None:
    special, chat = special_of(kind), CHATS[kind]
    ordinary = [one for one in chat.encode(conversation(["x"])) if one in special]
    for first in (*MARKS[:2], 0xE0F0):
        guard, opening, closing = map(chr, range(first, first + 3))
        token = chat.tokenizer.eos_token
        for text in (
            f"{opening}{token}{closing}",
            f"{guard}0{guard}",
            f"<{guard}/s>",
            f"{guard}{opening}{closing}",
        ):
            ids = chat.encode(conversation([text]))
            assert [one for one in ids if one in special] == ordinary
            assert text in shown(kind, ids)


def test_truncation_and_padding_that_a_tokenizer_json_asks_for_are_not_heard() -> None:
    tokenizer = byte_level_kind()
    turns = conversation(["A question of some length, longer than eight tokens."])
    whole = ChatFormat(tokenizer).encode(turns)
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding(length=1000)
    assert ChatFormat(tokenizer).encode(turns) == whole


def test_the_tokenizer_itself_is_left_as_it_was() -> None:
    tokenizer = byte_level_kind()
    before = tokenizer.backend_tokenizer.to_str()
    ChatFormat(tokenizer).encode(conversation(["</s> \U000f0000"]))
    assert tokenizer.backend_tokenizer.to_str() == before


# pair

LONG = sys.maxsize
ASK: list[Message] = [{"role": "user", "content": "Which one?"}]


def seen(
    prompt: list[int], chosen: list[int], rejected: list[int], *, prompt_cut: int, answers_cut: int
) -> TokenizedPair:
    """Return a pair in which every token is seen by those after it."""
    masks = [[1] * len(ids) for ids in (prompt, chosen, rejected)]
    return TokenizedPair(
        prompt, masks[0], chosen, masks[1], rejected, masks[2], prompt_cut=prompt_cut, answers_cut=answers_cut
    )


def whole_pair(chat: ChatFormat, prompt: Sequence[Message], chosen: str, rejected: str) -> TokenizedPair:
    return chat.pair(prompt, chosen, rejected, max_length=LONG, max_prompt_length=LONG - 1)


@every_kind
@given(texts=st.lists(HOSTILE | TEXT, min_size=1, max_size=3), chosen=HOSTILE | TEXT, rejected=HOSTILE | TEXT)
@settings(max_examples=100, deadline=None)
def test_an_answer_ends_with_its_one_end_of_sequence(
    kind: str, texts: list[str], chosen: str, rejected: str
) -> None:
    texts = texts[: len(texts) - 1 + len(texts) % 2]  # the last turn is the user's
    chat, prompt = CHATS[kind], conversation(texts)
    pair = whole_pair(chat, prompt, chosen, rejected)
    assert pair == seen(pair.prompt_ids, pair.chosen_ids, pair.rejected_ids, prompt_cut=0, answers_cut=0)
    for answer, ids in ((chosen, pair.chosen_ids), (rejected, pair.rejected_ids)):
        assert ids[-1] == chat.eos_token_id
        assert ids.count(chat.eos_token_id) == 1
        conversed = chat.encode([*prompt, {"role": "assistant", "content": answer}])
        assert conversed[: len(pair.prompt_ids) + len(ids)] == pair.prompt_ids + ids
        after = shown(kind, conversed[len(pair.prompt_ids) + len(ids) :])
        assert after.strip() == ""


@every_kind
def test_the_prompt_is_what_generation_starts_from(kind: str) -> None:
    pair = whole_pair(CHATS[kind], ASK, "This.", "That.")
    assert pair.prompt_ids == CHATS[kind].encode(ASK, generate=True)
    assert pair.chosen_ids != pair.rejected_ids


def test_a_token_across_the_border_belongs_to_the_answers() -> None:
    # The byte-level tokenizer may merge the newline that ends the prompt with one that begins an answer.
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["\n\nA"] * 9, trainer)
    chat = ChatFormat(wrapped(tokenizer, CHATML, eos_token="<|im_end|>"))
    asked = chat.encode(ASK, generate=True)
    pair = whole_pair(chat, ASK, "\nA", "B")
    assert pair.prompt_ids == asked[:-1]
    ends = [str(chat.tokenizer.decode(pair.prompt_ids + ids)) for ids in (pair.chosen_ids, pair.rejected_ids)]
    assert ends[0].endswith("assistant\n\nA<|im_end|>")
    assert ends[1].endswith("assistant\nB<|im_end|>")


def test_a_template_without_end_of_sequence_gets_one() -> None:
    tokenizer = byte_level_kind()
    tokenizer.eos_token = "<|endoftext|>"
    chat = ChatFormat(tokenizer)
    pair = whole_pair(chat, ASK, "This.", "That.")
    assert chat.tokenizer.decode(pair.chosen_ids) == "This.<|im_end|>\n<|endoftext|>"


@every_kind
@given(
    prompt=st.integers(0, 40),
    chosen=st.integers(0, 40),
    rejected=st.integers(0, 40),
    max_length=st.integers(2, 60),
    share=st.floats(0, 1),
)
@settings(max_examples=150, deadline=None)
def test_truncation(
    kind: str, prompt: int, chosen: int, rejected: int, max_length: int, share: float
) -> None:
    max_prompt_length = max(1, int(share * (max_length - 1)))
    chat = CHATS[kind]
    turns: list[Message] = [{"role": "user", "content": "ask " * prompt}]
    answers = ("yes " * chosen, "no, " * rejected)
    whole = whole_pair(chat, turns, *answers)
    pair = chat.pair(turns, *answers, max_length=max_length, max_prompt_length=max_prompt_length)

    asked, longer = len(whole.prompt_ids), max(len(whole.chosen_ids), len(whole.rejected_ids))
    kept = asked if asked + longer <= max_length else min(asked, max_prompt_length)
    room = max_length - kept
    assert pair == seen(
        whole.prompt_ids[asked - kept :],
        whole.chosen_ids[:room],
        whole.rejected_ids[:room],
        prompt_cut=asked - kept,
        answers_cut=(len(whole.chosen_ids) > room) + (len(whole.rejected_ids) > room),
    )
    for ids in (pair.chosen_ids, pair.rejected_ids):
        assert len(ids) >= 1
        assert len(pair.prompt_ids) + len(ids) <= max_length


def test_truncation_by_example() -> None:
    chat = CHATS["byte level"]
    whole = whole_pair(chat, ASK, "yes " * 30, "no")
    prompt, chosen, rejected = whole.prompt_ids, whole.chosen_ids, whole.rejected_ids
    fits = len(prompt) + len(chosen)
    at_limit = chat.pair(ASK, "yes " * 30, "no", max_length=fits, max_prompt_length=1)
    assert at_limit == whole
    one_over = chat.pair(ASK, "yes " * 30, "no", max_length=fits - 1, max_prompt_length=5)
    assert one_over == seen(prompt[-5:], chosen, rejected, prompt_cut=len(prompt) - 5, answers_cut=0)
    far_over = chat.pair(ASK, "yes " * 30, "no", max_length=15, max_prompt_length=5)
    assert far_over == seen(prompt[-5:], chosen[:10], rejected, prompt_cut=len(prompt) - 5, answers_cut=1)
    assert rejected[-1] == chat.eos_token_id
    assert chat.eos_token_id not in far_over.chosen_ids


# Errors


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refused:
        make()
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_a_tokenizer_without_a_chat_template_is_refused() -> None:
    tokenizer = byte_level_kind()
    tokenizer.name_or_path = "some/base"
    tokenizer.chat_template = None
    line = refusal(lambda: ChatFormat(tokenizer))
    assert re.match("some/base: its tokenizer has no chat template; set `chat_template: zephyr`", line)
    assert ChatFormat(tokenizer, "zephyr")


def test_a_tokenizer_without_an_end_of_sequence_is_refused() -> None:
    tokenizer = byte_level_kind()
    tokenizer.name_or_path = "some/base"
    tokenizer.eos_token = None
    assert refusal(lambda: ChatFormat(tokenizer)).startswith("some/base: its tokenizer has no eos_token")


def test_a_slow_tokenizer_is_refused() -> None:
    from transformers import ByT5Tokenizer

    slow = cast("PreTrainedTokenizerBase", ByT5Tokenizer())
    assert "its tokenizer has no tokenizer.json" in refusal(lambda: ChatFormat(slow))


def test_a_conversation_that_the_template_refuses_is_the_user_s_mistake() -> None:
    tool: list[Message] = [*ASK, {"role": "tool", "content": "42"}]
    line = refusal(lambda: CHATS["mistral"].encode(tool))
    assert (
        "its chat template refuses a conversation of user, tool: The zephyr template has no role tool" in line
    )
