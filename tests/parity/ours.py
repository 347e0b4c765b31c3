"""Our side: tokens, schedules and trainings of the same cases, through the code and commands that users have."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from recipe.batches import PairCollator
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.schedule import schedule_of
from recipe.tokens import RecipeTokens
from tests.parity import cases
from tests.parity.cases import ScheduleCase, TrainingCase
from tests.parity.judge import Training
from tests.support import ROOT


def tokens(file: Path, tokenizer: Path) -> list[dict[str, Any]]:
    """Return a file's rows as tokens, masks and labels, by the full-size recipe."""
    overrides = [f"dataset={file}", f"tokenizer={tokenizer}"]
    rows = RecipeTokens(load_recipe("zephyr-7b-beta-lora", overrides), Reporter(quiet=True))
    return [row.as_dict() | _labels(row.as_dict()) for row in rows]


def schedule(case: ScheduleCase) -> list[list[int]]:
    """Return the rows of each optimizer step."""
    keys = {
        "per_device_train_batch_size": case.batch_size,
        "gradient_accumulation_steps": case.accumulation,
        "num_processes": case.processes,
        "num_train_epochs": case.epochs,
        "seed": case.seed,
    }
    recipe = load_recipe("zephyr-7b-beta-lora", [f"{key}={value}" for key, value in keys.items()])
    return schedule_of(recipe.science, case.rows).step_rows()


def notus(*arguments: object) -> None:
    """Run notus in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "notus", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        message = f"notus {' '.join(map(str, arguments))} ended with {ended.returncode}:\n{ended.stderr}"
        raise RuntimeError(message)


def training(case: TrainingCase, model: Path, rows: Path, folder: Path, **changed: object) -> Training:
    """Train on `rows` by `notus train`, with some keys of the recipe changed; read what it logged and saved.

    Only with none changed is the adapter that it begins with looked at: that of one step, whose learning rate is 0.
    """
    recipe = cases.write_recipe(folder / f"{case.name}.yaml", case, model, rows, **changed)
    first, whole = folder / f"{case.name}-first", folder / case.name
    if not changed:
        notus("train", recipe, "--run", first, "--set", "max_steps=1", "--quiet")
    notus("train", recipe, "--run", whole, "--quiet")
    initial = None if changed else _adapter(first)
    return Training(steps=logged_steps(whole), initial=initial, final=_adapter(whole))


def logged_steps(run: Path) -> list[dict[str, Any]]:
    """Return what a run logged at each optimizer step."""
    return [entry for entry in cases.read_lines(run / "training" / "log.jsonl") if "loss" in entry]


def _labels(row: dict[str, Any]) -> dict[str, list[int]]:
    """Return the labels of both sides as the trainer's own batch has them: -100 where nothing is learnt."""
    batch = PairCollator(pad_token_id=0)([row])
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100).tolist()
    start = len(row["prompt_ids"])
    return {
        f"{side}_labels": found[: start + len(row[f"{side}_ids"])]
        for side, found in zip(("chosen", "rejected"), labels, strict=True)
    }


def _adapter(run: Path) -> dict[str, Any]:
    return load_file(run / "adapter" / "adapter_model.safetensors")
