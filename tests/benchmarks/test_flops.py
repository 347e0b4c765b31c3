"""What a pair needs, and what a mode spends on it."""

import pytest

from benchmarks.dpo_gpu import MISTRAL_7B
from benchmarks.flops import needed, size_of, spent
from benchmarks.work import Mode, Result, Row, Shape, Spent, Work
from recipe.flops import packed_pair, padded_pair, training_flops
from tests.pairs import row

SMALL = Shape(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=112,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def drawn(prompt: int, chosen: int, rejected: int) -> Row:
    return row([3] * prompt, [4] * chosen, [5] * rejected)


def work(*rows: Row) -> Work:
    return Work(rows, len(rows), SMALL, lora_r=4)


def done(tokens: int, recomputed: float = 0.0) -> Result:
    return Result([0.7], 1, tokens, Spent(1, 1), Spent(1, 1), 1, recomputed, 0, 0, 0, 1)


def test_mistral_7b_has_its_size() -> None:
    size = size_of(MISTRAL_7B, rank=64)
    assert size.parameters + 32000 * 4096 == 7_241_732_096  # with the table that is looked up only
    assert size.adapter_parameters == 54_525_952


def test_a_pair_needs_its_prompt_once_and_a_third_of_a_reference() -> None:
    flops = training_flops(size_of(SMALL, 4), packed_pair(3, 2, 1), reference_passes=1 / 3)
    assert needed(work(drawn(3, 2, 1))) == pytest.approx(flops)
    assert needed(work(drawn(3, 2, 1), drawn(3, 2, 1))) == pytest.approx(flops)


def test_only_measured_rows_count() -> None:
    two = Work([drawn(30, 20, 10), drawn(3, 2, 1)], 1, SMALL, warmup=1, lora_r=4)
    assert needed(two) == needed(work(drawn(3, 2, 1)))
    assert spent(Mode("", "trl", 1), two, done(10)) == spent(
        Mode("", "trl", 1), work(drawn(3, 2, 1)), done(10)
    )


def test_what_fills_up_and_what_is_done_twice_is_spent_but_not_needed() -> None:
    mine, size = work(drawn(6, 4, 1), drawn(2, 2, 2)), size_of(SMALL, 4)
    alone, together = 2 * 10 + 2 * 4, 4 * 10
    assert spent(Mode("", "ours"), mine, done(17)) == pytest.approx(needed(mine))
    flops = [
        needed(mine),
        spent(Mode("", "ours"), mine, done(20)),
        spent(Mode("", "trl", 1), mine, done(alone)),
        spent(Mode("", "trl", 2), mine, done(together)),
        spent(Mode("", "trl", 2, reference_once=False), mine, done(together)),
        spent(Mode("", "trl", 2, True, reference_once=False), mine, done(together, 1.0)),
    ]
    assert flops == sorted(flops)
    assert len(set(flops)) == len(flops)
    both = padded_pair(10) + padded_pair(10)
    assert flops[-1] == pytest.approx(training_flops(size, both, recomputed=1.0) / 2)


def test_rows_that_were_laid_otherwise_are_noticed() -> None:
    with pytest.raises(AssertionError, match="otherwise"):
        spent(Mode("", "trl", 1), work(drawn(6, 4, 1)), done(21))
