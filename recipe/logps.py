"""The log-probabilities that a run's weights give to a test set: its own, as training left them, or another run's.

A set is scored as `recipe.train` scores it: the same tokenization, trainer and micro-batches.
"""

import gc
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, set_peft_model_state_dict
from pyarrow import parquet
from safetensors.torch import load_file

from recipe.disk import file_sha256
from recipe.engine import build_trainer, fuses
from recipe.fetch import base_files, load_inputs
from recipe.progress import Reporter
from recipe.prompt import pair_tokenizer
from recipe.reference import Shards, kept_logps, reference_key
from recipe.run import Run
from recipe.schedule import schedule_of
from recipe.schema import Recipe
from recipe.tokenized import sha256_of, tokenize
from recipe.tokenizer import load_tokenizer

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def own_logps(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities of a run's own test set under the base and under its adapter.

    Returns:
        float64 tensors of shape (rows, 2): chosen, rejected; the rows are those of `data/heldout.parquet`.
    """
    table = parquet.read_table(run.path("training", "heldout.parquet"))
    rows = parquet.read_table(run.path("data", "heldout.parquet"), columns=["id"])
    if table["id"].to_pylist() != rows["id"].to_pylist():
        message = f"{run.folder}: training/heldout.parquet is not of data/heldout.parquet"
        raise RuntimeError(message)
    reference, policy = (
        torch.tensor(
            [table[f"{name}_{side}_logps"].to_pylist() for side in ("chosen", "rejected")],
            dtype=torch.float64,
        ).T.contiguous()
        for name in ("reference", "policy")
    )
    return reference, policy


def cross_logps(
    run: Run, data: Path, kept: Path, title: str, reporter: Reporter, *, merged: bool = False
) -> torch.Tensor:
    """Return the log-probabilities of a test set under a run's weights.

    Args:
        run: Its train stage is done, and its merge stage if that is asked for.
        data: The test set, as curated: another run's, say.
        kept: A folder of shards, from which those are read that are of the same weights, rows and stack.
        title: What the progress bar says.
        reporter: Shows the progress.
        merged: Ask the merged weights, not the adapter.

    Returns:
        As `own_logps`.
    """
    recipe, inputs = _scoring_only(run.recipe), load_inputs(run)
    if merged:  # the adapter that the trainer lays over them is untrained, and moves nothing
        files = base_files(run.path("merged"))
        inputs["base"] |= {
            "path": run.path("merged"),
            "sha256": {path.name: file_sha256(path) for path in files},
        }
    tokenizer = load_tokenizer(inputs["tokenizer"]["path"])
    rows, _ = tokenize(data, pair_tokenizer(tokenizer, recipe.science), recipe, reporter)
    schedule = schedule_of(recipe.science, len(rows))  # of no step: the trainer is not asked to train
    with tempfile.TemporaryDirectory() as nothing:
        trainer = build_trainer(recipe, inputs, tokenizer, schedule, rows, rows, Path(nothing))
        key = reference_key(
            trainer, inputs["base"]["sha256"], {"rows": sha256_of(rows)}, fused=fuses(recipe.execution)
        )
        if not merged:
            _put_on(trainer.tuned, run)
            key = {**key, **{name: file_sha256(run.path("adapter", name)) for name in ADAPTER}}
        found = kept_logps(trainer, {"rows": rows}, Shards(kept, key), title, reporter).logps["rows"]
    del trainer
    let_go()
    return found


def let_go() -> None:
    """Free what a trainer held, so that the next one finds the memory empty."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _put_on(model: PeftModel, run: Run) -> None:
    """Put a run's adapter in the place of the untrained one."""
    weights = load_file(run.path("adapter", "adapter_model.safetensors"))
    put: Any = set_peft_model_state_dict(model, weights)
    wrong = [*put.unexpected_keys, *(name for name in put.missing_keys if "lora_" in name)]
    if wrong:
        message = f"{run.folder}: not the adapter of its recipe ({wrong[0]})"
        raise RuntimeError(message)


def _scoring_only(recipe: Recipe) -> Recipe:
    """Return a recipe whose trainer reports to nobody."""
    return recipe.model_copy(update={"execution": recipe.execution.model_copy(update={"report_to": []})})
