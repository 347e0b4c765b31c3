"""How the pairs of two runs differ, and which held-out rows either adapter has trained on.

Rows are told by their prompts: two runs may order, choose and leave out as they like.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pyarrow import parquet

from recipe.curate.pair import digest
from recipe.run import Run
from recipe.schedule import schedule_of

COLUMNS = ("prompt", "chosen", "rejected")
SAME, SWAPPED = "same", "swapped"
OTHER_CHOSEN, OTHER_REJECTED, BOTH_OTHER = "other_chosen", "other_rejected", "both_other"
KINDS = (SAME, OTHER_REJECTED, OTHER_CHOSEN, BOTH_OTHER, SWAPPED)


class Texts(NamedTuple):
    """A pair's texts, each by the digest of it; the prompt is all of its turns."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Pairs:
    """The pairs of a run.

    Attributes:
        train: Those to train on, in the order of the file.
        heldout: Those held out, likewise.
        trained: The prompts of those that the run's optimizer steps see: fewer than all with `max_steps`.
    """

    train: list[Texts]
    heldout: list[Texts]
    trained: frozenset[str]


@dataclass(frozen=True)
class Leaks:
    """What of one run's held-out rows the adapters know.

    Attributes:
        rows: Held-out rows.
        train_rows_of_other: Those whose prompt is among the other run's training rows.
        trained_by_other: Those whose prompt the other adapter trained on.
        trained_by_own: Those whose prompt the run's own adapter trained on: a prompt that is there twice.
        clean: Whether neither did, bool of shape (rows,).
    """

    rows: int
    train_rows_of_other: int
    trained_by_other: int
    trained_by_own: int
    clean: npt.NDArray[np.bool_]

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {
            "rows": self.rows,
            "train_rows_of_other": self.train_rows_of_other,
            "trained_by_other": self.trained_by_other,
            "trained_by_own": self.trained_by_own,
            "clean": int(self.clean.sum()),
        }


def read_pairs(run: Run) -> Pairs:
    """Return the pairs of a run whose curate stage is done."""
    train, heldout = (_read(run, name) for name in ("train", "heldout"))
    places = schedule_of(run.recipe.science, len(train)).places()
    return Pairs(train, heldout, frozenset(train[place.row].prompt for place in places if place.weight))


def _read(run: Run, name: str) -> list[Texts]:
    with parquet.ParquetFile(run.path("data", f"{name}.parquet")) as file:
        return [
            Texts(*(digest(row[column]) for column in COLUMNS))
            for batch in file.iter_batches(columns=list(COLUMNS))
            for row in batch.to_pylist()
        ]


def leaks_of(own: Pairs, other: Pairs) -> Leaks:
    """Return which of `own`'s held-out rows either adapter has trained on."""
    prompts = [row.prompt for row in own.heldout]
    there = {row.prompt for row in other.train}
    by_other, by_own = (
        np.array([prompt in pairs.trained for prompt in prompts], dtype=np.bool_) for pairs in (other, own)
    )
    return Leaks(
        rows=len(prompts),
        train_rows_of_other=sum(prompt in there for prompt in prompts),
        trained_by_other=int(by_other.sum()),
        trained_by_own=int(by_own.sum()),
        clean=~(by_other | by_own),
    )


def differing(a: Pairs, b: Pairs) -> dict[str, int]:
    """Count how the pairs of two runs differ, training and held-out rows together.

    Returns:
        `prompts_both`, `prompts_only_a`, `prompts_only_b`; `compared`, rows of the prompts that both have, one of each
        run; of these `same`, `other_rejected` (the same chosen), `other_chosen` (the same rejected), `both_other` and
        `swapped`; and `unmatched`, rows of such a prompt that one run has more of.
    """
    by_prompt = [_by_prompt([*pairs.train, *pairs.heldout]) for pairs in (a, b)]
    prompts = [found.keys() for found in by_prompt]
    both = prompts[0] & prompts[1]
    kinds: Counter[str] = Counter()
    unmatched = 0
    for prompt in both:
        ones, others = (found[prompt] for found in by_prompt)
        kinds.update(_kinds(ones, others))
        unmatched += abs(len(ones) - len(others))
    return {
        "prompts_both": len(both),
        "prompts_only_a": len(prompts[0] - both),
        "prompts_only_b": len(prompts[1] - both),
        "compared": kinds.total(),
        **{kind: kinds[kind] for kind in KINDS},
        "unmatched": unmatched,
    }


def _by_prompt(rows: Iterable[Texts]) -> dict[str, list[Texts]]:
    found: dict[str, list[Texts]] = defaultdict(list)
    for row in rows:
        found[row.prompt].append(row)
    return found


def _kinds(ones: Sequence[Texts], others: Sequence[Texts]) -> Iterable[str]:
    """Yield how the pairs of one prompt differ: equal ones meet first, the others in the order of their digests."""
    left, right = Counter(ones), Counter(others)
    equal = left & right
    yield from [SAME] * equal.total()
    rest = (sorted((side - equal).elements()) for side in (left, right))
    for one, other in zip(*rest, strict=False):
        yield _kind(one, other)


def _kind(one: Texts, other: Texts) -> str:
    if (one.chosen, one.rejected) == (other.rejected, other.chosen):
        return SWAPPED
    if one.chosen == other.chosen:
        return SAME if one.rejected == other.rejected else OTHER_REJECTED
    return OTHER_CHOSEN if one.rejected == other.rejected else BOTH_OTHER
