"""What it was trained in and on, as the training found it."""

from dataclasses import dataclass
from typing import Any

from modelcard.facts.missing import Artifact, stage_of
from recipe.run import Run


@dataclass(frozen=True)
class Gpu:
    """A GPU of the first node."""

    name: str
    memory_bytes: int


@dataclass(frozen=True)
class Hardware:
    """The machine, or the first of several alike."""

    cpu: str | None
    cores: int | None
    memory_bytes: int
    nodes: int
    devices: int
    """Processes of all nodes: a GPU each, if there are any."""
    gpus: tuple[Gpu, ...]
    driver: str | None
    cuda: str | None


@dataclass(frozen=True)
class Part:
    """Optimizer steps that were computed alike."""

    first: int
    """The first of them, from 1."""
    devices: int
    device: str


@dataclass(frozen=True)
class Environment:
    """Packages and machine, those of the last part of the training."""

    hardware: Hardware
    parts: tuple[Part, ...]
    """More than one if training was ended and went on elsewhere, or in another layout."""
    python: str
    platform: str
    packages: dict[str, str]
    """Every installed distribution."""
    versions: dict[str, str]
    """Of those that decide, as the manifest has them."""
    execution: dict[str, Any]
    image: dict[str, str | None]
    """Its `digest`, the commit (`revision`) it was built from and the command (`build`); null outside of one."""


def read_environment(run: Run) -> Environment:
    """Read what the training stage recorded.

    Raises:
        MissingFactError: An artifact, or a fact in it, is not there.
    """
    found, stage = Artifact(run, "training", "environment.json"), stage_of(run, "train")
    return Environment(
        hardware=Hardware(
            cpu=found("hardware", "cpu"),
            cores=found("hardware", "cores"),
            memory_bytes=found("hardware", "memory_bytes"),
            nodes=found("hardware", "nodes"),
            devices=found("hardware", "devices"),
            gpus=tuple(Gpu(gpu["name"], gpu["memory_bytes"]) for gpu in found("hardware", "gpus")),
            driver=found("hardware", "driver"),
            cuda=found("hardware", "cuda"),
        ),
        parts=tuple(
            Part(part["from"], part["devices"], part["device"] or "unknown") for part in found("steps")
        ),
        python=found("python"),
        platform=found("platform"),
        packages=found("packages"),
        versions=stage["versions"],
        execution=found("execution"),
        image={"digest": None, "revision": None, "build": None, **stage.get("image", {})},
    )
