"""What result files of Notus's own suites say beside figures: held-out pairs by source, answers, scores by category."""

import json
from dataclasses import dataclass
from pathlib import Path

from modelcard.facts.reading import MEASURE, Part, Reading
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
        UserError: Something that belongs there is missing, or is not as Notus writes it.
    """
    about = content.get("notus")
    found = about.get("details") if isinstance(about, dict) else None
    if not found:
        return None
    read = Reading(origin.file, "its `details`", found)
    heldout = _heldout(read) if origin.suite == "preference" else None
    samples, cut = path.with_name(SAMPLES), read.count_or_none("cut")
    return Details(
        origin=origin,
        heldout=heldout,
        samples=_samples(samples, origin.file) if heldout and samples.is_file() else (),
        categories=tuple(
            Category(one.text("category"), one.count("questions"), one.number("score"))
            for one in read.several("by_category")
        ),
        reference=read.text_or_none("reference"),
        cut=(cut, read.count("requests")) if cut else None,
    )


def samples_files(files: list[Path]) -> list[Path]:
    """Return the answers that lie beside result files, in order of their paths."""
    return sorted({beside for path in files if (beside := path.with_name(SAMPLES)).is_file()})


def _heldout(read: Reading) -> HeldOutPairs:
    lengths = read.inner_or_none("length_controlled")
    return HeldOutPairs(
        pairs=read.count("pairs"),
        chosen_longer=read.number("chosen_longer"),
        longer=_of_length(lengths, "chosen_longer"),
        shorter=_of_length(lengths, "chosen_shorter"),
        by_source=tuple(
            OfSource(
                source=one.text_or_none("source"),
                pairs=one.count("pairs"),
                accuracy=Estimate(*one.bounded("accuracy")),
                margin=Estimate(*one.bounded("margin")),
            )
            for one in read.several("by_source")
        ),
    )


def _of_length(lengths: Reading | None, kind: str) -> OfLength | None:
    found = lengths.inner_or_none(kind) if lengths else None
    return OfLength(found.count("pairs"), found.number_or_none("accuracy")) if found else None


def _samples(path: Path, file: str) -> tuple[Sample, ...]:
    where = f"{path.name} beside {file}"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error}); {MEASURE}") from None
    return tuple(_sample(Reading(where, "a row", row)) for row in rows)


def _sample(row: Reading) -> Sample:
    return Sample(
        row.text_or_none("source"),
        row.text("prompt"),
        row.text("base"),
        row.text("tuned"),
        row.switch("base_cut"),
        row.switch("tuned_cut"),
    )
