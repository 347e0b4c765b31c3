"""TRL's DPOTrainer, driven by our tokenization and our schedule, under our progress bar."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from peft import PeftModel
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Sampler, SequentialSampler
from trl.trainer.dpo_trainer import DPOTrainer

from recipe.batches import Batch, Row, ScheduledRows
from recipe.errors import UserError
from recipe.flops import share_of_peak
from recipe.gpus import peak_flops
from recipe.resume.notice import EndedError
from recipe.schedule import Schedule
from recipe.sharing import add_up, average_gradients
from recipe.watch import Clock


class PreferenceTrainer(DPOTrainer):
    """DPOTrainer over rows that are token ids already, in a given order; one pass over it is the run.

    Args:
        schedule: Which rows each optimizer step sees.
        train_dataset: Rows as `PairCollator` takes them.
        kwargs: As DPOTrainer's.
    """

    def __init__(self, *, schedule: Schedule, train_dataset: Dataset, **kwargs: Any) -> None:
        self._schedule = schedule
        self._done = 0  # optimizer steps, when training began
        self._step_loss: torch.Tensor | float = 0.0  # of this rank, so far
        self._step_pairs: list[tuple[torch.Tensor, torch.Tensor]] = []  # rows and losses of this rank, so far
        self._step_sums: torch.Tensor | None = None  # likewise
        self._evaluated: torch.Tensor | None = None  # of this rank
        self.sums: list[float] | None = None  # of all ranks, since the last log
        self.clock = Clock()
        self.trained_pairs = self.trained_tokens = 0.0  # on all ranks, what came after the last log included
        self.first: tuple[float, float] | None = None  # pairs and seconds up to the first log
        self.flops_a_pair: float | None = None  # for the share of a known GPU's peak
        self.pulse: Callable[[], None] = lambda: None  # called at every micro-batch
        self.noticed: Callable[[], bool] = lambda: False  # whether this rank will be ended from outside
        # Whether it has to end with this step, for that or else.
        self.ending: Callable[[], bool] = lambda: False
        self.row_names: Callable[[Sequence[int]], list[str]] = lambda rows: [str(row) for row in rows]
        super().__init__(train_dataset=train_dataset, **kwargs)
        self._rows = train_dataset
        self.train_dataset = ScheduledRows(train_dataset, schedule)

    def start_after(self, step: int) -> None:
        """Have `train` begin with the rows of the step after `step`."""
        self._done = step
        self.train_dataset = ScheduledRows(self._rows, self._schedule, step)

    @property
    def tuned(self) -> PeftModel:
        """The base with the adapter on it."""
        assert isinstance(self.model, PeftModel)
        return self.model

    @property
    def micro_batch(self) -> str:
        """How large a micro-batch of this process is."""
        return f"{self.args.per_device_train_batch_size} pairs"

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
        if self.tuned.training and self.sums:
            pairs, tokens, *sums = self._counted()
            logs.update({name: value / pairs for name, value in zip(MEANS, sums, strict=True)})
            seconds = max(self.clock.lap(), 1e-9)
            self.first = self.first or (pairs, seconds)
            logs.update({"pairs_per_second": pairs / seconds, "tokens_per_second": tokens / seconds})
            if share := self._share_of_peak(pairs / seconds):
                logs["share_of_peak"] = share
        elif not self.tuned.training and self._evaluated is not None:
            pairs, _, *sums = add_up(self._evaluated.tolist(), self.accelerator.device)
            self._evaluated = None
            logs.update({f"eval_{name}": value / pairs for name, value in zip(MEANS, sums, strict=True)})
        # Transformers knows of this process only, and not of one that it goes on for.
        if "train_runtime" in logs:
            seconds = max(self.clock.seconds, 1e-9)
            steps = self._schedule.steps
            logs["train_runtime"] = round(seconds, 4)
            logs["train_samples_per_second"] = round(steps * self._schedule.global_batch_size / seconds, 3)
            logs["train_steps_per_second"] = round(steps / seconds, 3)
        self.state.epoch = self._schedule.epochs_after(self.state.global_step)
        super().log(logs, start_time)

    def _counted(self) -> list[float]:
        """Return the sums since the last log, of all ranks, and forget them: pairs, tokens, what `MEANS` are of."""
        assert self.sums is not None
        total, self.sums = self.sums, None
        self.trained_pairs += total[0]
        self.trained_tokens += total[1]
        return total

    @property
    def pairs_per_second(self) -> float:
        """The speed on all ranks, without what came before the first log: there kernels are compiled."""
        pairs, seconds = self.first or (0.0, 0.0)
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
        if self.sums:  # the last log was an evaluation's
            self._counted()
        return found

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Add the gradient of a batch; with a step's last one, share what was found with the other ranks.

        Returns:
            The step's loss, the mean over all ranks, with its last batch; 0 before.

        Raises:
            EndedError: This rank, or another one, has to end; the step is given up.
            OthersLostError: Another rank is gone; likewise.
            UserError: The step's loss is no finite number.
        """
        if not self.ending():  # else there is nothing to be computed any more
            # Buffers are alike anyway, and a rank that has had a notice would not be there for the exchange.
            if isinstance(model, DistributedDataParallel):
                model.require_forward_param_sync = False
            with self.accelerator.no_sync(model):  # the gradients are shared below
                self._step_loss += self._add_gradients(model, inputs, num_items_in_batch)
        loss = self._end_step() if self.accelerator.sync_gradients else 0.0
        return torch.tensor(loss, device=self.args.device)

    def _add_gradients(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Add the gradient of a batch; return its part of the step's loss."""
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        return loss

    def _end_step(self) -> float:
        """Share what this rank has found in a step; return the step's loss."""
        counted = [0.0] * (2 + len(MEANS)) if self._step_sums is None else self._step_sums.tolist()
        told = [float(self.ending()), float(self._step_loss), *counted]
        pairs_of = self._step_pairs
        self._step_loss, self._step_sums, self._step_pairs = 0.0, None, []
        ending, loss, *sums = add_up(told, self.accelerator.device)
        self.pulse()
        if ending:
            raise EndedError
        if not math.isfinite(loss):
            bad = [rows[~losses.isfinite()].tolist() for rows, losses in pairs_of]
            self._refuse_step("loss", loss, self._everywhere([row for rows in bad for row in rows]))
        average_gradients(self.tuned.parameters())
        self.pulse()
        self.sums = [one + two for one, two in zip(self.sums or [0.0] * len(sums), sums, strict=True)]
        return loss / int(self.accelerator.num_processes)

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        norm: torch.Tensor = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        if not norm.isfinite():
            step, size = self.state.global_step, self._schedule.global_batch_size
            places = self._schedule.places()[step * size : (step + 1) * size]
            self._refuse_step("grad_norm", norm.item(), [place.row for place in places if place.weight])
        return norm

    def _refuse_step(self, name: str, value: float, rows: Sequence[int]) -> None:
        """Refuse a step before its optimizer's: the adapter is still that of the last good one.

        Raises:
            UserError: Always.
        """
        names = self.row_names(sorted(set(rows))[:NAMED])
        more = f" and {len(set(rows)) - NAMED} more" if len(set(rows)) > NAMED else ""
        raise UserError(
            f"training: {name} is {value} at step {self.state.global_step + 1}, of rows {', '.join(names)}{more}; "
            "lower learning_rate, with another --run, or look at the rows"
        )

    def _everywhere(self, rows: list[int]) -> list[int]:
        found: list[int] = gather_object(rows) if self.accelerator.num_processes > 1 else rows
        return found

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Evaluate, off the clock."""
        with self.clock.paused():
            found: dict[str, float] = super().evaluate(*arguments, **options)
        return found

    def floating_point_ops(self, inputs: object) -> int:
        """Return 0: the count of Transformers is for padded batches, and of this process only."""
        return 0

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
        self.pulse()
        training = self.tuned.training
        if not training and self.accelerator.is_main_process and self.noticed():
            raise EndedError  # others wait for this rank, which has the state
        policy = self.beta * self._answer_logps(model, inputs)
        reference = self.beta * self._reference(inputs)
        chosen, rejected = (policy - reference).chunk(2)
        losses = -functional.logsigmoid(chosen - rejected)
        self._count(chosen.detach(), rejected.detach(), policy.detach() / self.beta, inputs)
        if training:
            self._step_pairs.append((inputs["row"].detach(), losses.detach()))
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
        if self.tuned.training:
            self._step_sums = sums if self._step_sums is None else self._step_sums + sums
        else:
            self._evaluated = sums if self._evaluated is None else self._evaluated + sums


NAMED = 5  # rows of a step that could not be learned from

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
