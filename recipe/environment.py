"""What a training ran in and on, as it was found: packages, machine, GPUs. Kept beside the figures, in `training/`.

What can't be found out is null, and never guessed.
"""

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from packaging.utils import canonicalize_name

from recipe.nodes import Nodes
from recipe.schema import Recipe

# Not of how it was trained: what a plan takes for granted, where the logs go, what a container was asked for.
NOT_TRAINING = ("runtime", "accelerator", "report_to", "gpu_hour_usd")


def environment(
    recipe: Recipe, nodes: Nodes, processes: int, layouts: Sequence[tuple[int, Mapping[str, Any]]]
) -> dict[str, Any]:
    """Return the contents of `training/environment.json`.

    Args:
        recipe: Its execution is told as this training had it.
        nodes: The node that this is.
        processes: Of the training, on all nodes.
        layouts: What computed its steps: from which step on, and by what. More than one if it was ended and went on
            elsewhere.

    Returns:
        `packages`: the version of every installed distribution, by its normalized name.
        `python`, `platform`: as Python names them.
        `execution`: the recipe's, without what no training reads.
        `hardware`: `cpu` (its name), `cores` (that this process may use), `memory_bytes`, `nodes`, `devices` (processes
        of all nodes), `gpus` (this node's that it trained on), `driver`, and `cuda` (torch's).
        `steps`: of each layout, its first step as `from`, and the layout. All else here is of the last one.
    """
    execution = recipe.execution.model_dump(mode="json")
    return {
        "packages": packages(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "execution": {
            key: value
            for key, value in execution.items()
            if key not in NOT_TRAINING and not key.startswith("assumed_")
        },
        "hardware": hardware(nodes, processes),
        "steps": [{"from": step, **layout} for step, layout in layouts],
    }


def packages() -> dict[str, str]:
    """Return the version of every installed distribution by its normalized name, sorted."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # None: what an uninstallation that was cut off has left
            found.setdefault(canonicalize_name(name), distribution.version)  # the first is the one imported
    return dict(sorted(found.items()))


def hardware(nodes: Nodes, processes: int) -> dict[str, Any]:
    """Return what the training ran on, as `environment` says."""
    gpus = []
    for place in range(min(torch.cuda.device_count(), processes // nodes.count)):
        card = torch.cuda.get_device_properties(place)
        gpus.append({"name": card.name, "memory_bytes": card.total_memory})
    return {
        "cpu": cpu_name(),
        "cores": _cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "nodes": nodes.count,
        "devices": processes,
        "gpus": gpus,
        "driver": _driver() if gpus else None,
        "cuda": torch.version.cuda if gpus else None,
    }


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Return the name that the processor gives itself."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip().lower() in {"model name", "hardware"} and value.strip():
                return " ".join(value.split())
    return platform.processor() or None


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _driver() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        version: str | bytes = pynvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else version  # bytes: older versions of pynvml
    except pynvml.NVMLError:
        return None
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
