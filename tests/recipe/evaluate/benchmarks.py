"""Rows in the schemas of real data sets, a run to measure, and a suite at work on it."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recipe.evaluate.subject import Subject, Weights
from recipe.evaluate.suite import Evaluating
from recipe.hush import hush_libraries
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run

WORDS = ("apple", "bridge", "candle", "dragon", "engine", "forest", "garden", "harbor", "island", "jacket")


class Told(Reporter):
    """A reporter that remembers its lines and warnings."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def arc_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Questions as allenai/ai2_arc has them, one in four with numbers for letters and a choice less."""
    rows = []
    for place in range(start, start + count):
        words = [WORDS[(place + step) % len(WORDS)] for step in range(4)]
        labels = list("ABCD") if place % 4 else list("123")
        rows.append(
            {
                "id": f"made_{place}",
                "question": f"Which word begins with {words[1][0]}, number {place}?",
                "choices": {"text": words[: len(labels)], "label": labels},
                "answerKey": labels[1],
            }
        )
    return rows


def gsm8k_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Problems as openai/gsm8k has them."""
    return [
        {
            "question": f"Ann has {n} pens and buys {n + 2}. How many?",
            "answer": f"{n} + {n + 2} = {2 * n + 2}\n#### {2 * n + 2}",
        }
        for n in range(start + 2, start + 2 + count)
    ]


def winogrande_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Sentences as allenai/winogrande has them."""
    return [
        {"sentence": f"The {WORDS[n % 10]} hid the {WORDS[(n + 3) % 10]}, as the _ was {n} feet wide.",
         "option1": WORDS[n % 10], "option2": WORDS[(n + 3) % 10], "answer": str(1 + n % 2)}
        for n in range(start, start + count)
    ]  # fmt: skip


def mmlu_rows(count: int, subject: str) -> list[dict[str, Any]]:
    """Questions as cais/mmlu has them."""
    return [
        {
            "question": f"{subject} question {n}?",
            "subject": subject,
            "choices": list(WORDS[n : n + 4]),
            "answer": n % 4,
        }
        for n in range(count)
    ]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows as JSONL, or as Parquet by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import polars

        polars.DataFrame(list(rows)).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_arc(folder: Path, suffix: str = ".jsonl") -> Path:
    """Write a folder of ARC's rows: 30 to take examples from, 6 to evaluate."""
    write_rows(folder / f"train{suffix}", arc_rows(30, 10))
    write_rows(folder / f"test{suffix}", arc_rows(6))
    return folder


def write_gsm8k(folder: Path) -> Path:
    """Write a folder of gsm8k's rows."""
    write_rows(folder / "train.jsonl", gsm8k_rows(8, 50))
    write_rows(folder / "test.jsonl", gsm8k_rows(6))
    return folder


def write_winogrande(folder: Path) -> Path:
    """Write a folder of winogrande's rows."""
    write_rows(folder / "train.jsonl", winogrande_rows(8, 50))
    write_rows(folder / "validation.jsonl", winogrande_rows(9))
    return folder


def copy_run(trained: Path, folder: Path) -> Path:
    """Copy a run that is not to be written to."""
    shutil.copytree(trained, folder)
    return folder


def at_work(
    tiny: Path,
    run: Path,
    place: Path,
    *,
    suite: str = "leaderboard",
    weights: Weights = "adapter",
    **keys: Any,
) -> Evaluating:
    """Return a suite at work on the tiny run, with some keys of its recipe set.

    Args:
        tiny: The folder with the recipe.
        run: Its run folder.
        place: Where results and what is kept go.
        suite: Which.
        weights: Whose.
        **keys: Of the recipe's evaluation.
    """
    hush_libraries(bars=False)
    recipe = load_recipe(tiny / "tiny.yaml", [f"{key}={json.dumps(value)}" for key, value in keys.items()])
    out, kept = place / "out", place / "kept"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    kept.mkdir(exist_ok=True)
    return Evaluating(suite, Subject(Run(run, recipe), weights), out, kept, Told())


def result(evaluating: Evaluating, task: str) -> dict[str, Any]:
    """Return a result that a suite has written."""
    found: dict[str, Any] = json.loads((evaluating.out / f"{task}.json").read_text(encoding="utf-8"))
    return found


def samples(evaluating: Evaluating, task: str) -> list[dict[str, Any]]:
    """Return the samples beside a result."""
    lines = (evaluating.out / f"{task}.samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
