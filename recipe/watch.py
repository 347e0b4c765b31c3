"""What is watched while a trainer works: its progress, its losses, and the time it takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from recipe.progress import Bar


class Clock:
    """Seconds of training, without what is done in between."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._lap = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """All that was measured so far."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return self._spent + running

    @property
    def state(self) -> tuple[float, float]:
        """All seconds so far, and those of them up to the last lap."""
        return self.seconds, self._lap

    def go_on_from(self, seconds: float, lap: float) -> None:
        """Count on from what `state` was."""
        self._spent, self._lap = seconds, lap
        if self._since is not None:
            self._since = time.monotonic()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        before, self._lap = self._lap, self.seconds
        return self._lap - before

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure what happens in the block."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._spent, self._since = self.seconds, None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the block out, if time is being measured."""
        measuring = self._since is not None
        self._spent, self._since = self.seconds, None
        try:
            yield
        finally:
            if measuring:
                self._since = time.monotonic()


class ProgressCallback(TrainerCallback):
    """Moves a bar on by optimizer steps, with the loss beside it."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Count a step."""
        self.bar.advance()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Show the loss and the margin of the last logged step."""
        if logs and "loss" in logs:
            speed = f"  {logs['pairs_per_second']:.1f} pairs/s" if "pairs_per_second" in logs else ""
            self.bar.note(f"loss {logs['loss']:.4f}  margin {logs.get('rewards/margins', 0.0):+.3f}{speed}")
