"""Which modes are measured on a GPU, in what order, and what is left out if it does not fit or time is short."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from benchmarks.isolate import DoesNotFitError, UnfinishedError
from benchmarks.work import Measured, Mode, Result

CAP = 40 * 10**9  # of an A100 40GB, what the original run had
MICRO_BATCHES = (1, 2, 4)
# Tokens of our packs, and whether as many layers as must be are computed a second time in the backward pass, or none.
PACKS: tuple[tuple[int, bool | Literal["auto"]], ...] = (
    (4096, "auto"),
    (4096, False),
    (6144, "auto"),
    (8192, "auto"),
)
WHOLE_PACKS: tuple[tuple[int, bool | Literal["auto"]], ...] = (
    (8192, "auto"),
    (16384, "auto"),
    (12288, "auto"),
    (24576, "auto"),
)
NO_TIME = "no time left"
SMALLER = "a smaller one does not fit"


@dataclass(frozen=True)
class Entry:
    """A row of the table: the fastest of its candidates that fits.

    Attributes:
        name: What the row is called.
        candidates: The likeliest to be the fastest first.
    """

    name: str
    candidates: tuple[Mode, ...]


@dataclass
class Outcome:
    """What became of an entry: a measurement or a reason for each candidate, by its place."""

    entry: Entry
    measured: dict[int, Measured] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    @property
    def best(self) -> Measured | None:
        """The fastest one."""
        return max(self.measured.values(), key=lambda one: one.pairs_per_second, default=None)


def entries(*, whole: bool, fused: bool) -> list[Entry]:
    """Return what is compared.

    Args:
        whole: Whether the GPU has more memory than the cap, and all of it is to be used as well.
        fused: Whether Liger's kernels are there for TRL's candidates.
    """
    trl = [
        replace(one, name=f"{one.name}{', Liger' * kernels}", fused=kernels)
        for checkpointing in (False, True)
        for one in (_trl(micro_batch, checkpointing) for micro_batch in MICRO_BATCHES)
        for kernels in ((True, False) if fused else (False,))
    ]
    found = [
        Entry("as in 2023", (_capped(Mode("as in 2023", "2023", 2, True, reference_once=False)),)),
        Entry("TRL, as written", (_capped(Mode("TRL, as written", "trl", 2, True, reference_once=False)),)),
        Entry("TRL, at its best", tuple(map(_capped, trl))),
        Entry("ours", tuple(_capped(_ours(*one)) for one in PACKS)),
    ]
    if whole:
        found += [
            Entry("ours, the whole card", tuple(_ours(*one) for one in WHOLE_PACKS)),
            Entry("TRL, the whole card", tuple(one for one in trl if not one.checkpointing)),
        ]
    return found


def _trl(micro_batch: int, checkpointing: bool) -> Mode:
    name = f"TRL, micro-batch {micro_batch}{', recompute' * checkpointing}"
    return Mode(name, "trl", micro_batch, checkpointing)


def _ours(budget: int, checkpointing: bool | Literal["auto"]) -> Mode:
    name = f"ours, packs of {budget:,}{'' if checkpointing else ', all kept'}"
    return Mode(name, "ours", budget=budget, checkpointing=checkpointing)


def _capped(mode: Mode) -> Mode:
    return replace(mode, memory=CAP)


def in_turn(outcomes: Sequence[Outcome]) -> list[tuple[Outcome, int]]:
    """Return each candidate's outcome and place: every entry's first one, then every entry's second one, ..."""
    most = max(len(outcome.entry.candidates) for outcome in outcomes)
    return [
        (outcome, place)
        for place in range(most)
        for outcome in outcomes
        if place < len(outcome.entry.candidates)
    ]


def cannot_fit(mode: Mode, too_large: Sequence[Mode]) -> bool:
    """Say whether a mode needs at least as much memory as one of those that were too large."""
    if mode.checkpointing == "auto":  # a larger pack has more layers recomputed
        return False
    return any(
        replace(mode, name="", micro_batch=0, budget=0) == replace(other, name="", micro_batch=0, budget=0)
        and (mode.micro_batch, mode.budget) >= (other.micro_batch, other.budget)
        for other in too_large
    )


class Contest:
    """Measures all candidates of all entries, as far as the time goes.

    Args:
        measure: Does a mode's work within so many seconds; raises `UnfinishedError`.
        until: The end, by `time.monotonic`.
        tell: Is told each candidate's name before, and what became of it after.
    """

    def __init__(
        self, measure: Callable[[Mode, float], Result], until: float, tell: Callable[[str, str], None]
    ) -> None:
        self._measure, self._until, self._tell = measure, until, tell
        self._too_large: list[Mode] = []
        self._longest: dict[str, float] = {}  # seconds, by engine

    def run(self, wanted: Sequence[Entry]) -> list[Outcome]:
        """Return what became of each entry."""
        outcomes = [Outcome(entry) for entry in wanted]
        for outcome, place in in_turn(outcomes):
            mode = outcome.entry.candidates[place]
            self._tell(mode.name, "")
            try:
                outcome.measured[place] = Measured(mode, [self._one(mode)])
                said = f"{outcome.measured[place].pairs_per_second:.3f} pairs/s"
            except UnfinishedError as error:
                said = outcome.reasons[place] = str(error)
            self._tell(mode.name, said)
        return outcomes

    def _one(self, mode: Mode) -> Result:
        if cannot_fit(mode, self._too_large):
            raise DoesNotFitError(SMALLER)
        started = time.monotonic()
        left = self._until - started
        if left <= self._longest.get(mode.engine, 0):
            raise UnfinishedError(NO_TIME)
        try:
            return self._measure(mode, left)
        except DoesNotFitError:
            self._too_large.append(mode)
            raise
        finally:
            self._longest[mode.engine] = max(self._longest.get(mode.engine, 0), time.monotonic() - started)
