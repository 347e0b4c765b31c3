"""The trainer that a recipe asks for: the base, the adapter, what TRL is told, and the engine."""

import importlib.util
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainingArguments,
)
from trl.trainer.dpo_config import DPOConfig

from recipe.attention import NAME as PAIRS_ATTENTION
from recipe.batches import PairCollator
from recipe.errors import UserError
from recipe.kernels import can_fuse, fuse_kernels
from recipe.launch import micro_batch_size
from recipe.memory import choose_checkpointing, micro_batch_tokens
from recipe.pack import accept_packs
from recipe.packed import PackedTrainer
from recipe.schedule import Schedule
from recipe.schema import Execution, Recipe
from recipe.sharing import exchange_timeout
from recipe.trainer import PreferenceTrainer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "auto": "auto"}


def build_trainer(
    recipe: Recipe,
    inputs: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    schedule: Schedule,
    train: Dataset,
    heldout: Dataset,
    checkpoints: Path,
) -> PreferenceTrainer:
    """Return the trainer of a run, on this process.

    Args:
        recipe: The recipe.
        inputs: As `recipe.fetch.load_inputs` has them.
        tokenizer: The run's.
        schedule: Which rows each optimizer step sees.
        train: The training rows, as `recipe.tokenized.tokenize` has them.
        heldout: The held-out rows, likewise.
        checkpoints: Where the trainer may write.

    Raises:
        UserError: The base does not have what the recipe adapts, or what the engine needs.
    """
    science, execution = recipe.science, recipe.execution
    packed = execution.engine == "packed"
    model = AutoModelForCausalLM.from_pretrained(
        inputs["base"]["path"],
        dtype=DTYPES[science.torch_dtype],
        attn_implementation=PAIRS_ATTENTION if packed else execution.attn_implementation,
    )
    refuse_unknown_targets(model, science.lora_target_modules)
    common: dict[str, Any] = {
        "schedule": schedule,
        "model": model,
        "args": training_arguments(recipe, schedule, checkpoints, recomputed_every(recipe, model.config)),
        "train_dataset": train,
        "eval_dataset": heldout,
        "processing_class": tokenizer,
        "peft_config": lora_config(recipe, inputs["base"]["revision"]),
    }
    trainer: PreferenceTrainer
    if packed:
        accept_packs(model)
        if fuses(execution):
            fuse_kernels(model)
        trainer = PackedTrainer(tokens=execution.pack_tokens, **common)
    else:
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        trainer = PreferenceTrainer(data_collator=PairCollator(pad), **common)
    trainer.remove_callback(PrinterCallback)
    return trainer


def fuses(execution: Execution) -> bool:
    """Say whether the base's layers get fused kernels here."""
    packed = execution.engine == "packed"
    return packed and execution.fused_kernels and can_fuse("cuda" if torch.cuda.is_available() else "cpu")


def on_one_device(args: TrainingArguments) -> None:
    """Keep a process to one GPU, whatever the machine has.

    Transformers would spread a single process over all that it sees by `torch.nn.DataParallel`: micro-batches as many
    times as large, no autocast, and packs on the wrong device.
    """
    args._n_gpu = min(1, args.n_gpu)


def recomputed_every(recipe: Recipe, config: PretrainedConfig) -> int:
    """Return every how many layers one is recomputed on this device, so that a micro-batch fits; 0: none is."""
    device, memory = "cpu", None
    if torch.cuda.is_available():
        device, memory = "cuda", torch.cuda.get_device_properties(0).total_memory
    pairs = micro_batch_size(recipe, int(os.environ.get("WORLD_SIZE", "1")))
    return choose_checkpointing(config, recipe, micro_batch_tokens(recipe, pairs, device), memory)


def training_arguments(recipe: Recipe, schedule: Schedule, checkpoints: Path, every: int) -> DPOConfig:
    """Return what TRL's trainer is told; the global batch is the recipe's on any number of devices.

    Args:
        recipe: The recipe.
        schedule: Gives the steps.
        checkpoints: Where the trainer may write.
        every: Every how many layers one is recomputed; 0: none is.
    """
    science, execution = recipe.science, recipe.execution
    world = int(os.environ.get("WORLD_SIZE", "1"))
    micro = micro_batch_size(recipe, world)
    args = DPOConfig(
        output_dir=str(checkpoints),
        seed=science.seed,
        beta=science.beta,
        loss_type=[science.loss_type],
        max_length=None,  # recipe.prompt has truncated
        remove_unused_columns=False,  # the masks are not the stock collator's
        # trl 0.7.4 switched every dropout off, LoRA's too, and so the recipe's lora_dropout 0.1 never had an effect.
        disable_dropout=True,
        learning_rate=science.learning_rate,
        lr_scheduler_type=science.lr_scheduler_type,
        warmup_steps=math.ceil(science.warmup_ratio * schedule.steps),
        optim=science.optim,
        weight_decay=science.weight_decay,
        max_grad_norm=science.max_grad_norm,
        bf16=science.bf16,
        use_cpu=not torch.cuda.is_available(),
        max_steps=schedule.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=1
        if execution.engine == "packed"
        else schedule.global_batch_size // (micro * world),
        per_device_eval_batch_size=execution.per_device_eval_batch_size,
        activation_checkpointing=every > 0,
        activation_checkpointing_kwargs={
            **execution.gradient_checkpointing_kwargs,
            "every_n_layers": max(1, every),
        },
        logging_steps=execution.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="no" if execution.evaluation_strategy == "no" else "steps",
        eval_steps=schedule.steps_per_epoch,
        save_strategy="no",  # by recipe.resume: without pickles, and known again by their bytes
        ddp_timeout=math.ceil(exchange_timeout(execution).total_seconds()),
        report_to=list(execution.report_to),
        run_name=recipe.name,
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,  # every parameter of the adapter is used; a search breaks recomputation
    )
    on_one_device(args)
    return args


def lora_config(recipe: Recipe, base_revision: str) -> LoraConfig:
    """Return the adapter's configuration, its base pinned: PEFT would leave the revision null."""
    science = recipe.science
    return LoraConfig(
        r=science.lora_r,
        lora_alpha=science.lora_alpha,
        lora_dropout=science.lora_dropout,
        target_modules=list(science.lora_target_modules),
        bias="none",
        task_type="CAUSAL_LM",
        revision=base_revision,
    )


def refuse_unknown_targets(model: PreTrainedModel, targets: list[str]) -> None:
    """Refuse LoRA targets that are not linear modules of the base.

    Raises:
        UserError: Names the first such target and what the base has.
    """
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    for target in targets:
        if target not in linear or target == "lm_head":
            known = ", ".join(sorted(linear - {"lm_head"}))
            raise UserError(
                f"lora_target_modules: the base has no module {target!r} to adapt; it has {known}"
            )


def refuse_missing_packages(execution: Execution) -> None:
    """Refuse a tracker or an attention whose package is not installed.

    Raises:
        UserError: Names it.
    """
    for tracker in execution.report_to:
        if importlib.util.find_spec(tracker) is None:
            raise UserError(
                f"report_to: {tracker} is not installed; run pip install '.[trackers]' in the clone, or leave it out"
            )
    flash = execution.engine == "trl" and execution.attn_implementation == "flash_attention_2"
    if flash and importlib.util.find_spec("flash_attn") is None:
        raise UserError("attn_implementation: flash_attn is not installed; install it, or use sdpa")
