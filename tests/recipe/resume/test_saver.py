"""When a training is saved."""

import threading
import time
from typing import Any, cast

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from recipe.errors import UserError
from recipe.resume.checkpoint import Checkpoint, Checkpoints
from recipe.resume.saver import Saver


class Kept:
    """Checkpoints that only note what is written, and when they may."""

    folder = "run/checkpoints"

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.may = threading.Event()
        self.may.set()
        self.error: Exception | None = None

    def write(self, checkpoint: Checkpoint) -> None:
        self.may.wait(10)
        if self.error:
            raise self.error
        self.steps.append(checkpoint.step)


class Training:
    """Steps, one after the other."""

    def __init__(self, **options: Any) -> None:
        self.kept, self.step = Kept(), 0
        self.saver = Saver(cast(Checkpoints, self.kept), lambda: Checkpoint(self.step, {}, {}), **options)

    def to(self, step: int) -> "Training":
        while self.step < step:
            self.step += 1
            state = TrainerState(global_step=self.step)
            self.saver.on_step_begin(cast(TrainingArguments, None), state, TrainerControl())
            if self.kept.may.is_set() and self.saver._writing:
                self.saver._writing.join()
        return self


def test_every_so_many_steps() -> None:
    assert Training(steps=3, minutes=None).to(10).kept.steps == [3, 6, 9]


def test_one_that_went_on_keeps_the_beat() -> None:
    training = Training(steps=3, minutes=None, step=4)
    training.step = 4
    assert training.to(10).kept.steps == [6, 9]


def test_every_so_many_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("recipe.resume.saver.time.monotonic", lambda: now[0])
    training = Training(steps=None, minutes=2)
    for step, seconds in enumerate((60, 119, 120, 130, 239, 241), start=1):
        now[0] = seconds
        training.to(step)
    assert training.kept.steps == [3, 6]


def test_never_unless_it_is_told_to() -> None:
    training = Training(steps=None, minutes=None).to(10)
    assert training.kept.steps == []
    training.saver.finish(10)
    assert training.kept.steps == [10]
    training.saver.finish(10)
    assert training.kept.steps == [10]


def test_training_does_not_wait_for_the_disk_and_what_was_due_is_saved_after() -> None:
    training = Training(steps=1, minutes=None)
    training.kept.may.clear()
    started = time.monotonic()
    training.to(4)
    assert time.monotonic() - started < 5
    assert training.kept.steps == []
    training.kept.may.set()
    training.to(6)
    training.saver.finish(6)
    assert training.kept.steps[0] == 1
    assert training.kept.steps[-1] == 6
    assert not set(training.kept.steps) & {2, 3, 4}


def test_what_could_not_be_written_is_a_line() -> None:
    training = Training(steps=1, minutes=None)
    training.kept.error = OSError(28, "No space left on device")
    training.to(1)
    assert training.saver.failed
    with pytest.raises(
        UserError, match="run/checkpoints: a checkpoint can't be written, the disk is full; make room"
    ):
        training.saver.finish(2)


def test_what_else_the_system_says_is_passed_on() -> None:
    training = Training(steps=1, minutes=None)
    training.kept.error = OSError(5, "Input/output error")
    training.to(1)
    with pytest.raises(UserError, match="can't be written, Input/output error; mend that"):
        training.saver.finish(2)


def test_a_bug_does_not_pass_for_a_checkpoint() -> None:
    training = Training(steps=1, minutes=None)
    training.kept.error = TypeError("no JSON")
    training.to(1)
    assert training.saver.failed
    with pytest.raises(TypeError, match="no JSON"):
        training.saver.finish(1)
