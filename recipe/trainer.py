"""TRL's DPOTrainer, driven by our tokenization and our schedule, under our progress bar."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.trainer.dpo_trainer import DPOTrainer

from recipe.errors import UserError
from recipe.progress import Bar


class FixedOrder(Sampler[int]):
    """Yields the rows of all optimizer steps, one after the other."""

    def __init__(self, row_ids: Sequence[int]) -> None:
        self.row_ids = row_ids

    def __len__(self) -> int:
        return len(self.row_ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self.row_ids)


class PreferenceTrainer(DPOTrainer):
    """DPOTrainer over rows that are token ids already, in a given order.

    Args:
        row_ids: The training row of each pair, all optimizer steps in order; one pass over it is the run.
        steps_per_epoch: Optimizer steps of one pass over the data, for the logs.
        kwargs: As DPOTrainer's; the data sets have `prompt_ids`, `chosen_ids` and `rejected_ids`.
    """

    def __init__(self, *, row_ids: Sequence[int], steps_per_epoch: int, **kwargs: Any) -> None:
        self._row_ids = row_ids
        self._steps_per_epoch = steps_per_epoch
        super().__init__(**kwargs)

    @property
    def tuned(self) -> PeftModel:
        """The base with the adapter on it."""
        assert isinstance(self.model, PeftModel)
        return self.model

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return rows as a batch: chosen sides first, then rejected, as tensors of shape (2 * rows, tokens)."""
        assert self.data_collator is not None
        batch: dict[str, torch.Tensor] = self.data_collator([dict(row) for row in rows])
        return batch

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the epoch of the data: to the trainer the whole run is one."""
        self.state.epoch = self.state.global_step / self._steps_per_epoch
        super().log(logs, start_time)

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset  # tokenized, truncated and counted by recipe.prompt

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        return FixedOrder(self._row_ids)


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
        """Show the loss and the margin of the last logged step.

        Raises:
            UserError: The run has diverged.
        """
        for name in ("loss", "grad_norm"):
            if logs and not math.isfinite(logs.get(name, 0.0)):
                where = f"training: {name} is {logs[name]} at step {state.global_step}"
                raise UserError(f"{where}; lower learning_rate, or look at the rows")
        if logs and "loss" in logs:
            self.bar.note(f"loss {logs['loss']:.4f}  margin {logs.get('rewards/margins', 0.0):+.3f}")
