"""How long a training will take and what it will cost: predicted, and from what."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recipe.errors import UserError
from recipe.flops import Size, Work, packed_pair, padded_pair, pairs_per_second, training_flops
from recipe.gpus import gpu_named
from recipe.load import read_resolved
from recipe.schema import Recipe

# What a speed that was measured depends on, beside the devices.
DECIDE_SPEED = (
    "model_name_or_path",
    "torch_dtype",
    "bf16",
    "dataset",
    "max_length",
    "max_prompt_length",
    "lora_r",
    "lora_target_modules",
    "engine",
    "pack_tokens",
    "micro_batch_size",
    "attn_implementation",
    "fused_kernels",
    "gradient_checkpointing",
)


@dataclass(frozen=True)
class Devices:
    """What a training will run on.

    Attributes:
        count: How many there are.
        name: Of one: a GPU's, or the CPU's as `training/metrics.json` has it.
        here: Whether it is this machine; else it is the one that the recipe assumes.
        gpu: Whether it is a GPU.
        bytes: Memory of one; None where no limit is known.
    """

    count: int
    name: str
    here: bool
    gpu: bool
    bytes: int | None


@dataclass(frozen=True)
class Prediction:
    """Of the training's steps, evaluations not counted. None is not known; `source` says from what, or what is missing.

    Attributes:
        hours: From its first step to its last, and of the reference before it.
        gpu_hours: Times the GPUs; None on a CPU.
        usd: Times the price that the recipe states; None where it states none.
        pairs_per_second: Of all devices together.
        source: In words.
    """

    hours: float | None = None
    gpu_hours: float | None = None
    usd: float | None = None
    pairs_per_second: float | None = None
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as plain values."""
        return asdict(self)


def predict(
    recipe: Recipe,
    size: Size,
    pairs: int | None,
    devices: Devices,
    *,
    recomputed: float,
    folders: Sequence[Path] = (),
) -> Prediction:
    """Predict a training from what was measured, or from the peak of its GPUs.

    Args:
        recipe: The recipe.
        size: Of its model.
        pairs: That it trains on, each as often as it does.
        devices: That it runs on.
        recomputed: The share of the layers that are.
        folders: Run folders that may hold what an earlier training measured.
    """
    if pairs is None:
        return Prediction(source="not known: the rows are not counted; set assumed_dataset_rows or max_steps")
    measured = next(filter(None, (_measured(recipe, devices, folder) for folder in folders)), None)
    each, source = measured or _assumed(recipe, size, devices, recomputed)
    if each is None:
        return Prediction(source=f"not known: {source}")
    together = each * devices.count
    hours = pairs / together / 3600
    gpu_hours = hours * devices.count if devices.gpu else None
    price = recipe.execution.gpu_hour_usd
    usd = None if price is None or gpu_hours is None else gpu_hours * price
    return Prediction(hours, gpu_hours, usd, together, source)


def pair_work(recipe: Recipe) -> Work | None:
    """Return the work of the mean pair as the recipe's engine lays it, or None where its length is not assumed."""
    tokens = recipe.execution.assumed_mean_tokens
    if tokens is None:
        return None
    if recipe.execution.engine == "packed":
        return packed_pair(tokens["prompt"], tokens["chosen"], tokens["rejected"])
    # Without a figure of its own, as if each pair were padded alone.
    longer = tokens["prompt"] + max(tokens["chosen"], tokens["rejected"])
    return padded_pair(tokens["padded"] / 2 if "padded" in tokens else longer)


def reference_passes(recipe: Recipe) -> float:
    """Return the reference's passes for one of the policy: the packed engine asks it once for all epochs."""
    return 1 / recipe.science.num_train_epochs if recipe.execution.engine == "packed" else 1.0


def _measured(recipe: Recipe, devices: Devices, folder: Path) -> tuple[float, str] | None:
    """Return what an earlier training measured, in pairs/s of one device, if it was of this kind."""
    path = folder / "training" / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        _, then = read_resolved(folder)
        speed, count, name = (
            float(metrics["pairs_per_second"]),
            int(metrics["devices"]),
            str(metrics["device"]),
        )
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None  # no run, or none that is whole
    now = recipe.flat()
    same = all(then.get(key) == now[key] for key in DECIDE_SPEED)
    if not same or not _alike(name, devices.name) or speed <= 0 or count <= 0:
        return None
    steps = metrics.get("steps")
    if once := metrics.get("reference_pairs_per_second"):
        speed = 1 / (1 / speed + reference_passes(recipe) / float(once))
    return speed / count, f"measured: {steps} steps on {count} x {name}, in {path}"


def _alike(one: str, other: str) -> bool:
    known = gpu_named(one)
    return one == other or (known is not None and known == gpu_named(other))


def _assumed(
    recipe: Recipe, size: Size, devices: Devices, recomputed: float
) -> tuple[float, str] | tuple[None, str]:
    """Return pairs/s of one device at an assumed share of its peak, or what is missing."""
    work, share = pair_work(recipe), recipe.execution.assumed_share_of_peak
    if not devices.gpu:
        return None, (
            "nothing was measured on this CPU, and no GPU is assumed; train some steps (--set max_steps=8), "
            "or set assumed_gpu"
        )
    gpu = gpu_named(devices.name)
    if gpu is None:
        return None, (
            f"{devices.name} is not among the known GPUs, and nothing was measured on it; "
            "train some steps (--set max_steps=8)"
        )
    if work is None:
        return None, "how long a pair is; set assumed_mean_tokens, or train some steps (--set max_steps=8)"
    flops = training_flops(size, work, recomputed=recomputed, reference_passes=reference_passes(recipe))
    return pairs_per_second(flops, share, gpu.flops), (
        f"assumed: {share:.0%} of the peak of {gpu.name} ({gpu.flops / 1e12:.0f} TFLOP/s), "
        f"{work.tokens:,.0f} tokens a pair; not measured"
    )
