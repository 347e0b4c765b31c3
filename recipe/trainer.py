"""TRL's DPOTrainer, driven by our tokenization and our schedule, under our progress bar."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler, SequentialSampler
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.dpo_trainer import DPOTrainer

from recipe.errors import UserError
from recipe.progress import Bar
from recipe.schedule import Schedule

Batch = dict[str, torch.Tensor]
Row = dict[str, Any]


class PairCollator:
    """Lays rows of token ids as one batch: the chosen sides first, then the rejected ones.

    Args:
        pad_token_id: Fills up on the right, where the mask is 0.
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return the batch of `rows`.

        Args:
            rows: Each with `prompt_ids`, `chosen_ids`, `rejected_ids`, their `..._mask`, and perhaps a `weight`.

        Returns:
            `input_ids`, `attention_mask` and `completion_mask`, int64 of shape (2 * rows, tokens), and `weight`,
            float32 of shape (rows,).
        """
        sides = [(row, side) for side in ("chosen", "rejected") for row in rows]
        return {
            "input_ids": _padded(
                [row["prompt_ids"] + row[f"{side}_ids"] for row, side in sides], self.pad_token_id
            ),
            "attention_mask": _padded([row["prompt_mask"] + row[f"{side}_mask"] for row, side in sides], 0),
            "completion_mask": _padded(
                [[0] * len(row["prompt_ids"]) + [1] * len(row[f"{side}_ids"]) for row, side in sides], 0
            ),
            "weight": torch.tensor([row.get("weight", 1.0) for row in rows], dtype=torch.float32),
        }


class ScheduledRows(TorchDataset[dict[str, Any]]):
    """The rows of all optimizer steps, one after the other, each with the weight of its place."""

    def __init__(self, rows: Dataset, schedule: Schedule) -> None:
        self.rows = rows
        self.places = schedule.places()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {**self.rows[self.places[place].row], "weight": self.places[place].weight}


class PreferenceTrainer(DPOTrainer):
    """DPOTrainer over rows that are token ids already, in a given order; one pass over it is the run.

    Args:
        schedule: Which rows each optimizer step sees.
        train_dataset: Rows as `PairCollator` takes them.
        kwargs: As DPOTrainer's.
    """

    def __init__(self, *, schedule: Schedule, train_dataset: Dataset, **kwargs: Any) -> None:
        self._schedule = schedule
        self._sums: dict[str, torch.Tensor] = {}  # of training, and of an evaluation in between
        self._checkpointing = kwargs["args"].gradient_checkpointing_kwargs
        super().__init__(train_dataset=train_dataset, **kwargs)
        self.train_dataset = ScheduledRows(train_dataset, schedule)

    @property
    def tuned(self) -> PeftModel:
        """The base with the adapter on it."""
        assert isinstance(self.model, PeftModel)
        return self.model

    def answer_logps(self, model: torch.nn.Module, rows: Sequence[Row]) -> torch.Tensor:
        """Return the summed log-probabilities of the answers to `rows`: float32 (2 * rows,), the chosen ones first."""
        return self._answer_logps(model, self._on_device(self.collate(rows)))

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Return rows as a micro-batch."""
        assert self.data_collator is not None
        inputs: Batch = self.data_collator(list(rows))
        return inputs

    def _answer_logps(self, model: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        return summed_logps(model, inputs)

    def _on_device(self, inputs: Batch) -> Batch:
        return {name: value.to(self.accelerator.device) for name, value in inputs.items()}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the means over all pairs since the last log, on all ranks, and with the epoch of the data.

        An evaluation's rows that even out its last batch count twice, as in its loss: the trainer's own evaluation is
        for the curve, `recipe.heldout` for the figures.
        """
        prefix = "" if self.tuned.training else "eval_"
        if prefix in self._sums:
            pairs, *sums = self.accelerator.reduce(self._sums.pop(prefix), reduction="sum").tolist()
            logs.update({prefix + name: total / pairs for name, total in zip(MEANS, sums, strict=True)})
        self.state.epoch = self._schedule.epochs_after(self.state.global_step)
        super().log(logs, start_time)

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset  # tokenized, truncated and counted by recipe.prompt

    def _get_train_sampler(self, train_dataset: object = None) -> Sampler[int]:
        assert isinstance(self.train_dataset, ScheduledRows)
        return SequentialSampler(self.train_dataset)

    def _compute_loss(
        self, model: torch.nn.Module, inputs: Batch, return_outputs: bool = False
    ) -> torch.Tensor:
        """Return the mean of the pairs' sigmoid DPO losses, each times its weight.

        TRL's own averages without weights, and does more that is not asked for here: 20 losses, entropy.
        """
        assert not return_outputs
        policy = self.beta * self._answer_logps(model, inputs)
        with (
            torch.no_grad(),
            disable_gradient_checkpointing(cast("PreTrainedModel", self.tuned), self._checkpointing),
            self.tuned.disable_adapter(),
        ):
            reference = self.beta * self._answer_logps(self.tuned, inputs)
        chosen, rejected = (policy - reference).chunk(2)
        losses = -functional.logsigmoid(chosen - rejected)
        self._count(chosen.detach(), rejected.detach(), policy.detach() / self.beta, inputs["weight"])
        return (inputs["weight"] * losses).mean()

    def _count(
        self, chosen: torch.Tensor, rejected: torch.Tensor, logps: torch.Tensor, weight: torch.Tensor
    ) -> None:
        """Add the pairs of a micro-batch to the sums that `log` makes means of."""
        seen = (weight > 0).double()
        chosen_logps, rejected_logps = logps.chunk(2)
        each = [
            torch.ones_like(seen),
            chosen,
            rejected,
            (chosen > rejected),
            chosen - rejected,
            chosen_logps,
            rejected_logps,
        ]
        sums = torch.stack([(seen * values).sum() for values in each])
        prefix = "" if self.tuned.training else "eval_"
        self._sums[prefix] = self._sums.get(prefix, 0) + sums


# Logged means over pairs, by TRL's names.
MEANS = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "logps/chosen",
    "logps/rejected",
)


def summed_logps(model: torch.nn.Module, inputs: Batch) -> torch.Tensor:
    """Return the summed log-probability of each answer of a batch, float32 of shape (2 * rows,).

    The model is one whose forward TRL has given its fused head to: log-probabilities come out, and the logits of a
    whole batch are never in memory.
    """
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    outputs = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        labels=labels,
        fused_lm_head=True,
        use_cache=False,
    )
    logps: torch.Tensor = outputs.log_probs.sum(dim=1)
    return logps


def _padded(rows: Sequence[list[int]], fill: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], True, fill)


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
