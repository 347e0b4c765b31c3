"""TensorBoard's curves of a training that goes on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerControl, TrainerState
from transformers.integrations import TensorBoardCallback  # type: ignore[attr-defined]

from recipe.resume.state import close_tensorboard, tell_tensorboard
from recipe.trainer import PreferenceTrainer


def test_the_curves_up_to_a_checkpoint_are_written_again_and_the_step_is_none_of_them(tmp_path: Path) -> None:
    board = TensorBoardCallback(SummaryWriter(str(tmp_path)))  # type: ignore[no-untyped-call]
    trainer: Any = SimpleNamespace(
        callback_handler=SimpleNamespace(callbacks=[board]),
        args=None,
        state=TrainerState(global_step=3, is_world_process_zero=True),
        control=TrainerControl(),
    )
    log = [{"step": 1, "loss": 0.5, "epoch": 0.25}, {"step": 2, "loss": 0.25, "epoch": 0.5}]
    tell_tensorboard(cast(PreferenceTrainer, trainer), log)
    close_tensorboard(cast(PreferenceTrainer, trainer))
    assert trainer.state.global_step == 3
    found = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(found.Tags()["scalars"]) == ["train/epoch", "train/loss"]
    assert [(one.step, one.value) for one in found.Scalars("train/loss")] == [(1, 0.5), (2, 0.25)]
