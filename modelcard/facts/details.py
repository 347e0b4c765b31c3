"""What result files of Notus's own suites say beside figures: held-out pairs by source, answers, scores by category."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from modelcard.facts.harness import Part
from modelcard.facts.origin import MEASURE
from modelcard.facts.scores import Origin
from recipe.errors import UserError

SAMPLES = "samples.jsonl"  # beside the result file


@dataclass(frozen=True)
class Estimate:
    """A value, and the bounds of its 95% interval, if it has one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class OfSource:
    """Held-out pairs of one source."""

    source: str | None
    pairs: int
    accuracy: Estimate
    margin: Estimate


@dataclass(frozen=True)
class OfLength:
    """Held-out pairs whose chosen answer is the longer, or the shorter one."""

    pairs: int
    accuracy: float | None


@dataclass(frozen=True)
class HeldOutPairs:
    """What the held-out pairs are."""

    pairs: int
    chosen_longer: float
    """A share."""
    longer: OfLength | None
    shorter: OfLength | None
    by_source: tuple[OfSource, ...]


@dataclass(frozen=True)
class Sample:
    """A held-out prompt, and what the base and the tuned model answer, greedily."""

    source: str | None
    prompt: str
    base: str
    tuned: str
    base_cut: bool
    """Whether the answer went on."""
    tuned_cut: bool


@dataclass(frozen=True)
class Category:
    """MT-Bench's questions of one kind."""

    name: str
    questions: int
    score: float


@dataclass(frozen=True)
class Details:
    """What a result file says beside figures; empty where it does not."""

    origin: Origin
    heldout: HeldOutPairs | None
    samples: tuple[Sample, ...]
    categories: tuple[Category, ...]
    reference: str | None
    """Whose answers AlpacaEval's judge compared with."""
    cut: tuple[int, int] | None
    """How many requests were longer than the model reads, and of how many; None: none was."""


def read_details(content: Part, origin: Origin, path: Path) -> Details | None:
    """Read what a result file has beside figures; None if that is nothing.

    Args:
        content: Of the file.
        origin: What it says of all of its figures.
        path: Where it lies; held-out prompts and their answers lie beside it.

    Raises:
        UserError: Something that belongs there is missing.
    """
    about = content.get("notus")
    found = about.get("details") if isinstance(about, dict) else None
    if not isinstance(found, dict) or not found:
        return None
    read = _Reading(origin.file)
    heldout = _heldout(read, found) if origin.suite == "preference" else None
    samples = path.with_name(SAMPLES)
    return Details(
        origin=origin,
        heldout=heldout,
        samples=_samples(samples, origin.file) if heldout and samples.is_file() else (),
        categories=tuple(
            Category(*(read(one, key) for key in ("category", "questions", "score")))
            for one in found.get("by_category") or []
        ),
        reference=found.get("reference"),
        cut=(found["cut"], read(found, "requests")) if found.get("cut") else None,
    )


def samples_files(files: list[Path]) -> list[Path]:
    """Return the answers that lie beside result files, in order of their paths."""
    return sorted({beside for path in files if (beside := path.with_name(SAMPLES)).is_file()})


class _Reading:
    """Values of one file's details, by keys."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __call__(self, part: Part, key: str) -> Any:
        if key not in part:
            raise UserError(f"{self.file}: its details have no {key}; {MEASURE}")
        return part[key]


def _heldout(read: _Reading, found: Part) -> HeldOutPairs:
    lengths = found.get("length_controlled") or {}
    return HeldOutPairs(
        pairs=read(found, "pairs"),
        chosen_longer=read(found, "chosen_longer"),
        longer=_of_length(read, lengths.get("chosen_longer")),
        shorter=_of_length(read, lengths.get("chosen_shorter")),
        by_source=tuple(
            OfSource(
                source=read(one, "source"),
                pairs=read(one, "pairs"),
                accuracy=Estimate(*read(one, "accuracy")),
                margin=Estimate(*read(one, "margin")),
            )
            for one in found.get("by_source") or []
        ),
    )


def _of_length(read: _Reading, found: Part | None) -> OfLength | None:
    return OfLength(read(found, "pairs"), read(found, "accuracy")) if found else None


def _samples(path: Path, file: str) -> tuple[Sample, ...]:
    read = _Reading(file)
    lines = path.read_text(encoding="utf-8").split("\n")
    try:
        rows = [json.loads(line) for line in lines if line]
    except json.JSONDecodeError as error:
        raise UserError(f"{path.name} beside {file}: not JSON ({error}); {MEASURE}") from None
    keys = tuple(field.name for field in fields(Sample))
    return tuple(Sample(*(read(row, key) for key in keys)) for row in rows)
