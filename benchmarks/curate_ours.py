"""Our side of `curate.py`: raw rows to pairs, audit.json and feedback.parquet."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.watched import spent
from benchmarks.work import Spent
from recipe.curate import curate
from recipe.curate.feedback import Chunk, FeedbackReader
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
    """What curation took in all, and of that to read the lines and to take them apart into columns."""

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
    reading = _Reading()
    started = spent()
    with raw.open("rb") as file:  # a small set has no 2,000 pairs to hold out
        few = sum(1 for _ in zip(file, range(2 * TEST_SIZE), strict=False)) < 2 * TEST_SIZE
    curate(
        [raw],
        None,
        out,
        rules=rules,
        dataset_format="ultrafeedback",
        test_size=1 if few else TEST_SIZE,
        reporter=Reporter(quiet=True, stderr=True),
    )
    return Ours(spent() - started, reading.took)


class _Reading:
    """From now on adds up what it takes to read chunks of feedback, in this process."""

    def __init__(self) -> None:
        self.took = Spent(0.0, 0.0)
        chunks = FeedbackReader.chunks

        def timed(reader: FeedbackReader, source: Source, first: int) -> Iterator[Chunk]:
            found = chunks(reader, source, first)
            while True:
                started = spent()
                chunk = next(found, None)
                took = spent() - started
                self.took = Spent(self.took.seconds + took.seconds, self.took.cpu_seconds + took.cpu_seconds)
                if chunk is None:
                    return
                yield chunk

        setattr(FeedbackReader, "chunks", timed)  # noqa: B010 - of a class
