"""Stage: the adapter. TRL's trainer and PEFT's LoRA, held-out figures before and after."""

import importlib.util
import json
import math
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Features, Sequence, Value
from peft import LoraConfig, PeftModel
from pyarrow import parquet
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
)
from trl.trainer.dpo_config import DPOConfig

from recipe.attention import NAME as PAIRS_ATTENTION
from recipe.errors import UserError
from recipe.fetch import load_inputs
from recipe.heldout import compare, heldout_logps
from recipe.launch import devices_for, launch, micro_batch_size
from recipe.memory import asked_checkpointing
from recipe.pack import accept_packs
from recipe.packed import PackedTrainer
from recipe.progress import Reporter
from recipe.prompt import PairTokenizer, pair_tokenizer
from recipe.run import Run, Stage, write_json
from recipe.schedule import Schedule, schedule_of
from recipe.schema import Execution, Recipe
from recipe.tokenizer import load_tokenizer, save_tokenizer
from recipe.trainer import PairCollator, PreferenceTrainer, ProgressCallback

# Small numbers: there are 180 million tokens and masks at full size, on every rank.
TOKENIZED = Features(
    {
        f"{side}_{what}": Sequence(Value(dtype))
        for side in ("prompt", "chosen", "rejected")
        for what, dtype in (("ids", "int32"), ("mask", "int8"))
    }
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "auto": "auto"}


def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
    """Write `adapter/` and `training/`, on as many processes as the execution asks for."""
    refuse_missing_packages(run.recipe.execution)
    devices = devices_for(run.recipe.execution)
    if devices > 1:
        launch(run.folder, out, devices, quiet=reporter.quiet)
    else:
        fit(run, out, reporter)
    metrics = json.loads((out / "training" / "metrics.json").read_text(encoding="utf-8"))
    before, after = metrics["before"], metrics["after"]
    reporter.table(
        ("held out", "before", "after"),
        [
            ("loss", f"{before['loss']:.4f}", f"{after['loss']:.4f}"),
            ("reward accuracy", f"{before['accuracy']:.3f}", f"{after['accuracy']:.3f}"),
            ("reward margin", f"{before['margin']:+.4f}", f"{after['margin']:+.4f}"),
            ("chosen likelier", f"{before['likelier']:.3f}", f"{after['likelier']:.3f}"),
        ],
    )
    return {
        "steps": f"{metrics['steps']} of {metrics['global_batch_size']} pairs",
        "speed": f"{metrics['pairs_per_second']:.1f} pairs/s",
        "held out": f"{after['pairs']} pairs, reward accuracy {before['accuracy']:.3f} -> {after['accuracy']:.3f}, "
        f"margin {before['margin']:+.3f} -> {after['margin']:+.3f}",
        **_cuts(metrics["tokens"]["train"]),
        "peak memory": f"{metrics['peak_memory_bytes'] / 2**30:.2f} GiB ({metrics['peak_memory_of']})",
    }


def fit(run: Run, out: Path, reporter: Reporter) -> None:
    """Train on this process, one of several or the only one; rank 0 writes."""
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "training" / "tensorboard")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    recipe, inputs = run.recipe, load_inputs(run)
    science = recipe.science
    tokenizer = load_tokenizer(inputs["tokenizer"]["path"])
    chat = pair_tokenizer(tokenizer, science)
    train, train_counts = tokenize(run.path("data", "train.parquet"), chat, recipe, reporter)
    heldout, heldout_counts = tokenize(run.path("data", "heldout.parquet"), chat, recipe, reporter)
    schedule = schedule_of(science, len(train))
    checkpoints = run.path("checkpoints")
    if int(os.environ.get("RANK", "0")) == 0:
        shutil.rmtree(checkpoints, ignore_errors=True)  # of a run that died: nothing resumes from them yet
    args = training_arguments(recipe, schedule, checkpoints)
    packed = recipe.execution.engine == "packed"
    model = AutoModelForCausalLM.from_pretrained(
        inputs["base"]["path"],
        dtype=DTYPES[science.torch_dtype],
        attn_implementation=PAIRS_ATTENTION if packed else recipe.execution.attn_implementation,
    )
    refuse_unknown_targets(model, science.lora_target_modules)
    common: dict[str, Any] = {
        "schedule": schedule,
        "model": model,
        "args": args,
        "train_dataset": train,
        "eval_dataset": heldout,
        "processing_class": tokenizer,
        "peft_config": lora_config(recipe, inputs["base"]["revision"]),
    }
    trainer: PreferenceTrainer
    if packed:
        accept_packs(model)
        trainer = PackedTrainer(tokens=recipe.execution.pack_tokens, **common)
    else:
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        trainer = PreferenceTrainer(data_collator=PairCollator(pad), **common)
    trainer.remove_callback(PrinterCallback)
    rows = list(heldout)
    reference = heldout_logps(trainer, rows, "held out, before", reporter)
    with reporter.bar("training", schedule.steps) as bar:
        trainer.add_callback(ProgressCallback(bar))
        started = time.monotonic()
        try:
            trainer.train()
        finally:
            if trainer.is_world_process_zero() and not any(checkpoints.iterdir()):
                checkpoints.rmdir()  # the trainer makes it even where nothing is saved
        seconds = time.monotonic() - started
    policy = heldout_logps(trainer, rows, "held out, after", reporter)
    if not trainer.is_world_process_zero():
        return
    metrics = {
        "before": compare(reference, reference, science.beta).as_dict(),
        "after": compare(policy, reference, science.beta).as_dict(),
        "steps": schedule.steps,
        "steps_per_epoch": schedule.steps_per_epoch,
        "epochs": round(schedule.epochs_after(schedule.steps), 4),
        "global_batch_size": schedule.global_batch_size,
        "train_rows": len(train),
        "train_loss": trainer.state.log_history[-1].get("train_loss"),
        "tokens": {"train": train_counts, "heldout": heldout_counts},
        "train_seconds": round(seconds, 3),
        "pairs_per_second": round(schedule.steps * schedule.global_batch_size / seconds, 3),
        **_hardware(trainer.accelerator.num_processes),
    }
    save_adapter(trainer.tuned, tokenizer, inputs["base"]["name"], out / "adapter")
    (out / "training").mkdir(exist_ok=True)
    write_json(out / "training" / "metrics.json", metrics)
    _write_lines(out / "training" / "log.jsonl", trainer.state.log_history)
    _write_heldout(
        out / "training" / "heldout.parquet", run.path("data", "heldout.parquet"), reference, policy
    )


def tokenize(
    path: Path, chat: PairTokenizer, recipe: Recipe, reporter: Reporter
) -> tuple[Dataset, dict[str, Any]]:
    """Return the rows of a curated file as token ids, and what truncation did to them."""
    science = recipe.science
    texts = parquet.read_table(path).to_pylist()
    pairs = [
        chat.pair(
            row["prompt"],
            row["chosen"],
            row["rejected"],
            max_length=science.max_length,
            max_prompt_length=science.max_prompt_length,
        )
        for row in reporter.track(texts, f"tokenizing {path.stem}", len(texts))
    ]
    rows = [pair.as_dict() for pair in pairs]
    counts = {
        "prompts_cut": sum(pair.prompt_cut > 0 for pair in pairs),
        "answers_cut": sum(pair.answers_cut for pair in pairs),
        "equal_after_cut": sum(pair.chosen_ids == pair.rejected_ids for pair in pairs),
        **{
            f"mean_{side}_tokens": _mean_length([row[f"{side}_ids"] for row in rows])
            for side in ("prompt", "chosen", "rejected")
        },
    }
    return Dataset.from_list(rows, features=TOKENIZED), counts


def training_arguments(recipe: Recipe, schedule: Schedule, checkpoints: Path) -> DPOConfig:
    """Return what TRL's trainer is told; the global batch is the recipe's on any number of devices."""
    science, execution = recipe.science, recipe.execution
    world = int(os.environ.get("WORLD_SIZE", "1"))
    micro = micro_batch_size(recipe, world)
    return DPOConfig(
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
        gradient_checkpointing=bool(asked_checkpointing(execution)),
        gradient_checkpointing_kwargs=execution.gradient_checkpointing_kwargs,
        logging_steps=execution.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="no" if execution.evaluation_strategy == "no" else "steps",
        eval_steps=schedule.steps_per_epoch,
        save_strategy="no" if execution.save_strategy == "no" else "steps",
        save_steps=schedule.steps_per_epoch,
        save_total_limit=execution.save_total_limit,
        report_to=list(execution.report_to),
        run_name=recipe.name,
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,  # every parameter of the adapter is used; a search breaks recomputation
    )


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
                f"report_to: {tracker} is not installed; run pip install 'notus[trackers]', or leave it out"
            )
    if (
        execution.attn_implementation == "flash_attention_2"
        and importlib.util.find_spec("flash_attn") is None
    ):
        raise UserError("attn_implementation: flash_attn is not installed; install it, or use sdpa")


def _cuts(counts: dict[str, Any]) -> dict[str, str]:
    """Say what truncation did to the training pairs, if it did anything."""
    if not counts["prompts_cut"] and not counts["answers_cut"]:
        return {}
    equal = f"; {counts['equal_after_cut']} pairs are equal after it" if counts["equal_after_cut"] else ""
    return {"truncated": f"{counts['prompts_cut']} prompts and {counts['answers_cut']} answers{equal}"}


def save_adapter(model: PeftModel, tokenizer: PreTrainedTokenizerBase, base_name: str, folder: Path) -> None:
    """Write the adapter (float32 safetensors), its configuration and the tokenizer, the same bytes each time."""
    # save_embedding_layers=False: PEFT would ask the Hub for the base's config at `main`.
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's stub; the card stage writes the real one
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # PEFT keeps the targets in a set, whose order changes from process to process, and names the base by the
    # path that it was loaded from.
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base_name
    write_json(path, config)
    save_tokenizer(tokenizer, folder)


def _hardware(processes: int) -> dict[str, Any]:
    if torch.cuda.is_available():
        peak, of = torch.cuda.max_memory_allocated(), "GPU 0"
        device = torch.cuda.get_device_name(0)
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
        peak, of = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "resident"
        device = f"CPU, {os.cpu_count()} cores"
    return {"device": device, "devices": processes, "peak_memory_bytes": peak, "peak_memory_of": of}


def _mean_length(ids: list[list[int]]) -> float:
    return round(sum(map(len, ids)) / max(1, len(ids)), 2)


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text(
        "".join(json.dumps(record, sort_keys=True) + "\n" for record in records), encoding="utf-8"
    )


def _write_heldout(path: Path, data: Path, reference: torch.Tensor, policy: torch.Tensor) -> None:
    table = parquet.read_table(data, columns=["id", "source"])
    for name, logps in (("reference", reference), ("policy", policy)):
        for side, place in (("chosen", 0), ("rejected", 1)):
            table = table.append_column(f"{name}_{side}_logps", [logps[:, place].tolist()])
    parquet.write_table(table, path)


STAGE = Stage(
    name="train",
    does="DPO with LoRA",
    needs=("fetch", "curate"),
    outputs=("adapter", "training"),
    reads=("science",),
    work=work,
)
