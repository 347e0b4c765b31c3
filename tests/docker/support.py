"""notus and its containers, watched while they work."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

T = TypeVar("T")
SECONDS = 120


@contextmanager
def started(*arguments: object, cwd: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run notus beside the test."""
    with subprocess.Popen(
        # As a terminal starts it, though the tests may run in the background, where signals are ignored.
        ["env", "--default-signal=INT,HUP,TERM", sys.executable, "-m", "notus", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def container_of(docker: "DockerClient", command: str) -> "Container":
    """Return the container that does a command, once it runs."""
    return until(lambda: next(iter(docker.containers.list(filters={"label": f"notus={command}"})), None))


def until(look: Callable[[], T | None]) -> T:
    """Return what `look` finds, once it does."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if (found := look()) is not None:
            return found
        time.sleep(0.1)
    pytest.fail(f"not seen within {SECONDS} s")


def manifest(run: Path) -> dict[str, dict[str, object]]:
    """Return the stages of a run's manifest."""
    stages: dict[str, dict[str, object]] = json.loads((run / "manifest.json").read_text())["stages"]
    return stages
