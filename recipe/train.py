"""Stage: the adapter. TRL's trainer and PEFT's LoRA, held-out figures before and after."""

import functools
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from pyarrow import parquet
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from recipe.disk import write_json
from recipe.engine import build_trainer, fuses, recomputed_every, refuse_missing_packages
from recipe.environment import environment
from recipe.fetch import load_inputs
from recipe.flops import packed_pair, training_flops
from recipe.heldout import compare, heldout_logps
from recipe.kept_tokens import KeptTokens
from recipe.launch import CODE_STUCK, ENDED, STUCK, devices_for, ended_by, launch
from recipe.memory import size_of
from recipe.packed import PackedTrainer
from recipe.progress import Reporter
from recipe.prompt import pair_tokenizer
from recipe.reference import Scored, Shards, reference_key, reference_logps
from recipe.resume.course import key_of, train_on, watched
from recipe.resume.names import CHECKPOINTS
from recipe.resume.notice import EndedError
from recipe.run import Run, Stage
from recipe.schedule import Schedule, schedule_of
from recipe.tokenized import Lengths, lengths_of, sha256_of, tokens_a_pair
from recipe.tokenizer import load_tokenizer, save_tokenizer
from recipe.trainer import PreferenceTrainer


def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
    """Write `adapter/` and `training/`, on as many processes as the execution asks for."""
    refuse_missing_packages(run.recipe.execution)
    devices = devices_for(run.recipe.execution)
    if devices * run.nodes.count > 1:
        launch(run, out, devices, quiet=reporter.quiet)
    else:
        try:
            fit(run, out, reporter)
        except EndedError as error:
            raise ended_by(error.number or signal.SIGTERM) from None
    if not run.nodes.first:
        return {}
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
        "speed": _speed(metrics),
        "held out": f"{after['pairs']} pairs, reward accuracy {before['accuracy']:.3f} -> {after['accuracy']:.3f}, "
        f"margin {before['margin']:+.3f} -> {after['margin']:+.3f}",
        **_cuts(metrics["tokens"]["train"]),
        "peak memory": f"{metrics['peak_memory_bytes'] / 2**30:.2f} GiB ({metrics['peak_memory_of']})",
    }


def fit(run: Run, out: Path, reporter: Reporter, aside: Path | None = None) -> None:
    """Train on this process, one of several or the only one; rank 0 writes.

    Args:
        run: The run.
        out: Where the outputs go.
        reporter: Shows the progress.
        aside: Where ranks leave word for who has started them; None: this is the only process.

    Raises:
        UserError: What is wrong with the user's input.
        EndedError: A signal has ended it.
        OthersLostError: Another rank is gone.
    """
    if os.environ.get("RANK", "0") == "0":
        shutil.rmtree(
            out / "training", ignore_errors=True
        )  # of ranks before these: curves would be there twice
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "training" / "tensorboard")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    recipe, inputs = run.recipe, load_inputs(run)
    science = recipe.science
    tokenizer = load_tokenizer(inputs["tokenizer"]["path"])
    kept = KeptTokens(
        run.path("tokens"),
        inputs["tokenizer"]["path"],
        pair_tokenizer(tokenizer, science),
        recipe,
        run.nodes.rank,
    )
    train, train_counts = kept.tokenized(run.path("data", "train.parquet"), reporter)
    heldout, heldout_counts = kept.tokenized(run.path("data", "heldout.parquet"), reporter)
    schedule = schedule_of(science, len(train))
    with tempfile.TemporaryDirectory(
        prefix="notus-"
    ) as nothing:  # it has to have a folder, and writes nothing
        trainer = build_trainer(recipe, inputs, tokenizer, schedule, train, heldout, Path(nothing))
    trainer.row_names = functools.partial(ids_of, run.path("data", "train.parquet"))
    key = key_of(run, inputs["base"]["sha256"], sha256_of(train), schedule)
    computed = 0
    with watched(trainer, run, aside, STUCK, CODE_STUCK):
        started = time.monotonic()
        if isinstance(trainer, PackedTrainer):
            found = know_reference(trainer, inputs["base"]["sha256"], schedule, train, heldout, run, reporter)
            reference, computed = found.logps["heldout"], found.computed
        else:
            reference = heldout_logps(trainer, heldout, "held out, before", reporter)
        reference_seconds = time.monotonic() - started
        trainer.flops_a_pair = flops_a_pair(trainer, lengths_of(train), schedule)
        layouts = train_on(trainer, run, key, schedule, reporter, aside / ENDED if aside else None)
        policy = heldout_logps(trainer, heldout, "held out, after", reporter)
    if not trainer.is_world_process_zero():
        return
    seconds = trainer.clock.seconds
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
        "tokens_a_pair": {
            "computed": round(trainer.trained_tokens / trainer.trained_pairs, 2),
            **tokens_a_pair(lengths_of(train), schedule),
        },
        "recomputed_every": recomputed_every(recipe, trainer.tuned.config),
        "reference_pairs_per_second": round(computed / reference_seconds, 3) if computed else None,
        "train_seconds": round(seconds, 3),
        "pairs_per_second": round(trainer.pairs_per_second, 3),
        **_hardware(trainer.accelerator.num_processes),
    }
    save_adapter(trainer.tuned, tokenizer, inputs["base"]["name"], out / "adapter")
    (out / "training").mkdir(exist_ok=True)
    write_json(out / "training" / "metrics.json", metrics)
    write_json(
        out / "training" / "environment.json",
        environment(recipe, run.nodes, trainer.accelerator.num_processes, layouts),
    )
    _write_lines(out / "training" / "log.jsonl", trainer.state.log_history)
    _write_heldout(
        out / "training" / "heldout.parquet", run.path("data", "heldout.parquet"), reference, policy
    )


def ids_of(pairs: Path, rows: Sequence[int]) -> list[str]:
    """Return the ids of some pairs of a data file, by their places in it."""
    ids: list[str] = parquet.read_table(pairs, columns=["id"])["id"].take(list(rows)).to_pylist()
    return ids


def know_reference(
    trainer: PackedTrainer,
    base: Mapping[str, str],
    schedule: Schedule,
    train: Dataset,
    heldout: Dataset,
    run: Run,
    reporter: Reporter,
) -> Scored:
    """Give a trainer the reference's log-probabilities of the rows that it will see; return them."""
    seen = sorted({place.row for place in schedule.places()})
    sets = {"train": train.select(seen), "heldout": heldout}
    key = reference_key(
        trainer,
        base,
        {name: sha256_of(rows) for name, rows in sets.items()},
        fused=fuses(run.recipe.execution),
    )
    found = reference_logps(trainer, sets, Shards(run.path("reference"), key), reporter)
    every = torch.full((len(train), 2), torch.nan, dtype=torch.float64)  # of the others there is none
    every[seen] = found.logps["train"]
    trainer.know_reference(every, found.logps["heldout"])
    return found


def flops_a_pair(trainer: PreferenceTrainer, lengths: Lengths, schedule: Schedule) -> float:
    """Return the FLOPs that a pair of the run needs, its prompt once, the reference's where each step asks it."""
    tuned = trainer.tuned
    adapter = sum(weight.numel() for weight in tuned.parameters() if weight.requires_grad)
    base = cast("PreTrainedModel", tuned.get_base_model())
    total = size_of(base, adapter)
    size = replace(total, parameters=total.parameters - adapter)  # the adapter lies within the base
    work = packed_pair(*lengths[[place.row for place in schedule.places() if place.weight]].mean(0).tolist())
    return training_flops(size, work, reference_passes=0 if isinstance(trainer, PackedTrainer) else 1)


def _speed(metrics: dict[str, Any]) -> str:
    """Say how fast it went, and on how many tokens: what laying them otherwise would have cost."""
    pairs, tokens = metrics["pairs_per_second"], metrics["tokens_a_pair"]
    return (
        f"{pairs:.1f} pairs/s, {pairs * tokens['computed']:,.0f} tokens/s; {tokens['computed']:,.0f} tokens a pair, "
        f"{tokens['prompt_twice']:,.0f} with its prompt twice, {tokens['padded']:,.0f} padded"
    )


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
    scratch=(CHECKPOINTS,),
)
