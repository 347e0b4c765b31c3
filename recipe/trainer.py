"""TRL's DPOTrainer, driven by our tokenization and our schedule, under our progress bar."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler, SequentialSampler
from trl.trainer.dpo_trainer import DPOTrainer

from recipe.flops import share_of_peak
from recipe.gpus import peak_flops
from recipe.schedule import Schedule
from recipe.watch import Clock

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
            rows: Each with `prompt_ids`, `chosen_ids`, `rejected_ids`, their `..._mask`, and perhaps a `weight` and
                a `reference`.

        Returns:
            `input_ids`, `attention_mask` and `completion_mask`, int64 of shape (2 * rows, tokens), `weight`, float32
            of shape (rows,), and perhaps `reference`, as `references` has it.
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
            **references(rows),
        }


def references(rows: Sequence[Row]) -> Batch:
    """Return `reference`, the answers' summed log-probabilities under the base, where rows know them.

    Returns:
        float64 of shape (2 * rows,), the chosen ones first; nothing where rows don't know them.
    """
    known = [row["reference"] for row in rows if "reference" in row]
    return {"reference": torch.tensor(np.array(known), dtype=torch.float64).T.flatten()} if known else {}


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
        self.clock = Clock()
        self.trained_pairs = self.trained_tokens = 0.0  # on all ranks, what came after the last log included
        self._first: tuple[float, float] | None = None  # pairs and seconds up to the first log
        self.flops_a_pair: float | None = None  # for the share of a known GPU's peak
        super().__init__(train_dataset=train_dataset, **kwargs)
        self.train_dataset = ScheduledRows(train_dataset, schedule)

    @property
    def tuned(self) -> PeftModel:
        """The base with the adapter on it."""
        assert isinstance(self.model, PeftModel)
        return self.model

    def micro_batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """Return rows that are only scored as micro-batches, by their places."""
        size = self.args.per_device_eval_batch_size
        return [list(range(start, min(start + size, len(rows)))) for start in range(0, len(rows), size)]

    def answer_logps(self, model: torch.nn.Module, rows: Sequence[Row]) -> torch.Tensor:
        """Return the summed log-probabilities of the answers to `rows`: float64 (2 * rows,), the chosen ones first."""
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
        """Log with the means over all pairs since the last log, on all ranks, the speed, and the epoch of the data.

        An evaluation's rows that even out its last batch count twice, as in its loss: the trainer's own evaluation is
        for the curve, `recipe.heldout` for the figures.
        """
        prefix = "" if self.tuned.training else "eval_"
        if prefix in self._sums:
            pairs, tokens, *sums = self._summed(prefix)
            logs.update({prefix + name: value / pairs for name, value in zip(MEANS, sums, strict=True)})
            if not prefix:
                seconds = max(self.clock.lap(), 1e-9)
                self._first = self._first or (pairs, seconds)
                logs.update({"pairs_per_second": pairs / seconds, "tokens_per_second": tokens / seconds})
                if share := self._share_of_peak(pairs / seconds):
                    logs["share_of_peak"] = share
        self.state.epoch = self._schedule.epochs_after(self.state.global_step)
        super().log(logs, start_time)

    def _summed(self, prefix: str) -> list[float]:
        """Return the sums since the last log, of all ranks: pairs, tokens, and what `MEANS` are of."""
        total: list[float] = self.accelerator.reduce(self._sums.pop(prefix), reduction="sum").tolist()
        if not prefix:
            self.trained_pairs += total[0]
            self.trained_tokens += total[1]
        return total

    @property
    def pairs_per_second(self) -> float:
        """The speed on all ranks, without what came before the first log: there kernels are compiled."""
        pairs, seconds = self._first or (0.0, 0.0)
        if pairs == self.trained_pairs:  # nothing came after it
            pairs, seconds = 0.0, 0.0
        return (self.trained_pairs - pairs) / max(self.clock.seconds - seconds, 1e-9)

    def _share_of_peak(self, pairs_per_second: float) -> float | None:
        device = self.accelerator.device
        peak = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        if peak is None or self.flops_a_pair is None:
            return None
        return share_of_peak(self.flops_a_pair, pairs_per_second / self.accelerator.num_processes, peak)

    def train(self, *arguments: Any, **options: Any) -> Any:
        """Train, on the clock."""
        with self.clock.running():
            found = super().train(*arguments, **options)
        if "" in self._sums:  # the last log was an evaluation's
            self._summed("")
        return found

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Evaluate, off the clock."""
        with self.clock.paused():
            found: dict[str, float] = super().evaluate(*arguments, **options)
        return found

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
        reference = self.beta * self._reference(inputs)
        chosen, rejected = (policy - reference).chunk(2)
        losses = -functional.logsigmoid(chosen - rejected)
        self._count(chosen.detach(), rejected.detach(), policy.detach() / self.beta, inputs)
        return (inputs["weight"] * losses).mean()

    def _reference(self, inputs: Batch) -> torch.Tensor:
        """Return the summed log-probabilities of the answers under the base: the known ones, or computed now."""
        if "reference" in inputs:
            return inputs["reference"]
        with torch.no_grad(), self.tuned.disable_adapter():
            return self._answer_logps(self.tuned, inputs)

    def _tokens(self, inputs: Batch) -> int:
        """Return how many tokens of a micro-batch are computed, what fills it up included."""
        return inputs["input_ids"].numel()

    def _count(
        self, chosen: torch.Tensor, rejected: torch.Tensor, logps: torch.Tensor, inputs: Batch
    ) -> None:
        """Add the pairs of a micro-batch to the sums that `log` makes means of."""
        seen = (inputs["weight"] > 0).double()
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
        pairs, *sums_of = [(seen * values).sum() for values in each]
        sums = torch.stack([pairs, torch.full_like(pairs, self._tokens(inputs)), *sums_of])
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
    """Return the summed log-probability of each answer of a batch, float64 of shape (2 * rows,).

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
    logps: torch.Tensor = outputs.log_probs.sum(dim=1, dtype=torch.float64)
    return logps


def _padded(rows: Sequence[list[int]], fill: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], True, fill)
