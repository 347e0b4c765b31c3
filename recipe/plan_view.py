"""The plan of a run, as a person reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipe.memory import fits, recomputed_layers
from recipe.plan import Plan
from recipe.progress import Reporter
from recipe.run import Stage
from recipe.schema import Recipe


def show_plan(
    recipe: Recipe, plan: Plan, folder: Path, stages: Sequence[Stage], reporter: Reporter
) -> dict[str, Any]:
    """Print the plan and return it as plain values."""
    release = recipe.release
    reporter.head(f"{recipe.name} {release.version}: the plan")
    reporter.table(
        ("stage", "what it does", "writes"),
        [
            *((stage.name, stage.does, ", ".join(f"{name}" for name in stage.outputs)) for stage in stages),
            ("publish", "push, read back, tag", "release.json"),
        ],
        right=False,
    )
    reporter.head("figures")
    reporter.table(
        ("", ""),
        [
            (
                "base",
                f"{recipe.science.model_name_or_path}, {plan.base_parameters:,} parameters, {_gb(plan.base_bytes)}",
            ),
            ("adapter", f"{plan.adapter_parameters:,} parameters, {_gb(plan.adapter_bytes)} in float32"),
            (
                "pairs",
                f"{plan.train_rows:,} to train on, {_count(plan.heldout_rows)} held out"
                if plan.train_rows is not None
                else "not counted yet",
            ),
            (
                "global batch",
                f"{plan.global_batch_size} pairs an optimizer step, on any number of devices",
            ),
            ("steps", _steps(plan)),
            ("devices", _devices(recipe, plan)),
            ("disk", f"{_gb(sum(plan.disk.values()))} in {folder}"),
            ("memory", _memory(plan)),
            ("recompute", _recompute(recipe, plan)),
            ("training", _hours(plan)),
            *((("cost", _cost(recipe, plan)),) if plan.prediction.usd is not None else ()),
        ],
        right=False,
    )
    reporter.head("files to publish")
    names = {stage.name for stage in stages}
    repos = publishes(recipe, plan, with_data="dataset" in names, signed="signature" in names)
    reporter.table(
        ("repository", "weights", "files"),
        [(name, "-" if size is None else _gb(size), ", ".join(files)) for name, files, size in repos],
        right=False,
    )
    for known in plan.known:
        reporter.say(f"  {known}")
    reporter.say(f"  speed: {plan.prediction.source}")
    if not plan.target.here:
        of = f"{plan.target.count} x {plan.target.name}"
        reporter.say(
            f"  GPUs: none here; memory, recompute and training are of {of}, which the recipe assumes"
        )
    if plan.target.bytes is not None and not fits(plan.memory_bytes, plan.target.bytes):
        reporter.warn(
            f"a device has {_gb(plan.target.bytes)}, the training needs more: set gradient_checkpointing: auto, or "
            f"{'a smaller pack_tokens' if recipe.execution.engine == 'packed' else 'micro_batch_size: 1'}"
        )
    for key in recipe.science.unpinned:
        reporter.warn(f"{key} is not pinned; run `notus recipe pin {recipe.name}` before a release")
    return {
        "recipe": recipe.name,
        "stages": [stage.name for stage in stages] + ["publish"],
        "publishes": {name: {"files": files, "bytes": size} for name, files, size in repos},
        "unpinned": recipe.science.unpinned,
        **plan.as_dict(),
    }


def publishes(
    recipe: Recipe, plan: Plan, *, with_data: bool = False, signed: bool = False
) -> list[tuple[str, list[str], int | None]]:
    """Return (repository, files, bytes of the weights if it has any) of each repository of the release."""
    release, tokenizer = recipe.release, ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    weights = ["config.json", "generation_config.json", "model*.safetensors"]
    beside = ["README.md", "provenance.json", "sbom.cdx.json", *(["model.sig"] if signed else [])]
    shown = ["curves.png", *(["banner.png"] if release.banner else [])]
    adapter = ["recipe.yaml", "adapter_config.json", "adapter_model.safetensors"]
    repos: list[tuple[str, list[str], int | None]] = [
        (release.hub_model_id, [*adapter, *tokenizer, *beside, *shown], plan.adapter_bytes),
        (release.hub_merged_model_id, [*weights, *tokenizer, *beside, *shown], plan.base_bytes),
    ]
    if recipe.science.base_source != "hub" and release.hub_base_model_id:
        repos.insert(0, (release.hub_base_model_id, [*weights, *tokenizer, *beside], plan.base_bytes))
    if with_data:  # called as in its address: models and data sets may share a name
        repos.append((f"datasets/{release.hub_dataset_id}", ["audit.json", "data/*.parquet", *beside], None))
    return repos


def _steps(plan: Plan) -> str:
    if plan.steps is None:
        return "not known yet"
    if plan.steps_per_epoch is None:
        return f"{plan.steps}"
    return f"{plan.steps}, {plan.steps_per_epoch} an epoch; ends at epoch {plan.epochs:.2f}"


def _devices(recipe: Recipe, plan: Plan) -> str:
    if recipe.execution.engine == "packed":
        return f"{plan.devices}, each prompt once"
    return f"{plan.devices}, {plan.micro_batch_size} pair(s) a micro-batch"


def _memory(plan: Plan) -> str:
    of = "" if plan.target.bytes is None else f" of {_gb(plan.target.bytes)}"
    return (
        f"about {_gb(plan.memory_bytes)}{of} a device, in micro-batches of {plan.micro_batch_tokens:,} tokens"
    )


def _recompute(recipe: Recipe, plan: Plan) -> str:
    every, layers = plan.recompute_every, plan.layers
    some = f"{recomputed_layers(layers, every)} of {layers} layers, one in {every}"
    which = {0: "no layer", 1: f"each of {layers} layers"}.get(every, some)
    if recipe.execution.gradient_checkpointing != "auto":
        return f"{which}, as the recipe says"
    return which if plan.target.bytes is None else f"{which}, so that it fits"


def _hours(plan: Plan) -> str:
    found = plan.prediction
    if found.hours is None:
        return "not known"
    took = f"{found.hours:.1f} h" if found.hours >= 1 else f"{60 * found.hours:.1f} min"
    on = f"{plan.target.count} x {plan.target.name}"
    gpu_hours = "" if found.gpu_hours is None else f", {found.gpu_hours:.1f} GPU-hours"
    return f"about {took} on {on}{gpu_hours}, {found.pairs_per_second:,.1f} pairs/s; without evaluations"


def _cost(recipe: Recipe, plan: Plan) -> str:
    return f"about {plan.prediction.usd:,.0f} USD, at {recipe.execution.gpu_hour_usd} USD a GPU-hour"


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"


def _count(number: int | None) -> str:
    return "a split of their own" if number is None else f"{number:,}"
