"""Answers: of the conversation and the seed, not of what lies beside them."""

from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerBase

from recipe.errors import UserError
from recipe.evaluate.answers import Decoding, _Draws, answers_to, prompts_of
from recipe.tokenizer import load_tokenizer

GREEDY = Decoding(max_new_tokens=12, batch_size=3)
SAMPLED = Decoding(max_new_tokens=12, temperature=1.0, batch_size=3)


def asked(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


CONVERSATIONS = [
    *asked(
        "Write a line.", "Name a colour, and say why, in as many words as you like.", "Why?", "Count to ten!"
    ),
    [
        {"role": "user", "content": "Name a river."},
        {"role": "assistant", "content": "The Rhine"},
        {"role": "user", "content": "Another one."},
    ],
]


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny / "base")


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    loaded = cast("Any", AutoModelForCausalLM.from_pretrained(tiny / "base"))
    return loaded.double().eval()  # so that no choice depends on how it rounds


class Steps:
    def __init__(self) -> None:
        self.done = 0

    def advance(self, steps: int = 1) -> None:
        self.done += steps

    def note(self, text: str) -> None: ...


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED])
def test_an_answer_does_not_depend_on_its_neighbours(
    model: Any, tokenizer: PreTrainedTokenizerBase, decoding: Decoding
) -> None:
    together = answers_to(model, tokenizer, CONVERSATIONS, decoding)
    alone = [answers_to(model, tokenizer, [one], decoding)[0] for one in CONVERSATIONS]
    assert together == alone
    assert len(set(together)) > 1


def test_greedy_is_what_transformers_answers_alone(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    found = answers_to(model, tokenizer, CONVERSATIONS, GREEDY)
    for conversation, answer in zip(CONVERSATIONS, found, strict=True):
        rendered = cast(
            "Any",
            tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_tensors="pt"),
        )
        ids = rendered["input_ids"]
        whole = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
                max_new_tokens=12, do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=0
            ),
        )
        assert answer == str(tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def test_another_seed_is_another_answer_and_the_same_seed_the_same(
    model: Any, tokenizer: PreTrainedTokenizerBase
) -> None:
    first = answers_to(model, tokenizer, CONVERSATIONS, SAMPLED)
    torch.manual_seed(5)  # is not what they are drawn by
    assert answers_to(model, tokenizer, CONVERSATIONS, SAMPLED) == first
    other = Decoding(max_new_tokens=12, temperature=1.0, seed=43, batch_size=3)
    assert answers_to(model, tokenizer, CONVERSATIONS, other) != first


def test_tokens_are_drawn_as_often_as_the_softmax_says() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, float("-inf")]])
    temperature, draws = 0.7, 20_000
    noisy = _Draws(range(draws), temperature)
    drawn = noisy(cast("Any", torch.zeros(draws, 1)), cast("Any", logits.expand(draws, 4))).argmax(-1)
    expected = (logits / temperature).softmax(-1)[0]
    counts = Counter(drawn.tolist())
    for token, share in enumerate(expected.tolist()):
        deviation = (share * (1 - share) / draws) ** 0.5
        assert abs(counts[token] / draws - share) <= 4 * deviation


def test_a_special_token_in_the_question_stays_text(tokenizer: PreTrainedTokenizerBase) -> None:
    (ids,) = prompts_of(tokenizer, asked("What does </s> mean?"))
    (plain,) = prompts_of(tokenizer, asked("What does it mean?"))
    assert ids.count(tokenizer.eos_token_id) == plain.count(tokenizer.eos_token_id)


def test_answers_are_given_as_they_come_and_the_bar_moves_by_them(
    model: Any, tokenizer: PreTrainedTokenizerBase
) -> None:
    came: dict[int, str] = {}
    steps = Steps()
    found = answers_to(model, tokenizer, CONVERSATIONS, GREEDY, bar=steps, kept=came.__setitem__)
    assert [came[place] for place in range(len(CONVERSATIONS))] == found
    assert steps.done == len(CONVERSATIONS)


def test_answers_that_did_not_end_are_told(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    cut: set[int] = set()
    found = answers_to(model, tokenizer, CONVERSATIONS, GREEDY, cut=cut.add)
    longer = answers_to(model, tokenizer, CONVERSATIONS, Decoding(GREEDY.max_new_tokens * 2, batch_size=3))
    assert cut == {place for place, answer in enumerate(found) if longer[place] != answer}
    assert 0 < len(cut) < len(found)


def test_an_answer_ends_where_the_context_does(
    model: Any, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [len(prompt) for prompt in prompts_of(tokenizer, CONVERSATIONS)]
    context = max(lengths) + 5
    rooms = [min(GREEDY.max_new_tokens, context - length) for length in lengths]
    assert min(rooms) == 5
    assert max(rooms) == GREEDY.max_new_tokens
    expected = [
        answers_to(model, tokenizer, [one], Decoding(max_new_tokens=room))[0]
        for one, room in zip(CONVERSATIONS, rooms, strict=True)
    ]
    monkeypatch.setattr(model.config, "max_position_embeddings", context)
    assert answers_to(model, tokenizer, CONVERSATIONS, GREEDY) == expected


def test_a_prompt_longer_than_the_context_is_refused(
    model: Any, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = max(len(prompt) for prompt in prompts_of(tokenizer, CONVERSATIONS))
    monkeypatch.setattr(model.config, "max_position_embeddings", longest)
    with pytest.raises(
        UserError, match=rf"a prompt has {longest} tokens, and the model's context is {longest}; "
    ):
        answers_to(model, tokenizer, CONVERSATIONS, GREEDY)
