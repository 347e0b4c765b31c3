"""Ours: the packed engine as the train stage has it, its reference computed once."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback

from benchmarks.base import Watch, adapter, base, now, quiet, seed_adapter, tokenizer
from benchmarks.work import Mode, Result, Row, Work
from recipe.attention import NAME
from recipe.engine import training_arguments
from recipe.kernels import can_fuse, fuse_kernels
from recipe.load import load_recipe
from recipe.memory import choose_checkpointing, micro_batch_tokens, recomputed_layers
from recipe.pack import accept_packs
from recipe.packed import MicroBatch, PackedTrainer
from recipe.progress import Reporter
from recipe.reference import Shards, reference_logps
from recipe.schedule import Schedule, schedule_of
from recipe.schema import Recipe
from recipe.tokenized import TOKENIZED

RECIPE = "notus-7b-v1-lora"


def ours(mode: Mode, work: Work) -> Result:
    """Train on packs."""
    quiet()
    recipe = _recipe(mode, work)
    schedule = schedule_of(recipe.science, len(work.rows))
    rows = in_order(work.rows, schedule)
    model = base(work, NAME)
    accept_packs(model)
    if can_fuse(work.device):
        fuse_kernels(model)
    memory = mode.memory or (
        torch.cuda.get_device_properties(0).total_memory if work.device == "cuda" else None
    )
    every = choose_checkpointing(model.config, recipe, micro_batch_tokens(recipe, 0, work.device), memory)
    layers = work.shape.num_hidden_layers
    watch = Watch(work)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _Watched(
            watch=watch,
            tokens=recipe.execution.pack_tokens,
            schedule=schedule,
            model=model,
            args=training_arguments(recipe, schedule, Path(folder, "checkpoints"), every),
            train_dataset=rows,
            eval_dataset=rows.select([0]),  # never evaluated, but the trainer is one that could
            processing_class=tokenizer(),
            peft_config=adapter(work),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(watch)
        seed_adapter(trainer.tuned, work)
        for turn in ("warm-up", "measured") if work.warmup else ("measured",):
            started = now()
            kept = Shards(Path(folder, turn), {"rows": len(rows)})
            reference = reference_logps(trainer, {"rows": rows}, kept, Reporter(quiet=True)).logps["rows"]
            watch.reference = now() - started
        trainer.know_reference(reference, reference[:1])
        trainer.train()
    return watch.result(trainer.tuned, recomputed_layers(layers, every) / layers)


def in_order(rows: Sequence[Row], schedule: Schedule) -> Dataset:
    """Return the rows such that the schedule's steps, whatever their order, see them one after the other."""
    places = [row for step in schedule.step_rows() for row in step]
    placed = dict(zip(places, rows, strict=True))
    return Dataset.from_list([placed[place] for place in range(len(rows))], features=TOKENIZED)


def _recipe(mode: Mode, work: Work) -> Recipe:
    values: dict[str, object] = {
        "torch_dtype": work.dtype,
        "bf16": work.dtype == "bfloat16",
        "beta": work.beta,
        "learning_rate": work.learning_rate,
        "lr_scheduler_type": "constant",
        "warmup_ratio": 0,
        "max_grad_norm": work.max_grad_norm,
        "max_steps": len(work.steps),
        "per_device_train_batch_size": work.pairs_per_step,
        "gradient_accumulation_steps": 1,
        "num_processes": 1,
        "seed": work.seed,
        "engine": "packed",
        "gradient_checkpointing": mode.checkpointing,
        "evaluation_strategy": "no",
        "save_strategy": "no",
        "report_to": [],
    }
    if mode.budget:
        values["pack_tokens"] = mode.budget
    return load_recipe(RECIPE, [f"{key}={str(value).lower()}" for key, value in values.items()])


class _Watched(PackedTrainer):
    """PackedTrainer as it is; it is watched."""

    def __init__(self, *, watch: Watch, **kwargs: Any) -> None:
        self.watch = watch
        super().__init__(**kwargs)

    def training_step(  # type: ignore[override]  # as PackedTrainer's
        self, model: torch.nn.Module, inputs: list[MicroBatch], num_items_in_batch: object = None
    ) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.watch.count(loss, sum(len(one["pack"].input_ids) for one in inputs))
        return loss
