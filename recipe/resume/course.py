"""The course of a training: from its beginning, or from where it was ended, to its end or to the next notice."""

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from recipe.disk import write_text
from recipe.environment import cpu_name
from recipe.errors import UserError
from recipe.made_by import versions
from recipe.progress import Reporter
from recipe.resume.checkpoint import Checkpoint, Checkpoints, Key
from recipe.resume.names import CHECKPOINTS
from recipe.resume.notice import ENDING_SECONDS, LOOK_SECONDS, EndedError, Notice
from recipe.resume.saver import Saver
from recipe.resume.state import (
    Layout,
    Resume,
    close_tensorboard,
    from_rank_0,
    restore_adapter,
    restore_figures,
    snapshot,
    tell_tensorboard,
)
from recipe.resume.watchdog import Watchdog, wake_siblings
from recipe.run import Run
from recipe.schedule import Schedule
from recipe.schema import Execution, canonical_sha256
from recipe.sharing import add_up, others_lost, waits_for_others
from recipe.trainer import PreferenceTrainer
from recipe.watch import ProgressCallback

Layouts = list[tuple[int, Layout]]
"""What computed the steps of a training: the step from which on, and by what."""


def key_of(run: Run, base: Any, rows: str, schedule: Schedule) -> Key:
    """Return what a training is of: its checkpoints are of no use to another one.

    Args:
        run: Gives the science.
        base: sha256 of each of the base's files, by name.
        rows: sha256 of the training rows' token ids and masks.
        schedule: The order in which the steps see them.
    """
    return {
        "science": run.recipe.science_sha256,
        "base": canonical_sha256(base),
        "rows": rows,
        "order": canonical_sha256(asdict(schedule)),
    }


def train_on(
    trainer: PreferenceTrainer,
    run: Run,
    key: Key,
    schedule: Schedule,
    reporter: Reporter,
    ended: Path | None = None,
) -> Layouts:
    """Train to the end, from the last checkpoint that the run folder has of this training.

    Args:
        trainer: New, with the adapter as a training begins with it.
        run: Its folder has the checkpoints, rank 0's at least.
        key: What the training is of.
        schedule: Which rows each optimizer step sees.
        reporter: Shows the progress.
        ended: A file that rank 0 makes once it has saved what there is; None: there is one process only.

    Returns:
        What computed which steps.

    Raises:
        EndedError: A signal has ended it. There is a checkpoint of the last step that was finished.
        OthersLostError: Another rank is gone; likewise.
        UserError: A loss is no number, or a checkpoint can't be written.
    """
    execution, first = run.recipe.execution, trainer.is_world_process_zero()
    checkpoints = Checkpoints(run.path(CHECKPOINTS), key, execution.save_total_limit)
    found = checkpoints.newest(reporter) if first else None
    found = from_rank_0(found, trainer.accelerator.device)
    step = found.step if found else 0
    layouts = _layouts(found, layout_of(trainer, execution))
    if found:
        restore_adapter(trainer, found)
        if step == schedule.steps and found.facts["trained_to_the_end"]:
            restore_figures(trainer, found)
            tell_tensorboard(trainer, found.facts["log"])
            close_tensorboard(trainer)
            reporter.say(f"  all {step} steps are done already")
            return layouts
        reporter.say(f"  training goes on after step {step} of {schedule.steps}")
        trainer.add_callback(Resume(trainer, found))
    every = {"steps": execution.save_steps, "epoch": schedule.steps_per_epoch, "no": None}
    saver = Saver(
        checkpoints,
        lambda: snapshot(trainer, layouts),
        steps=every[execution.save_strategy],
        minutes=execution.save_minutes,
        step=step,
    )
    if first:
        trainer.add_callback(saver)
    with reporter.bar("training", schedule.steps) as bar, Notice(alone=ended is None) as notice:
        if step:
            bar.advance(step)
        trainer.add_callback(ProgressCallback(bar))
        trainer.noticed = lambda: notice.given
        trainer.ending = lambda: notice.given or saver.failed
        try:
            trainer.train()
        except Exception as error:
            if not (isinstance(error, EndedError) or others_lost(error)):
                raise
            if first:
                _save_and_say(saver, trainer.state.global_step, schedule.steps, ended)
            if isinstance(error, EndedError):
                if ended and not first:
                    _wait_for(ended, notice)
                raise EndedError(notice.number) from None
            raise
        # Within the notice's block, which a signal does not end, and told to all: none goes on without rank 0.
        wrong = _finish(saver, schedule.steps) if first else None
        [ending] = add_up([float(notice.given or wrong is not None)], trainer.accelerator.device)
    if ending or notice.given:  # that may have come since
        if ended and first:
            ended.touch()
        elif ended:
            _wait_for(ended, notice)
        raise wrong or EndedError(notice.number)
    return layouts


def _finish(saver: Saver, step: int) -> UserError | None:
    """Save the last step; return why that can't be done."""
    try:
        saver.finish(step)
    except UserError as error:
        return error
    return None


def _wait_for(ended: Path, notice: Notice) -> None:
    """Wait for rank 0, unless this rank has to end itself: who is gone before has all others ended with it."""
    deadline = time.monotonic() + ENDING_SECONDS
    while not (ended.exists() or notice.given) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    time.sleep(LOOK_SECONDS)  # rank 0 may have something to say, now that it has saved


def _save_and_say(saver: Saver, step: int, steps: int, ended: Path | None) -> None:
    try:
        saver.finish(step)
    finally:
        if ended:
            ended.touch()
    if step:
        sys.stderr.write(
            f"notus: there is a checkpoint after step {step} of {steps}; the same command goes on from there\n"
        )


def layout_of(trainer: PreferenceTrainer, execution: Execution) -> Layout:
    """Return what computes a trainer's steps here, as far as their last bits may hang on it."""
    device = trainer.accelerator.device
    gpu = device.type == "cuda"
    return {
        "devices": trainer.accelerator.num_processes,
        "device": torch.cuda.get_device_name(device) if gpu else cpu_name(),
        "engine": execution.engine,
        "micro_batch": trainer.micro_batch,
        "fused_kernels": gpu and execution.fused_kernels,
        "attn_implementation": trainer.tuned.config._attn_implementation,
        "versions": versions(),
    }


def _layouts(found: Checkpoint | None, layout: Layout) -> Layouts:
    """Return what computed the steps so far, and from here on."""
    before: Layouts = [(begun, known) for begun, known in found.facts["layouts"]] if found else []
    if found and before[-1][1] == layout:
        return before
    return [*before, (found.step + 1 if found else 1, layout)]


@contextmanager
def watched(
    trainer: PreferenceTrainer, run: Run, aside: Path | None, stuck_file: str, code: int
) -> Iterator[None]:
    """End the process if nothing moves any more in the block, with its stack, and say so.

    Args:
        trainer: Tells at every micro-batch that it moves.
        run: Its execution says how long a micro-batch may take.
        aside: Where ranks leave word; None: there is one process only.
        stuck_file: The name of that word.
        code: The exit code of a rank.
    """
    seconds = run.recipe.execution.step_timeout

    def stuck() -> None:
        step = trainer.state.global_step
        waits = waits_for_others()
        what = "no answer came from the other ranks" if waits else "nothing was done"
        line = f"training: {what} for {seconds:g} s after step {step}; the stacks above say where"
        if aside:
            if not (waits and (aside / stuck_file).exists()):  # a rank that waits may wait for that one
                with contextlib.suppress(OSError):  # of another rank that leaves word
                    write_text(aside / stuck_file, line)
            wake_siblings()
        else:
            sys.stderr.write(
                f"notus: {line}; run the same command again, it goes on from the last checkpoint\n"
            )
            sys.stderr.flush()

    rank = trainer.accelerator.process_index
    name = f"rank {rank}" if aside else "training"
    told = (aside / stuck_file).exists if aside else None
    dog = Watchdog(seconds, stuck, code=code if aside else 1, name=name, others=told)
    trainer.pulse = dog.pulse
    with dog.watching():
        yield
