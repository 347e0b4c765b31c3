"""The tokenized rows, and what is known of them: their content in one hash, a pair's tokens by the way it is laid."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from recipe import tokenized
from recipe.builtin.tokenizer import train_tokenizer
from recipe.curate.pair import Pair, Turn
from recipe.curate.table import write_pairs
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.prompt import pair_tokenizer
from recipe.schedule import Schedule
from recipe.tokenized import TOKENIZED, arrays_of, lengths_of, sha256_of, tokenize, tokens_a_pair
from tests.pairs import drawn, row
from tests.support import ROOT


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


@pytest.mark.parametrize("rule", ["zephyr-2023", "current"])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_rows_are_those_of_each_pair_alone_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, batch: int
) -> None:
    monkeypatch.setattr(tokenized, "BATCH", batch)
    write_pairs(pairs(10), tmp_path / "train.parquet")
    sets = (f"tokenization={rule}", "max_length=24", "max_prompt_length=9")
    recipe = load_recipe("notus-7b-v1-lora", sets)
    chat = pair_tokenizer(train_tokenizer(["Hello yes no more"] * 20), recipe.science)
    rows, counts = tokenize(tmp_path / "train.parquet", chat, recipe, Reporter(quiet=True))
    alone = [
        chat.pair(
            [turn._asdict() for turn in one.prompt],
            one.chosen,
            one.rejected,
            max_length=24,
            max_prompt_length=9,
        )
        for one in pairs(10)
    ]
    assert rows.to_list() == [one.as_dict() for one in alone]
    assert rows.features == TOKENIZED
    assert counts["prompts_cut"] == sum(one.prompt_cut > 0 for one in alone) > 0
    assert counts["answers_cut"] == sum(one.answers_cut for one in alone) > 0
    assert counts["equal_after_cut"] == sum(one.chosen_ids == one.rejected_ids for one in alone) > 0
    assert counts["mean_chosen_tokens"] == pytest.approx(
        sum(len(one.chosen_ids) for one in alone) / 10, abs=0.01
    )


ALL_CORES = """
import os
from recipe.builtin.tokenizer import train_tokenizer
from recipe.hush import hush_libraries
hush_libraries(bars=False)
from recipe.prompt.sides import encode
os.environ["RAYON_NUM_THREADS"] = "7"
before = len(os.listdir("/proc/self/task"))
encode(train_tokenizer(["Hello yes no more"] * 20).backend_tokenizer, ["Hello yes"] * 64)
print(len(os.listdir("/proc/self/task")) - before)
if os.fork() == 0:
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted by /proc")
def test_a_training_tokenizes_on_all_cores_and_says_nothing_at_a_fork() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    found = subprocess.run(
        [sys.executable, "-c", ALL_CORES],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (found.stdout, found.stderr) == ("7\n", "")


def test_no_rows_are_no_rows(tmp_path: Path) -> None:
    write_pairs([], tmp_path / "heldout.parquet")
    recipe = load_recipe("notus-7b-v1-lora")
    chat = pair_tokenizer(train_tokenizer(["Hello yes no more"] * 20), recipe.science)
    rows, counts = tokenize(tmp_path / "heldout.parquet", chat, recipe, Reporter(quiet=True))
    assert len(rows) == 0
    assert set(counts.values()) == {0}


def pairs(count: int) -> list[Pair]:
    """Return pairs of growing length; from the fifth on the answers differ only after what is kept of them."""
    return [
        Pair(
            prompt=(Turn("user", "Hello more " * place),),
            chosen="yes " * 4 * place + "yes",
            rejected="yes " * 4 * place + "no",
        )
        for place in range(count)
    ]


def test_rows_as_arrays_are_the_rows() -> None:
    rows = dataset(drawn(3, 20)).add_column("reference", [[float(place), 0.5] for place in range(20)])
    for some in (rows, rows.select([7, 3, 3, 12, 0])):
        for places in ([], [2], [4, 0, 4, 1]):
            found = [
                {name: values.tolist() for name, values in row.items()} for row in arrays_of(some, places)
            ]
            assert found == [some[place] for place in places]
