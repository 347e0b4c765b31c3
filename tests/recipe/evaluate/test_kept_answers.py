"""Answers that are kept: what was answered is not answered again, and nothing else is taken for it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from recipe.errors import UserError
from recipe.evaluate import answers, kept_answers
from recipe.evaluate.answers import Decoding
from recipe.evaluate.kept_answers import KeptAnswers
from recipe.evaluate.ledger import Ledger
from recipe.evaluate.subject import Subject, Weights
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # PEFT's
GREEDY = Decoding(max_new_tokens=6)
ASKED = [[{"role": "user", "content": text}] for text in ("Name a river.", "Why?", "Name a river.")]


@pytest.fixture
def run(tiny: Path, trained: Path) -> Run:
    return Run(trained, load_recipe(str(tiny / "tiny.yaml"), []))


def answering(run: Run, path: Path, weights: Weights = "adapter") -> KeptAnswers:
    return KeptAnswers(Subject(run, weights), Ledger(path), Reporter(quiet=True))


def test_what_is_kept_is_not_answered_and_the_model_not_loaded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.jsonl"
    first = answering(run, path)
    assert first.known(ASKED, GREEDY) == [None] * 3
    found = first.to(ASKED, GREEDY, "answers")
    assert found[0] == found[2]
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["conversation"] for row in rows] in (ASKED[:2], ASKED[1::-1])  # of equal ones one
    assert {(row["max_new_tokens"], row["temperature"]) for row in rows} == {(6, 0)}
    cut = {row["answer"]: row["cut"] for row in rows}
    assert first.cut == sum(cut[answer] for answer in found)

    def loaded(subject: Subject) -> None:
        raise AssertionError("nothing is to be answered")

    monkeypatch.setattr(Subject, "load", loaded)
    again = answering(run, path)
    assert again.known(ASKED, GREEDY) == again.to(ASKED, GREEDY, "answers") == found
    assert (
        again.known(ASKED, Decoding(max_new_tokens=6, batch_size=1, seed=7)) == found
    )  # neither changes a greedy one


def test_of_other_weights_settings_or_versions_nothing_is_taken(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.jsonl"
    answering(run, path).to(ASKED, GREEDY, "answers")
    none: list[str | None] = [None] * 3
    assert answering(run, path, "base").known(ASKED, GREEDY) == none
    for other in (Decoding(max_new_tokens=7), Decoding(max_new_tokens=6, temperature=0.5)):
        assert answering(run, path).known(ASKED, other) == none
    monkeypatch.setattr(kept_answers, "version", lambda name: "0")
    assert answering(run, path).known(ASKED, GREEDY) == none


def test_what_came_before_the_memory_was_full_stays(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, written = tmp_path / "answers.jsonl", answers._generate

    def full(model: Any, tokenizer: Any, prompts: Any, *rest: Any) -> list[tuple[str, bool]]:
        if path.exists():
            with answers._memory(len(prompts)):
                raise torch.OutOfMemoryError
        return written(model, tokenizer, prompts, *rest)

    monkeypatch.setattr(answers, "_generate", full)
    asked = [[{"role": "user", "content": str(number)}] for number in range(4)]
    with pytest.raises(UserError, match="does not hold 2 at the same time; set `evaluate_batch_size` lower"):
        answering(run, path).to(asked, Decoding(max_new_tokens=4, batch_size=2), "answers")
    assert sum(one is not None for one in answering(run, path).known(asked, Decoding(max_new_tokens=4))) == 2


def test_its_memory_is_given_back(run: Run, tmp_path: Path) -> None:
    found = answering(run, tmp_path / "answers.jsonl")
    found.to(ASKED[:1], GREEDY, "answers")
    assert "_engine" in vars(found)
    found.unload()
    assert "_engine" not in vars(found)
    assert found.to(ASKED[1:2], GREEDY, "answers")
