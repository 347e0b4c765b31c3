"""Ways to go on wrongly, planted in the commands of a run: the harness has to notice every one."""

from collections.abc import Callable
from typing import Any

import recipe.resume.checkpoint
import recipe.resume.course
import recipe.resume.notice
import recipe.resume.saver
import recipe.resume.state
import recipe.run
import recipe.trainer

# Modules whose names are set to something else: any of theirs, of any type.
checkpoint: Any = recipe.resume.checkpoint
course: Any = recipe.resume.course
notice: Any = recipe.resume.notice
saver: Any = recipe.resume.saver
state: Any = recipe.resume.state
run: Any = recipe.run
trainer: Any = recipe.trainer


def forgets_the_optimizer() -> None:
    state._restore_optimizer = lambda *_: None


def forgets_the_log() -> None:
    restore = state.restore_figures

    def forgetful(trained: Any, kept: Any) -> None:
        restore(trained, kept)
        trained.state.log_history = []

    state.restore_figures = course.restore_figures = forgetful


def forgets_what_was_not_logged_yet() -> None:
    restore = state.restore_figures

    def forgetful(trained: Any, kept: Any) -> None:
        restore(trained, kept)
        trained.sums = None

    state.restore_figures = course.restore_figures = forgetful


def starts_the_schedule_over() -> None:
    from torch.optim.lr_scheduler import LambdaLR

    scheduler: Any = LambdaLR
    scheduler.load_state_dict = lambda *_: None
    groups = state._groups
    state._groups = lambda optimizer: [
        {name: value for name, value in group.items() if name != "lr"} for group in groups(optimizer)
    ]


def starts_the_rows_over() -> None:
    trainer.PreferenceTrainer.start_after = lambda *_: None


def takes_a_torn_checkpoint() -> None:
    checkpoint.file_sha256 = lambda path: (
        checkpoint._parts(path)[1] if checkpoint.NAME.fullmatch(path.name) else "0" * 64
    )


def says_nothing_of_a_torn_checkpoint() -> None:
    newest = checkpoint.Checkpoints.newest

    def silent(self: Any, reporter: Any) -> Any:
        reporter.warn = lambda _: None
        return newest(self, reporter)

    checkpoint.Checkpoints.newest = silent


def tells_tensorboard_nothing() -> None:
    state.tell_tensorboard = course.tell_tensorboard = lambda *_: None


def saves_nothing_on_notice() -> None:
    course._save_and_say = lambda *_: None


def hears_no_signal() -> None:
    notice.Notice._take = lambda *_: None


def leaves_its_checkpoints() -> None:
    run.Run._remove_scratch = lambda *_: None


def takes_what_lies_there_for_done() -> None:
    is_current = run.Run.is_current
    run.Run.is_current = lambda self, stage: (
        self.path(stage.outputs[0]).exists() if stage.name == "train" else is_current(self, stage)
    )


def counts_a_full_disk_as_a_bug() -> None:
    saver.UserError = RuntimeError


DEFECTS: dict[str, Callable[[], object]] = {
    defect.__name__: defect
    for defect in (
        forgets_the_optimizer,
        forgets_the_log,
        forgets_what_was_not_logged_yet,
        starts_the_schedule_over,
        starts_the_rows_over,
        takes_a_torn_checkpoint,
        says_nothing_of_a_torn_checkpoint,
        tells_tensorboard_nothing,
        saves_nothing_on_notice,
        hears_no_signal,
        leaves_its_checkpoints,
        takes_what_lies_there_for_done,
        counts_a_full_disk_as_a_bug,
    )
}
