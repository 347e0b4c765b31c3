"""When a run is disturbed: where it has got to, and how long after."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.jobs import Job, Where
from tests.chaos.tiny import STEPS
from tests.chaos.watched import TRAINING

EARLY = ("start", "fetch", "curate", "ranks", "tokens", "load", "reference")
MIDDLE = ("training", "checkpoint", "evaluating")
LATE = ("held out", "adapter", "figures", "moving in", "recording", "clearing up")
PHASES = (*EARLY, *MIDDLE, *LATE)
ANY = "any time"
_ORDER = {name: place for place, name in enumerate((*EARLY, "training", *LATE))} | dict.fromkeys(
    MIDDLE, len(EARLY)
)
LATER = 6  # steps after which a phase between steps is not waited for any longer


@dataclass(frozen=True)
class Moment:
    """A point in the life of a command.

    Attributes:
        phase: Which it is to be in, or past; `any time`: after a share of the undisturbed run's seconds.
        part: A share, from 0 to 1: of the steps that are left, or of those seconds.
        delay: Seconds after that.
    """

    phase: str
    part: float
    delay: float

    def __str__(self) -> str:
        return f"{self.phase} {self.part:.3f} +{self.delay * 1000:.0f} ms"

    @property
    def order(self) -> int:
        """Sorts the moments of a run: what only its first command goes through comes first."""
        return _ORDER.get(self.phase, -1)  # any time: of the first command, whose seconds are known

    def wait(self, job: Job, after: int, seconds: float) -> Where | None:
        """Wait for it; return where the command is then, or None if it has ended before.

        Args:
            job: The command.
            after: The step that it goes on after.
            seconds: What the undisturbed run took.
        """
        if self.phase == ANY:
            at = job.started + self.part * seconds
            return job.until(_after(at))
        step = after + round(self.part * (STEPS - after))
        if job.until(lambda here: self.reached(here, step)) is None:
            return None
        return job.until(_after_now(self.delay))

    def reached(self, here: Where, step: int) -> bool:
        """Whether a command is there, or past it."""
        order = _ORDER[here.phase]
        if order != self.order or self.phase not in TRAINING:
            return order >= self.order
        return here.step >= step and (here.phase == self.phase or here.step >= step + LATER)


def _after(at: float) -> Callable[[Where], bool]:
    return lambda _: time.monotonic() >= at


def _after_now(delay: float) -> Callable[[Where], bool]:
    return _after(time.monotonic() + delay)


def random_moment(rng: random.Random, phases: Sequence[str]) -> Moment:
    """Return a moment in one of some phases."""
    phase = rng.choice(phases)
    if phase == ANY:
        return Moment(phase, rng.uniform(0.0, 0.9), 0.0)
    # Not too far on, so that a run is disturbed several times.
    part = rng.uniform(0.0, 0.45) if phase in MIDDLE else 0.0
    return Moment(phase, part, rng.uniform(0.0, 0.06 if phase == "training" else 0.008))
