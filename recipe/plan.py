"""What a run will do and need, before it does anything: stages, sizes, steps, files, disk and memory."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from recipe.builtin.base import base_config
from recipe.builtin.feedback import DEFAULT_PROMPTS
from recipe.curate import count_rows
from recipe.engine import refuse_unknown_targets
from recipe.errors import UserError
from recipe.fetch import base_files, local_path, split_files, tokenizer_files
from recipe.launch import devices_for, micro_batch_size
from recipe.schedule import Schedule, schedule_of
from recipe.schema import Recipe

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
OPTIMIZER_STATES = {"rmsprop": 1, "adamw_torch": 2, "sgd": 0}


@dataclass(frozen=True)
class Plan:
    """The figures of a run. Sizes in bytes; None is not known yet; `known` says what they were taken from."""

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
    memory_bytes: int
    known: tuple[str, ...]

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
            "known": list(self.known),
        }


def make_plan(recipe: Recipe, *, count: bool = True) -> Plan:
    """Return the plan of a recipe from what is here: its own keys, and its base and data where they lie.

    A base or data set that is not here is planned for by the recipe's `assumed_...` keys.

    Args:
        recipe: The recipe.
        count: Whether to count the rows of local data, which reads them.

    Raises:
        UserError: A local path that is not there, a target that the base has not, too few rows.
    """
    science, execution = recipe.science, recipe.execution
    config, known_base = _base_config(recipe)
    if science.tokenizer and science.tokenizer_source == "local":
        tokenizer_files(local_path(science.tokenizer, "tokenizer"))
    train, heldout, known_rows = _rows(recipe, count)
    schedule = None if train is None else schedule_of(science, train)
    with torch.device("meta"):  # shapes only: a 7B model in a second
        try:
            model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        except ValueError:
            raise UserError(
                f"model_name_or_path: {config.model_type} is no causal language model; name one that is"
            ) from None
    parameters, adapter = model.num_parameters(), _adapter_parameters(model, recipe)
    dtype = (
        science.torch_dtype
        if science.torch_dtype != "auto"
        else str(config.dtype or "bfloat16").removeprefix("torch.")
    )
    base_bytes = parameters * BYTES.get(dtype, 4)
    devices = devices_for(execution)
    micro = micro_batch_size(recipe, devices)
    return Plan(
        base_parameters=parameters,
        base_bytes=base_bytes,
        adapter_parameters=adapter,
        adapter_bytes=4 * adapter,
        global_batch_size=science.global_batch_size,
        # max_steps needs no rows to be known
        steps=schedule.steps if schedule else science.max_steps if science.max_steps > 0 else None,
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
            "train": 2 * 4 * adapter,
            "merge": base_bytes,
            "publish": base_bytes * (1 if science.base_source == "hub" else 2) + 4 * adapter,
        },
        memory_bytes=base_bytes
        + 4 * adapter * (2 + OPTIMIZER_STATES[science.optim])
        + _activations(config, recipe, micro),
        known=(known_base, known_rows),
    )


def planned_schedule(recipe: Recipe) -> tuple[Schedule, str]:
    """Return the schedule over the rows that the plan counts, and what it counted.

    Raises:
        UserError: It knows no number.
    """
    plan = make_plan(recipe)
    if plan.train_rows is None:
        raise UserError(f"{recipe.name}: its rows are not known before they are here; give them by --rows")
    return schedule_of(recipe.science, plan.train_rows), plan.known[-1]


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


def _adapter_parameters(model: PreTrainedModel, recipe: Recipe) -> int:
    science = recipe.science
    refuse_unknown_targets(model, science.lora_target_modules)
    return sum(
        science.lora_r * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.rpartition(".")[2] in science.lora_target_modules
    )


def _activations(config: PretrainedConfig, recipe: Recipe, micro: int) -> int:
    """Bytes that one micro-batch of full-length pairs keeps for the backward pass: a rough upper figure.

    Per token and layer about 10 widths and 4 MLP widths in the compute dtype; or, where they are
    recomputed, one width, and one layer's worth alive at a time.
    """
    width, mlp, layers = int(config.hidden_size), int(config.intermediate_size), int(config.num_hidden_layers)
    each = 2 if recipe.science.bf16 else 4
    tokens = 2 * micro * recipe.science.max_length
    layer = tokens * (10 * width + 4 * mlp) * each
    if recipe.execution.gradient_checkpointing:
        return layer + layers * tokens * width * each
    return layers * layer
