"""When a training is saved, and how: copied at the end of a step, written beside the next ones."""

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from recipe.errors import UserError
from recipe.resume.checkpoint import Checkpoint, Checkpoints


class Saver(TrainerCallback):
    """Saves a training: every so many steps, every so many minutes, at its end, and when it is told to.

    Args:
        checkpoints: Where to.
        snapshot: Copies the state as it is after a step; called between steps only.
        steps: Every how many steps; None: not by steps.
        minutes: Every how many minutes; None: not by time.
        step: After which step there is a checkpoint already; 0: none.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        snapshot: Callable[[], Checkpoint],
        *,
        steps: int | None,
        minutes: float | None,
        step: int = 0,
    ) -> None:
        self.checkpoints, self._snapshot = checkpoints, snapshot
        self._steps, self._minutes = steps, minutes
        self._step, self._time = step, time.monotonic()
        self._writing: threading.Thread | None = None
        self._failed: Exception | None = None

    @property
    def failed(self) -> bool:
        """Whether a checkpoint could not be written."""
        return self._failed is not None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Save the step before if that is due: with its log, and what was evaluated after it."""
        if self._due(state.global_step) and not (self._writing and self._writing.is_alive()):
            self._save(state.global_step)

    def finish(self, step: int) -> None:
        """Save a step, and wait until it is on the disk.

        Raises:
            UserError: It could not be written: the system has kept it from that.
            Exception: Likewise, but for another reason: a bug.
        """
        if self._writing:
            self._writing.join()
        if self._failed is None:
            self._save(step)
        if self._writing:
            self._writing.join()
        self._refuse_failure()

    def _due(self, step: int) -> bool:
        if step == self._step:
            return False
        # Not only where it divides: while one is being written, the next one waits.
        by_steps = self._steps is not None and step // self._steps > self._step // self._steps
        return by_steps or (self._minutes is not None and time.monotonic() - self._time >= 60 * self._minutes)

    def _save(self, step: int) -> None:
        if step == self._step:
            return
        self._step, self._time = step, time.monotonic()
        self._writing = threading.Thread(target=self._write, args=(self._snapshot(),))
        self._writing.start()

    def _write(self, checkpoint: Checkpoint) -> None:
        try:
            self.checkpoints.write(checkpoint)
        except Exception as error:  # this is another thread: `finish` raises it
            self._failed = error

    def _refuse_failure(self) -> None:
        if self._failed is None:
            return
        if not isinstance(self._failed, OSError):
            raise self._failed
        folder: Path = self.checkpoints.folder
        full = self._failed.errno in {errno.ENOSPC, errno.EDQUOT}
        why = "the disk is full; make room" if full else f"{self._failed.strerror}; mend that"
        raise UserError(
            f"{folder}: a checkpoint can't be written, {why}, then run the same command again, and training goes on "
            "from the last one that is whole"
        ) from None
