"""Answers side by side: which prompts are chosen, whose answers they are, and where they were cut."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from recipe.evaluate.answers import Decoding, answers_to
from recipe.evaluate.samples import Row, choose, write_samples
from recipe.evaluate.subject import Subject, Weights
from recipe.evaluate.suite import Evaluating
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # PEFT's


def any_(row: Row) -> bool:
    return True


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30), st.integers(0, 12), st.randoms())
def test_prompts_are_spread_over_sources_whatever_their_order(
    sources: list[str | None], count: int, draw: random.Random
) -> None:
    rows = [{"id": f"{place:02d}", "source": source} for place, source in enumerate(sources)]
    found = choose(rows, count, any_)
    assert len(found) == min(count, len(rows))
    shuffled = draw.sample(rows, len(rows))
    assert choose(shuffled, count, any_) == found
    taken, there = Counter(row["source"] for row in found), Counter(sources)
    for source, of_source in taken.items():  # none has two more than another that had rows left
        assert all(of_source <= taken[other] + 1 for other in there if taken[other] < there[other]), source


def test_a_prompt_that_does_not_fit_is_passed_over() -> None:
    rows = [{"id": name, "source": "a"} for name in "abc"]
    assert [row["id"] for row in choose(rows, 2, lambda row: row["id"] != "b")] == ["a", "c"]


def samples(trained: Path, tiny: Path, out: Path, weights: Weights, *keys: str) -> list[dict[str, Any]]:
    run = Run(trained, load_recipe(tiny / "tiny.yaml", list(keys)))
    out.mkdir()
    evaluating = Evaluating("preference", Subject(run, weights), out, out, Reporter(quiet=True))
    said = write_samples(evaluating, run.path("data", "heldout.parquet"))
    lines = (out / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert said == {"prompts": len(rows), "cut": sum(row["base_cut"] + row["tuned_cut"] for row in rows)}
    return rows


def test_base_and_adapter_answer_the_same_prompts(trained: Path, tiny: Path, tmp_path: Path) -> None:
    rows = samples(trained, tiny, tmp_path / "out", "adapter", "sample_answers=4", "answer_tokens=20")
    table = parquet.read_table(trained / "data" / "heldout.parquet").to_pylist()
    known = {row["id"]: row for row in table}
    assert len({row["source"] for row in rows}) == 4
    assert all(row["chosen"] == known[row["id"]]["chosen"] for row in rows)
    assert all(row["prompt"] == known[row["id"]]["prompt"][0]["content"] for row in rows)
    run = Run(trained, load_recipe(tiny / "tiny.yaml"))
    model, tokenizer = Subject(run, "base").load()
    alone = answers_to(model, tokenizer, [known[row["id"]]["prompt"] for row in rows], Decoding(20))
    assert [row["base"] for row in rows] == alone
    assert rows[0].keys() == {"id", "source", "prompt", "chosen", "base", "base_cut", "tuned", "tuned_cut"}


def test_merged_weights_stand_beside_the_same_base(trained: Path, tiny: Path, tmp_path: Path) -> None:
    keys = ("sample_answers=3", "answer_tokens=12")
    adapter = samples(trained, tiny, tmp_path / "adapter", "adapter", *keys)
    merged = samples(trained, tiny, tmp_path / "merged", "merged", *keys)
    assert [row["base"] for row in merged] == [row["base"] for row in adapter]
    assert [row["id"] for row in merged] == [row["id"] for row in adapter]


@pytest.mark.parametrize("length", [1, 400])
def test_an_answer_cut_at_the_longest_length_is_marked(
    trained: Path, tiny: Path, tmp_path: Path, length: int
) -> None:
    """The base is untrained, and hardly ever ends."""
    rows = samples(trained, tiny, tmp_path / "out", "adapter", "sample_answers=2", f"answer_tokens={length}")
    assert all(row["base_cut"] for row in rows)
    model, tokenizer = Subject(Run(trained, load_recipe(tiny / "tiny.yaml")), "base").load()
    asked = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    assert [row["base"] for row in rows] == answers_to(model, tokenizer, asked, Decoding(min(length, 256)))
