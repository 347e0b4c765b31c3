"""Which rows each optimizer step consumes: transformers 4.35's Trainer over row numbers, on real processes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments

from .processes import gathered, in_processes

Step = list[list[int]]  # rows of a process in one optimizer step, by micro-batch


@dataclass(frozen=True)
class Plan:
    """What decides the order; the names are the command's."""

    rows: int
    batch_size: int
    accumulation: int
    epochs: int
    seed: int


def dump_schedule(plan: Plan, processes: int, out: Path) -> str:
    """Write the optimizer steps, each the list of its rows by micro-batch, then rank, then place in the batch."""
    in_processes(processes, _train, plan, out)
    steps = json.loads(out.read_text(encoding="utf-8"))
    return f"schedule: {len(steps)} steps of {sorted({len(step) for step in steps})} rows in {out}"


def _train(plan: Plan, out: Path) -> None:
    with TemporaryDirectory() as scratch:
        options: dict[str, Any] = {
            "output_dir": scratch,
            "per_device_train_batch_size": plan.batch_size,
            "gradient_accumulation_steps": plan.accumulation,
            "num_train_epochs": plan.epochs,
            "seed": plan.seed,
            "use_cpu": True,
            "ddp_backend": "gloo",
            "remove_unused_columns": False,
            "logging_strategy": "no",
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "log_level": "error",
            "log_level_replica": "error",
        }
        trainer = _Recorder(_OneWeight(), TrainingArguments(**options), train_dataset=_RowNumbers(plan.rows))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    ranks: list[list[Step]] = gathered(trainer.steps)
    if trainer.is_world_process_zero():
        steps = [_interleaved(step) for step in zip(*ranks, strict=True)]
        out.write_text(json.dumps(steps), encoding="utf-8")


def _interleaved(ranks: tuple[Step, ...]) -> list[int]:
    return [row for micro_batch in zip(*ranks, strict=True) for rows in micro_batch for row in rows]


class _RowNumbers(Dataset[dict[str, int]]):
    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> dict[str, int]:
        if not 0 <= row < self.rows:
            raise IndexError(row)
        return {"row": row}


class _OneWeight(torch.nn.Module):
    """The cheapest model that the Trainer and DDP take: its loss does not look at the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, row: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.weight.sum()}


class _Recorder(Trainer):
    """Notes the rows of each micro-batch, and that the optimizer's step took all since the step before."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.steps: list[Step] = []
        self.pending: Step = []

    def compute_loss(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], *_: Any
    ) -> torch.Tensor:
        self.pending.append(inputs["row"].tolist())
        loss: torch.Tensor = model(**inputs)["loss"]
        return loss

    def create_optimizer(self, *arguments: Any) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = super().create_optimizer(*arguments)
        optimizer.register_step_pre_hook(self._step)
        return optimizer

    def _step(self, *_: Any) -> None:
        self.steps.append(self.pending)
        self.pending = []
