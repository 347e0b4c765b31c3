"""What a run will do and need, before it does anything: sizes, steps, files, disk, memory, hours and cost."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig

from recipe.activations import activations, base_dtype
from recipe.builtin.base import base_config
from recipe.builtin.feedback import DEFAULT_PROMPTS
from recipe.cost import Devices, Prediction, predict
from recipe.curate import count_rows
from recipe.engine import refuse_unknown_targets
from recipe.errors import UserError
from recipe.fetch import base_files, local_path, split_files, tokenizer_files
from recipe.gpus import gpu_named
from recipe.launch import devices_for, micro_batch_size
from recipe.memory import (
    BYTES,
    OPTIMIZER_STATES,
    adapter_parameters,
    choose_checkpointing,
    empty_base,
    memory_terms,
    micro_batch_tokens,
    recomputed_layers,
    size_of,
)
from recipe.schedule import Schedule, schedule_of
from recipe.schema import Execution, Recipe


@dataclass(frozen=True)
class Plan:
    """The figures of a run. Sizes in bytes; None is not known yet; `known` says what they were taken from.

    `devices` are this machine's; memory and hours are told of `target`, which is them or what the recipe assumes.
    `recompute_every`: every how many of the `layers` one is recomputed, 0 for none.
    """

    base_parameters: int
    base_bytes: int
    adapter_parameters: int
    adapter_bytes: int
    global_batch_size: int
    steps: int | None
    steps_per_epoch: int | None
    epochs: float | None
    train_rows: int | None
    heldout_rows: int | None
    devices: int
    micro_batch_size: int
    disk: dict[str, int]
    target: Devices
    micro_batch_tokens: int
    layers: int
    recompute_every: int
    memory: dict[str, int]
    prediction: Prediction
    known: tuple[str, ...]

    @property
    def memory_bytes(self) -> int:
        """What a device of `target` needs."""
        return sum(self.memory.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {
            "base_parameters": self.base_parameters,
            "base_bytes": self.base_bytes,
            "adapter_parameters": self.adapter_parameters,
            "adapter_bytes": self.adapter_bytes,
            "train_rows": self.train_rows,
            "heldout_rows": self.heldout_rows,
            "steps_per_epoch": self.steps_per_epoch,
            "steps": self.steps,
            "epochs": self.epochs,
            "global_batch_size": self.global_batch_size,
            "devices": self.devices,
            "micro_batch_size": self.micro_batch_size,
            "disk_bytes": sum(self.disk.values()),
            "disk_bytes_by_stage": self.disk,
            "memory_bytes_per_device": self.memory_bytes,
            "memory_bytes_by_use": self.memory,
            "target": asdict(self.target),
            "micro_batch_tokens": self.micro_batch_tokens,
            "recompute_every": self.recompute_every,
            "prediction": self.prediction.as_dict(),
            "known": list(self.known),
        }


def make_plan(recipe: Recipe, *, count: bool = True, folders: Sequence[Path] = (), nodes: int = 1) -> Plan:
    """Return the plan of a recipe from what is here: its own keys, and its base and data where they lie.

    A base or data set that is not here is planned for by the recipe's `assumed_...` keys.

    Args:
        recipe: The recipe.
        count: Whether to count the rows of local data, which reads them.
        folders: Run folders that may hold the speed of an earlier training.
        nodes: How many train together, each with the devices that are here.

    Raises:
        UserError: A local path that is not there, a target that the base has not, too few rows.
    """
    science, execution = recipe.science, recipe.execution
    config, known_base = _base_config(recipe)
    if science.tokenizer and science.tokenizer_source == "local":
        tokenizer_files(local_path(science.tokenizer, "tokenizer"))
    train, heldout, known_rows = _rows(recipe, count)
    schedule = None if train is None else schedule_of(science, train)
    model = empty_base(config)
    refuse_unknown_targets(model, science.lora_target_modules)
    parameters, adapter = model.num_parameters(), adapter_parameters(model, recipe)
    base_bytes = parameters * BYTES[base_dtype(config, recipe)]
    devices = devices_for(execution)
    micro = micro_batch_size(recipe, devices, nodes)
    devices *= nodes
    target = _target(execution, devices, nodes)
    size, tokens = size_of(model, adapter), micro_batch_tokens(recipe, micro, "cuda" if target.gpu else "cpu")
    every = choose_checkpointing(config, recipe, tokens, target.bytes)
    # max_steps needs no rows to be known
    steps = schedule.steps if schedule else science.max_steps if science.max_steps > 0 else None
    return Plan(
        base_parameters=parameters,
        base_bytes=base_bytes,
        adapter_parameters=adapter,
        adapter_bytes=4 * adapter,
        global_batch_size=science.global_batch_size,
        steps=steps,
        steps_per_epoch=schedule.steps_per_epoch if schedule else None,
        epochs=round(schedule.epochs_after(schedule.steps), 4) if schedule else None,
        train_rows=train,
        heldout_rows=heldout,
        devices=devices,
        micro_batch_size=micro,
        # What each stage adds to the run folder. A base of the Hub lies in the Hub's cache, a local one where it is;
        # publish reads the release back beside the run.
        disk={
            "fetch": base_bytes if science.base_source == "builtin" else 0,
            "train": 2 * 4 * adapter + _checkpoints(recipe, adapter),
            "merge": base_bytes,
            "publish": base_bytes * (1 if science.base_source == "hub" else 2) + 4 * adapter,
        },
        target=target,
        micro_batch_tokens=tokens,
        layers=size.layers,
        recompute_every=every,
        memory=memory_terms(config, recipe, tokens, every),
        prediction=predict(
            recipe,
            size,
            None if steps is None else steps * science.global_batch_size,
            target,
            recomputed=recomputed_layers(size.layers, every) / size.layers,
            folders=folders,
        ),
        known=(known_base, known_rows, *_unmeasured(config, recipe)),
    )


def planned_schedule(recipe: Recipe) -> tuple[Schedule, str]:
    """Return the schedule over the rows that the plan counts, and what it counted.

    Raises:
        UserError: It knows no number.
    """
    plan = make_plan(recipe)
    if plan.train_rows is None:
        raise UserError(f"{recipe.name}: its rows are not known before they are here; give them by --rows")
    return schedule_of(recipe.science, plan.train_rows), plan.known[1]


def _base_config(recipe: Recipe) -> tuple[PretrainedConfig, str]:
    name, source = recipe.science.model_name_or_path, recipe.science.base_source
    if source == "builtin":
        return base_config(), "base: made on the spot"
    if source == "local":
        folder = local_path(name, "model_name_or_path")
        base_files(folder)
        try:
            return AutoConfig.from_pretrained(folder), f"base: {folder.name}"
        except (OSError, ValueError) as error:
            said = str(error).splitlines()[0]
            raise UserError(f"{folder}/config.json: not a model's configuration ({said})") from None
    kind = recipe.execution.assumed_model_type
    if kind is None:
        raise UserError(
            f"{name}: not here, so its size is not known; set assumed_model_type, or name a local folder"
        )
    try:
        config = AutoConfig.for_model(kind, **recipe.execution.assumed_config)
        return (
            config,
            f"base: not here; taken as {'a' if recipe.execution.assumed_config else 'the default'} {kind}",
        )
    except ValueError:
        raise UserError(f"assumed_model_type: Transformers has no model type {kind!r}") from None


def _rows(recipe: Recipe, count: bool) -> tuple[int | None, int | None, str]:
    """Return the rows to train on and those held out, before any is left out, and what they were counted on."""
    science, assumed = recipe.science, recipe.execution.assumed_dataset_rows
    known = "data: not here; rows not counted"
    rows = heldout = None
    if science.dataset_source == "builtin":
        rows, known = DEFAULT_PROMPTS, "data: made on the spot, rows counted before any is left out"
    elif science.dataset_source == "local" and not count:
        return None, None, known
    elif science.dataset_source == "local":
        path = local_path(science.dataset, "dataset")
        files, apart = split_files(path, science)
        rows = count_rows(files)
        heldout = None if apart is None else count_rows(apart)
        known = f"data: {path.name}, rows counted before any is left out"
    elif assumed:
        rows, known = assumed, f"data: not here; taken as {assumed:,} rows"
    if rows == 0 or heldout == 0:
        raise UserError(f"dataset: {science.dataset} has a split without rows; give one that has some")
    if heldout is not None or (science.dataset_source == "hub" and len(science.dataset_splits) > 1):
        return rows, heldout, known
    if rows is not None and rows <= science.test_size:
        raise UserError(
            f"test_size: {science.test_size} of {rows} rows held out leave none to train on; change test_size"
        )
    return None if rows is None else rows - science.test_size, science.test_size, known


def _target(execution: Execution, devices: int, nodes: int) -> Devices:
    """Return what the training will run on: GPUs as this machine's, those that the recipe assumes, or CPUs as this.

    Args:
        execution: The recipe's. Its `devices` are each node's, its `assumed_gpus` those of all nodes.
        devices: Of all nodes, if they are as this one.
        nodes: How many there are.
    """
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        return Devices(devices, torch.cuda.get_device_name(0), here=True, gpu=True, bytes=memory)
    assumed = execution.assumed_gpu and gpu_named(execution.assumed_gpu)
    if assumed:
        count = (execution.assumed_gpus or 1) if execution.devices == "auto" else nodes * execution.devices
        return Devices(count, assumed.name, here=False, gpu=True, bytes=assumed.bytes)
    return Devices(devices, f"CPU, {os.cpu_count()} cores", here=True, gpu=False, bytes=None)


def _checkpoints(recipe: Recipe, adapter: int) -> int:
    """Return the bytes of the checkpoints that lie in the run folder at most: those kept, and the one being written."""
    states = 1 + OPTIMIZER_STATES[recipe.science.optim]
    return ((recipe.execution.save_total_limit or 2) + 1) * 4 * adapter * states


def _unmeasured(config: PretrainedConfig, recipe: Recipe) -> list[str]:
    if activations(config, recipe).measured:
        return []
    return [f"memory: layers of {config.model_type} can't be measured; a rough figure"]
