"""Tokenization as in 2023, quirk by quirk against expectations by hand, and as a whole against a second telling.

A side is written as its pieces: a line's end is ⏎, and a token that none attends to stands in [brackets].
"""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers import PreTrainedTokenizerFast

from recipe.builtin.tokenizer import train_tokenizer
from recipe.load import load_recipe
from recipe.prompt import ChatFormat, Message, TokenizedPair, Zephyr2023, pair_tokenizer

# What the tokenizer learns: these words whole, with and without a space before them.
LEARNT = "Hello you ask yes no more\n" + "\n".join(["Hello", "you", "ask", "yes", "no", "more", ""])
TOKENIZER = train_tokenizer([LEARNT] * 20)
RULE = Zephyr2023(TOKENIZER)
UNK, BOS, EOS = 0, 1, 2
HELLO: list[Message] = [{"role": "user", "content": "Hello"}]
ASKED = "▁<|system|> ⏎ [</s>] ▁ ⏎ <|user|> ⏎ Hello [</s>] ▁ ⏎ <|assistant|> ⏎"  # HELLO's prompt
END = "[</s>] ▁ ⏎ </s>"  # of every answer
LONG = 10**6


def pieces(ids: Sequence[int], mask: Sequence[int]) -> str:
    """Return a side as this file writes it."""
    found = [str(piece).replace("\n", "⏎") for piece in TOKENIZER.convert_ids_to_tokens(list(ids))]
    assert set(mask) <= {0, 1}
    return " ".join(piece if seen else f"[{piece}]" for piece, seen in zip(found, mask, strict=True))


def ids_of(written: str) -> list[int]:
    """Return the ids of a side as this file writes it."""
    ids = TOKENIZER.convert_tokens_to_ids(
        [re.sub(r"^\[(.*)\]$", r"\1", piece).replace("⏎", "\n") for piece in written.split()]
    )
    assert isinstance(ids, list)
    return ids


def turns(*said: str, system: str | None = None) -> list[Message]:
    """Return turns of user and assistant in turn, after a system turn if there is one."""
    first: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    return first + [
        {"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)
    ]


def pair(
    prompt: Sequence[Message],
    chosen: str = "yes",
    rejected: str = "no",
    *,
    max_length: int = LONG,
    max_prompt_length: int = LONG - 1,
) -> TokenizedPair:
    return RULE.pair(prompt, chosen, rejected, max_length=max_length, max_prompt_length=max_prompt_length)


def asked(*said: str, system: str | None = None) -> str:
    found = pair(turns(*said, system=system))
    return pieces(found.prompt_ids, found.prompt_mask)


def answered(text: str, *said: str, system: str | None = None) -> str:
    """Return the side of the answer `text`, which has to be the same as chosen and as rejected one."""
    found = pair(turns(*(said or ["Hello"]), system=system), text, text)
    assert (found.chosen_ids, found.chosen_mask) == (found.rejected_ids, found.rejected_mask)
    return pieces(found.chosen_ids, found.chosen_mask)


def ended(text: str) -> str:
    """Return a text that is learnt with its second end."""
    [side] = RULE.sides([text])
    return pieces(*RULE.end(side).row(0))


def test_the_whole_of_a_pair() -> None:
    found = pair(HELLO, "yes", "no more")
    assert found == TokenizedPair(
        prompt_ids=ids_of(ASKED),
        prompt_mask=[1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1],
        chosen_ids=ids_of("▁yes </s> ▁ ⏎ </s>"),
        chosen_mask=[1, 0, 1, 1, 1],
        rejected_ids=ids_of("▁no ▁more </s> ▁ ⏎ </s>"),
        rejected_mask=[1, 1, 0, 1, 1, 1],
        prompt_cut=0,
        answers_cut=0,
    )
    assert UNK not in found.prompt_ids + found.chosen_ids + found.rejected_ids


# The prompt


def test_an_empty_system_turn_is_put_before_a_question() -> None:
    assert asked("Hello") == ASKED


def test_a_system_turn_that_is_there_is_kept() -> None:
    expected = "▁<|system|> ⏎ ask ▁more [</s>] ▁ ⏎ <|user|> ⏎ Hello [</s>] ▁ ⏎ <|assistant|> ⏎"
    assert asked("Hello", system="ask more") == expected
    assert asked("Hello", system="") == ASKED


def test_of_a_conversation_the_prompt_is_the_first_question() -> None:
    assert asked("Hello", "yes", "ask more") == ASKED
    assert asked("Hello", "yes", "ask", "no", "more") == ASKED


def test_nothing_is_stripped_from_a_question() -> None:
    around = "▁<|system|> ⏎ [</s>] ▁ ⏎ <|user|> ⏎ {} [</s>] ▁ ⏎ <|assistant|> ⏎"
    assert asked(" Hello\n") == around.format("▁Hello ⏎")
    assert asked("") == around.replace(" {}", "")
    assert asked("\n\n") == around.format("⏎ ⏎")


# The answer


def test_an_answer_is_tokenized_apart_and_so_begins_with_the_dummy_space() -> None:
    assert answered("Hello") == f"▁Hello {END}"
    # Tokenized with what is before it, as `current` does it, it begins with another token.
    chat = ChatFormat(train_tokenizer([LEARNT] * 20))
    joint = chat.pair(HELLO, "Hello", "no", max_length=LONG, max_prompt_length=LONG - 1)
    assert pieces(joint.chosen_ids, joint.chosen_mask) == "Hello </s>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nyes", "▁ ⏎ yes"),
        (" yes", "▁ ▁yes"),
        ("  yes", "▁ ▁ ▁yes"),
        ("é", "▁ <0xC3> <0xA9>"),
        ("日", "▁ <0xE6> <0x97> <0xA5>"),
        ("🙂yes", "▁ <0xF0> <0x9F> <0x99> <0x82> yes"),
        ("yes\n", "▁yes ⏎"),
        ("yes ", "▁yes ▁"),
    ],
)
def test_the_dummy_space_stands_before_what_has_none_of_its_own(text: str, expected: str) -> None:
    assert answered(text) == f"{expected} {END}"


def test_an_answer_ends_twice_and_only_the_second_end_is_seen() -> None:
    found = pair(HELLO)
    assert found.chosen_ids[-4:] == [EOS, *ids_of("▁ ⏎"), EOS]
    assert found.chosen_mask[-4:] == [0, 1, 1, 1]


def test_an_empty_answer_is_its_two_ends() -> None:
    found = pair(HELLO, "", "")
    assert found.chosen_ids == found.rejected_ids == [EOS, *ids_of("▁ ⏎"), EOS]
    assert len(found.chosen_ids) == 4
    assert found.chosen_mask == [0, 1, 1, 1]


def test_nothing_begins_a_sequence() -> None:
    found = pair(turns("Hello", system="ask"))
    assert BOS not in found.prompt_ids + found.chosen_ids + found.rejected_ids


ROLE = "<|assistant|>\n"


@pytest.mark.parametrize(
    ("text", "learnt"),
    [
        ("yes", "yes</s>\n"),
        (f"{ROLE}yes", f"{ROLE}yes</s>\n"),
        (f"{ROLE}{ROLE}yes", f"{ROLE}{ROLE}yes</s>\n"),
        (f"\n{ROLE}yes", f"\n{ROLE}yes</s>\n"),
        (ROLE, f"{ROLE}</s>\n"),
        ("<|assistant|>", "<|assistant|></s>\n"),
    ],
)
def test_one_role_is_taken_from_an_answer_and_no_more(text: str, learnt: str) -> None:
    assert RULE.answer_text(HELLO, text) == learnt
    assert answered(text) == ended(learnt)


def test_of_a_conversation_all_that_follows_the_first_turn_is_learnt() -> None:
    # The reply in between loses its role, as the first of what is learnt; the user's turn is learnt too.
    assert RULE.answer_text(turns("Hello", "yes", "ask"), "no") == (
        "yes</s>\n<|user|>\nask</s>\n<|assistant|>\nno</s>\n"
    )
    assert answered("no", "Hello", "yes", "ask") == (
        f"▁yes [</s>] ▁ ⏎ <|user|> ⏎ ask [</s>] ▁ ⏎ <|assistant|> ⏎ no {END}"
    )


def test_after_a_system_turn_the_question_is_learnt_as_well() -> None:
    assert RULE.answer_text(turns("Hello", system="more"), "yes") == (
        "<|user|>\nHello</s>\n<|assistant|>\nyes</s>\n"
    )
    expected = ended("<|user|>\nHello</s>\n<|assistant|>\nyes</s>\n")
    assert answered("yes", "Hello", system="more") == expected
    assert expected.endswith(f"⏎ Hello [</s>] ▁ ⏎ <|assistant|> ⏎ yes {END}")


# Special tokens that somebody wrote


def test_a_special_token_that_is_written_out_is_that_token() -> None:
    assert answered("yes</s>no") == f"▁yes [</s>] ▁no {END}"
    assert answered("yes</s> no") == f"▁yes [</s>] ▁ ▁no {END}"
    assert answered("<s>yes<unk>no") == f"<s> ▁yes <unk> ▁no {END}"
    found = pair(turns("</s><s><unk>"), "</s></s>", "<s>")
    assert found.prompt_ids[7:11] == [EOS, BOS, UNK, EOS]
    assert found.prompt_mask[7:11] == [0, 1, 1, 0]
    assert found.chosen_ids == [EOS, EOS, EOS, *ids_of("▁ ⏎"), EOS]
    assert found.chosen_mask == [0, 0, 0, 1, 1, 1]
    assert (found.rejected_ids[0], found.rejected_mask[0]) == (BOS, 1)


def test_a_role_that_is_written_out_is_plain_text() -> None:
    assert TOKENIZER.get_added_vocab().keys() == {"<unk>", "<s>", "</s>"}
    assert answered("yes\n<|user|>\nno") == f"▁yes ⏎ <|user|> ⏎ no {END}"


def test_a_token_is_masked_exactly_where_the_text_has_an_end_of_sequence() -> None:
    found = pair(turns("a</s>b", "yes</s>", "more"), "no</s></s>", "</s>")
    for ids, mask, last in (
        (found.prompt_ids, found.prompt_mask, []),
        (found.chosen_ids, found.chosen_mask, [1]),
        (found.rejected_ids, found.rejected_mask, [1]),
    ):
        text = ids[: len(ids) - len(last)]
        assert mask == [0 if token == EOS else 1 for token in text] + last
        assert 0 in mask


# Truncation

PROMPT = 13  # tokens of HELLO's prompt
ENDS = 4  # tokens of an answer's two ends


def words(count: int, word: str = "yes") -> str:
    """Return an answer of `count` tokens, its two ends included."""
    return " ".join([word] * (count - ENDS))


def cut(chosen: int, rejected: int, max_length: int, max_prompt_length: int) -> tuple[int, ...]:
    """Return what HELLO's pair keeps of its sides, which have so many tokens, and what it counts as cut."""
    whole = pair(HELLO, words(chosen), words(rejected, "no"))
    assert [len(whole.prompt_ids), len(whole.chosen_ids), len(whole.rejected_ids)] == [
        PROMPT,
        chosen,
        rejected,
    ]
    assert (whole.prompt_cut, whole.answers_cut) == (0, 0)
    found = pair(
        HELLO,
        words(chosen),
        words(rejected, "no"),
        max_length=max_length,
        max_prompt_length=max_prompt_length,
    )
    kept = len(found.prompt_ids), len(found.chosen_ids), len(found.rejected_ids)
    # A prompt keeps its end, an answer its beginning; the masks are cut as the ids are.
    assert found.prompt_ids == whole.prompt_ids[PROMPT - kept[0] :]
    assert found.prompt_mask == whole.prompt_mask[PROMPT - kept[0] :]
    assert (found.chosen_ids, found.chosen_mask) == (
        whole.chosen_ids[: kept[1]],
        whole.chosen_mask[: kept[1]],
    )
    assert (found.rejected_ids, found.rejected_mask) == (
        whole.rejected_ids[: kept[2]],
        whole.rejected_mask[: kept[2]],
    )
    return *kept, found.prompt_cut, found.answers_cut


@pytest.mark.parametrize("longer_first", [True, False])
def test_the_longer_answer_decides_whether_a_pair_fits(longer_first: bool) -> None:
    chosen, rejected = (20, 10) if longer_first else (10, 20)
    assert cut(chosen, rejected, PROMPT + 20, 5) == (PROMPT, chosen, rejected, 0, 0)
    # One token too many: the prompt goes first, and that is enough.
    assert cut(chosen, rejected, PROMPT + 19, 5) == (5, chosen, rejected, PROMPT - 5, 0)
    assert cut(chosen, rejected, 5 + 20, 5) == (5, chosen, rejected, PROMPT - 5, 0)


def test_then_both_answers_are_cut_to_what_the_longest_prompt_would_leave() -> None:
    assert cut(20, 21, 24, 5) == (5, 19, 19, PROMPT - 5, 2)
    # Only one is longer than that: the other is whole, and not counted.
    assert cut(10, 21, 24, 5) == (5, 10, 19, PROMPT - 5, 1)
    assert cut(21, 19, 24, 5) == (5, 19, 19, PROMPT - 5, 1)


def test_a_short_prompt_leaves_an_answer_no_more_room_than_a_long_one() -> None:
    # 13 + 1053 becomes 13 + 512, although 1011 tokens would have fitted.
    assert cut(1053, 30, 1024, 512) == (PROMPT, 512, 30, 0, 1)
    assert cut(1011, 30, 1024, 512) == (PROMPT, 1011, 30, 0, 0)
    assert cut(1012, 30, 1024, 512) == (PROMPT, 512, 30, 0, 1)
    assert cut(1012, 600, 1024, 512) == (PROMPT, 512, 512, 0, 2)


def test_a_cut_answer_has_lost_its_end() -> None:
    found = pair(HELLO, words(40), words(39, "no"), max_length=30, max_prompt_length=10)
    assert EOS not in found.chosen_ids + found.rejected_ids
    # Of one that is cut within its end only the masked one is left.
    found = pair(HELLO, words(22), words(21), max_length=30, max_prompt_length=10)
    assert pieces(found.chosen_ids[-3:], found.chosen_mask[-3:]) == "▁yes [</s>] ▁"
    assert pieces(found.rejected_ids[-3:], found.rejected_mask[-3:]) == "[</s>] ▁ ⏎"


def test_a_prompt_may_be_cut_to_begin_with_a_masked_token() -> None:
    found = pair(HELLO, words(20), max_length=PROMPT + 5, max_prompt_length=5)
    assert pieces(found.prompt_ids, found.prompt_mask) == "[</s>] ▁ ⏎ <|assistant|> ⏎"


# The rule a recipe chooses


def test_a_recipe_chooses_its_rule() -> None:
    notus = load_recipe("notus-7b-v1-lora").science
    tokenizer = train_tokenizer([LEARNT] * 20)
    rule = pair_tokenizer(tokenizer, notus)
    lengths = {"max_length": notus.max_length, "max_prompt_length": notus.max_prompt_length}
    assert rule.pair(HELLO, "yes", "no", **lengths) == pair(HELLO)
    current = pair_tokenizer(tokenizer, notus.model_copy(update={"tokenization": "current"}))
    assert isinstance(current, ChatFormat)
    assert 0 not in current.pair(HELLO, "yes", "no", **lengths).prompt_mask


def test_what_a_tokenizer_json_asks_for_is_not_heard_and_the_tokenizer_is_left_alone() -> None:
    tokenizer = train_tokenizer([LEARNT] * 20)
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=100)
    before = tokenizer.backend_tokenizer.to_str()
    rule = Zephyr2023(tokenizer)
    assert rule.pair(HELLO, "yes", "no", max_length=LONG, max_prompt_length=1) == pair(HELLO)
    assert tokenizer.backend_tokenizer.to_str() == before


def test_model_max_length_and_sides_are_not_heard() -> None:
    tokenizer = train_tokenizer([LEARNT] * 20)
    tokenizer.model_max_length, tokenizer.truncation_side, tokenizer.padding_side = 5, "left", "left"
    rule = Zephyr2023(tokenizer)
    assert rule.pair(HELLO, "yes", "no", max_length=LONG, max_prompt_length=1) == pair(HELLO)


# All of it a second time, as alignment-handbook v0.2.0 and trl 0.7.4 wrote it down

HANDBOOK_TEMPLATE = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)


def handbook_texts(prompt: Sequence[Message], chosen: str, rejected: str) -> tuple[str, str, str]:
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        HANDBOOK_TEMPLATE
    )

    def render(messages: Sequence[Message], generate: bool = False) -> str:
        return template.render(messages=messages, eos_token="</s>", add_generation_prompt=generate)

    def strip_prefix(text: str) -> str:
        return re.sub(r"^<\|assistant\|>\n", "", text)

    better, worse = ([*prompt, {"role": "assistant", "content": text}] for text in (chosen, rejected))
    question = [message for message in better if message["role"] == "user"][0]  # noqa: RUF015 - as it stood
    system = better[0] if better[0]["role"] == "system" else {"role": "system", "content": ""}
    return (
        render([system, question], generate=True),
        strip_prefix(render(better[1:])),
        strip_prefix(render(worse[1:])),
    )


def trl_batch_element(
    tokenizer: PreTrainedTokenizerFast, texts: tuple[str, str, str], max_length: int, max_prompt_length: int
) -> tuple[list[list[int]], list[list[int]]]:
    tokens = []
    for text in texts:
        found = tokenizer(text, add_special_tokens=False)
        ids, mask = list(found["input_ids"]), list(found["attention_mask"])
        for place, token in enumerate(ids):
            if token == tokenizer.eos_token_id:
                mask[place] = 0
        tokens.append({"input_ids": ids, "attention_mask": mask})
    prompt, chosen, rejected = tokens
    for answer in (chosen, rejected):
        answer["input_ids"].append(tokenizer.eos_token_id)
        answer["attention_mask"].append(1)
    longer = max(len(chosen["input_ids"]), len(rejected["input_ids"]))
    if len(prompt["input_ids"]) + longer > max_length:
        prompt = {key: values[-max_prompt_length:] for key, values in prompt.items()}
    if len(prompt["input_ids"]) + longer > max_length:
        chosen = {key: values[: max_length - max_prompt_length] for key, values in chosen.items()}
        rejected = {key: values[: max_length - max_prompt_length] for key, values in rejected.items()}
    sides = (prompt, chosen, rejected)
    return [side["input_ids"] for side in sides], [side["attention_mask"] for side in sides]


PART = st.sampled_from(
    [
        "Hello", " you", "ask more", "yes", "\n", " ", "  ", "\n\n", "\t", "</s>", "<s>", "<unk>", "</s", "▁", "é",
        "e\u0301", "日本", "👩‍👩‍👧", "\u200b", "\ufeff", "\x00", "\u2028", "\r\n", "<|user|>\n", "<|assistant|>\n",
        "<|system|>", "{{ eos_token }}", "{% raw %}", "&lt;", "<|assistant|>", "yes " * 12,
    ]
)  # fmt: skip
TEXT = st.lists(st.one_of(PART, st.text(max_size=6)), max_size=6).map("".join)


@given(
    said=st.lists(TEXT, min_size=1, max_size=5),
    system=st.none() | TEXT,
    chosen=TEXT,
    rejected=TEXT,
    max_length=st.integers(2, 90),
    share=st.floats(0, 1),
)
@settings(max_examples=400, deadline=None)
def test_every_pair_is_that_of_2023(
    said: list[str], system: str | None, chosen: str, rejected: str, max_length: int, share: float
) -> None:
    prompt = turns(*said[: len(said) - 1 + len(said) % 2], system=system)  # the last turn is the user's
    max_prompt_length = max(1, int(share * (max_length - 1)))
    texts = handbook_texts(prompt, chosen, rejected)
    found = pair(prompt, chosen, rejected, max_length=max_length, max_prompt_length=max_prompt_length)
    ids, masks = trl_batch_element(TOKENIZER, texts, max_length, max_prompt_length)
    assert [found.prompt_ids, found.chosen_ids, found.rejected_ids] == ids
    assert [found.prompt_mask, found.chosen_mask, found.rejected_mask] == masks
    whole, _ = trl_batch_element(TOKENIZER, texts, LONG, LONG - 1)
    assert found.prompt_cut == len(whole[0]) - len(ids[0])
    assert found.answers_cut == sum(len(was) > len(now) for was, now in zip(whole[1:], ids[1:], strict=True))
