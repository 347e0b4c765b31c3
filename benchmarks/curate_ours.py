"""Our side of `curate.py`: raw rows to pairs, audit.json and feedback.parquet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.watched import spent
from benchmarks.work import Spent
from recipe.curate import curate
from recipe.curate.feedback import FeedbackReader, find_aspects
from recipe.curate.pair import OPTIONAL, Reason
from recipe.curate.read import Source
from recipe.curate.rules import Rules
from recipe.progress import Reporter

AS_ORIGINAL = Rules(leave_out=frozenset({Reason.EQUAL_RATINGS}))
"""argilla/ultrafeedback-binarized-preferences left out nothing but rows without a better and a worse answer."""

AS_ZEPHYR = Rules(by="overall_score", rejected="other", leave_out=frozenset())
"""HuggingFaceH4/ultrafeedback_binarized took any other answer, an equal one too."""

TEST_SIZE = 2000


@dataclass(frozen=True)
class Ours:
    """What curation took in all; and, apart, to read the lines and to take them apart into columns, and no more."""

    whole: Spent
    reading: Spent


def as_original(raw: Path, out: Path) -> Ours:
    """Curate as the original did, and return what it took; imports are done before."""
    return _curate(raw, out, AS_ORIGINAL)


def as_zephyr(raw: Path, out: Path) -> Ours:
    """Curate by the control's rule."""
    return _curate(raw, out, AS_ZEPHYR)


def by_lowest(raw: Path, out: Path, by: Literal["ratings", "overall_score"]) -> Ours:
    """Curate with nothing left to chance: the worst answer is rejected. All that can be is left out."""
    return _curate(raw, out, Rules(by=by, rejected="lowest", leave_out=OPTIONAL))


def _curate(raw: Path, out: Path, rules: Rules) -> Ours:
    started = spent()
    source = Source(raw, raw.name)
    reader = FeedbackReader(find_aspects([source]), rules.by, lambda _: None)
    for _ in reader.chunks(source, 0):
        pass
    reading = spent() - started
    with raw.open("rb") as file:  # a small set has no 2,000 pairs to hold out
        few = sum(1 for _ in zip(file, range(2 * TEST_SIZE), strict=False)) < 2 * TEST_SIZE
    started = spent()
    curate(
        [raw],
        None,
        out,
        rules=rules,
        dataset_format="ultrafeedback",
        test_size=1 if few else TEST_SIZE,
        reporter=Reporter(quiet=True, stderr=True),
    )
    return Ours(spent() - started, reading)
