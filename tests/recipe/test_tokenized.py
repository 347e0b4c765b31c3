"""What is known of the tokenized rows: their content in one hash, and the tokens of a pair by the way it is laid."""

from typing import Any

import pytest
from datasets import Dataset

from recipe.schedule import Schedule
from recipe.tokenized import TOKENIZED, lengths_of, sha256_of, tokens_a_pair
from tests.pairs import drawn, row


def dataset(rows: list[dict[str, Any]]) -> Dataset:
    return Dataset.from_list(rows, features=TOKENIZED)


ROWS = [row([5, 6], [7], [8, 9]), row([5], [6, 7], [8], chosen_mask=[1, 0]), row([4], [], [3])]


def test_lengths_are_of_each_side_of_each_row() -> None:
    assert lengths_of(dataset(ROWS)).tolist() == [[2, 1, 2], [1, 2, 1], [1, 0, 1]]
    assert lengths_of(dataset(ROWS).select([2, 0])).tolist() == [[1, 0, 1], [2, 1, 2]]


@pytest.mark.parametrize(
    "other",
    [
        [row([5, 6], [7], [8, 1]), *ROWS[1:]],  # another id
        [ROWS[0], row([5], [6, 7], [8]), ROWS[2]],  # another mask
        [
            row([5], [7], [8, 9]),
            row([6, 5], [6, 7], [8], chosen_mask=[1, 0]),
            ROWS[2],
        ],  # the same ids, cut elsewhere
        [ROWS[1], ROWS[0], ROWS[2]],
        ROWS[:2],
    ],
    ids=["id", "mask", "cut", "order", "fewer"],
)
def test_the_hash_is_of_all_that_a_model_sees(other: list[dict[str, Any]]) -> None:
    assert sha256_of(dataset(ROWS)) == sha256_of(dataset(ROWS).select([0, 1, 2]))
    assert sha256_of(dataset(other)) != sha256_of(dataset(ROWS))


def test_tokens_a_pair_by_hand() -> None:
    schedule = Schedule(rows=3, batch_size=2, accumulation=1, processes=1, steps=2, seed=0)
    # One epoch is a full micro-batch and a short one: three pairs.
    order = [place.row for place in schedule.places() if place.weight]
    assert sorted(order) == [0, 1, 2]
    found = tokens_a_pair(lengths_of(dataset(ROWS)), schedule)
    assert found["prompt_once"] == pytest.approx((5 + 4 + 2) / 3, abs=0.01)
    assert found["prompt_twice"] == pytest.approx((7 + 5 + 3) / 3, abs=0.01)
    side = {0: 4, 1: 3, 2: 2}
    pair, single = order[:2], order[2]
    assert found["padded"] == pytest.approx(
        2 * (2 * max(side[one] for one in pair) + side[single]) / 3, abs=0.01
    )


def test_a_prompt_shared_is_never_more_and_padding_never_less() -> None:
    rows = drawn(0, 40)
    schedule = Schedule(rows=40, batch_size=4, accumulation=2, processes=2, steps=4, seed=1)
    found = tokens_a_pair(lengths_of(dataset(rows)), schedule)
    assert found["prompt_once"] < found["prompt_twice"] < found["padded"]
    alone = Schedule(rows=40, batch_size=1, accumulation=8, processes=2, steps=4, seed=1)
    assert tokens_a_pair(lengths_of(dataset(rows)), alone)["padded"] < found["padded"]
