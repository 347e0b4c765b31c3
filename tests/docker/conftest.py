"""A real Docker engine, and the image that `nox -s image -- --target cpu` built."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from container import engine
from tests.support import Outcome

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

IMAGE = "notus:cpu"
HARDENED = ["docker", "run", "--rm", "--read-only", "--cap-drop", "ALL", "--user", "10001"]


@pytest.fixture(scope="session")
def docker() -> "Iterator[DockerClient]":
    """A client of this machine's engine."""
    with engine.connected() as client:
        yield client


@pytest.fixture(scope="session")
def image(docker: "DockerClient") -> "Image":
    found = engine.find_image(docker, IMAGE)
    assert found is not None, "there is no image to test; build it with `nox -s image -- --target cpu`"
    return found


@pytest.fixture(scope="session")
def tiny(tiny: Path) -> Path:
    """The tests' tiny base and feedback, readable by the image's user: weights are saved for their owner alone."""
    for path in (tiny / "base").iterdir():
        path.chmod(0o644)
    return tiny


Hardened = Callable[..., Outcome]


@pytest.fixture
def hardened(image: "Image") -> Hardened:
    """`docker run`, as the README has it: without a network, a writable root, a capability or a privilege."""

    def run(*command: object, mounts: Sequence[str] = (), options: Sequence[str] = ()) -> Outcome:
        volumes = [option for mount in mounts for option in ("--volume", mount)]
        network = [] if "--network" in options else ["--network", "none"]
        ended = subprocess.run(
            [*HARDENED, *network, *options, *volumes, str(image.id), *map(str, command)],
            capture_output=True,
            text=True,
            check=False,
        )
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def run(image: "Image", tmp_path: Path) -> Path:
    """Where a run in the image goes."""
    return tmp_path / "run"
