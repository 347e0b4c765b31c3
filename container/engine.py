"""The Docker engine of this machine, through its SDK: what image it has, and a command run in one."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from container.gpu import LEAST_DRIVER
from recipe.errors import UserError, ending_signals

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.errors import APIError
    from docker.models.containers import Container
    from docker.models.images import Image

SHARED_MEMORY = "16g"  # at most: NCCL's and data loaders'; Docker's own 64 MB end multi-GPU training
SECOND = 10**9  # in the engine's nanoseconds
# The image's own, which images of the OCI format can't carry.
HEALTH = {"interval": 300 * SECOND, "timeout": 60 * SECOND, "start_period": 120 * SECOND}


@contextmanager
def connected() -> Iterator["DockerClient"]:
    """Yield a client of the engine that DOCKER_HOST names, or of this machine's.

    Raises:
        UserError: None answers.
    """
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
    except DockerException as error:
        where = os.environ.get("DOCKER_HOST", "this machine's socket")
        raise UserError(
            f"no Docker engine answers at {where} ({_cause(error) or 'unknown'}); start it "
            "(`sudo systemctl start docker`), join its "
            "group (`sudo usermod -aG docker $USER`, then log in anew), or leave the container out with --runtime venv"
        ) from None
    with closing(client):
        yield client


def has_image(name: str) -> bool:
    """Whether this machine's engine, if there is one, has an image of this name."""
    try:
        with connected() as client:
            return find_image(client, name) is not None
    except UserError:  # no engine
        return False


def find_image(client: "DockerClient", name: str) -> "Image | None":
    """Return the engine's image of a name, an id or a digest; None if it has none, or none could have that name."""
    from docker.errors import APIError

    try:
        return client.images.get(name)
    except APIError as error:
        if error.is_client_error():
            return None
        raise


def storage() -> Path:
    """Return where the engine keeps images."""
    with connected() as client:
        return Path(client.info()["DockerRootDir"])


@dataclass(frozen=True)
class Job:
    """A command of Notus to run in a container of its own.

    Attributes:
        image: The image.
        command: What follows `notus`.
        mounts: Folders and files of this machine, each at its own path there too; whether it may be written.
        inside: Files of this machine, read only, by their path in the container.
        environment: Variables. No token is among them: who may ask the engine can read them.
        network: `none`, `host` or the name of one of the engine's networks.
        gpus: Give it all GPUs.
        user: The ids of user and group, `UID:GID`.
    """

    image: "Image"
    command: Sequence[str]
    mounts: Mapping[Path, bool]
    inside: Mapping[str, Path]
    environment: Mapping[str, str]
    network: str
    gpus: bool
    user: str


def run(client: "DockerClient", job: Job, *, capture: bool) -> tuple[int, bytes]:
    """Run a job to its end: what it writes comes out here, the signals that come here go to it.

    A second signal of the same kind ends it at once.

    Args:
        client: The engine.
        job: What to run.
        capture: Return what it writes to its standard output, instead of writing it to ours.

    Returns:
        Its exit code, and its standard output if captured.

    Raises:
        UserError: The engine can't start it, for want of a GPU, a driver or room on the disk.
    """
    from docker.errors import APIError

    terminal = sys.stdout.isatty() and not capture
    try:
        container = client.containers.create(job.image, list(job.command), **_settings(job, terminal))
    except APIError as error:
        raise _refusal(error) or error from error
    try:
        output: Iterator[Any] = (
            container.attach(stream=True, stdout=True, stderr=True)
            if terminal  # which has one stream
            else container.attach(stream=True, stdout=True, stderr=True, demux=True)
        )
        with _passing_on_signals(str(container.id)) as send_on, _sized(container, terminal):
            try:
                container.start()
            except APIError as error:
                raise _refusal(error) or error from error
            send_on()
            if terminal:
                _size(container)
            captured = _copy(output, terminal=terminal, capture=capture)
            code = int(container.wait()["StatusCode"])
        container.reload()
        if container.attrs["State"]["OOMKilled"]:
            sys.stderr.write("notus: the container was ended because its memory ran out\n")
        return code, captured
    finally:
        container.remove(force=True, v=True)


def _settings(job: Job, terminal: bool) -> dict[str, Any]:
    """Return what the SDK is told: nothing can be written but mounts and volumes, no privilege is left."""
    from docker.types import DeviceRequest, Mount, Ulimit

    mounts = [Mount(str(path), str(path), "bind", read_only=not write) for path, write in job.mounts.items()]
    mounts += [Mount(there, str(path), "bind", read_only=True) for there, path in job.inside.items()]
    return {
        "mounts": mounts,
        "environment": {"TERM": os.environ.get("TERM", "dumb"), **job.environment},
        "network_mode": job.network,
        "device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])] if job.gpus else [],
        "user": job.user,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "init": True,  # passes signals on, and buries the ranks of torchrun
        "shm_size": SHARED_MEMORY,
        "ulimits": [Ulimit(name="memlock", soft=-1, hard=-1)] if job.gpus else [],  # NCCL's
        "healthcheck": {"test": ["CMD", "notus", "doctor", "--quiet"], **HEALTH}
        if job.gpus
        else {"test": ["NONE"]},
        "labels": {"notus": " ".join(job.command[:1])},
        "tty": terminal,
    }


def _copy(output: Iterator[Any], *, terminal: bool, capture: bool) -> bytes:
    """Write what a container writes to our own streams, as it comes."""
    captured = bytearray()
    for chunk in output:
        out, err = (chunk, None) if terminal else chunk
        if out and capture:
            captured += out
        for stream, data in ((sys.stdout, None if capture else out), (sys.stderr, err)):
            if data:
                stream.buffer.write(data)
                stream.flush()
    return bytes(captured)


@contextmanager
def _passing_on_signals(container: str) -> Iterator[Callable[[], None]]:
    """Send signals on to a container, a second one as SIGKILL; yield what sends those on that came before it ran.

    A terminal that is gone (SIGHUP) ends it too: nobody would be left to publish what it makes.
    """
    from docker.errors import APIError

    seen: list[int] = []
    unsent: list[str] = []

    def send(name: str) -> None:
        try:
            with connected() as client:  # of its own: the other one is in the middle of reading
                client.api.kill(container, name)
        except APIError:  # it does not run yet, or no more
            unsent.append(name)

    def pass_on(number: int, _: object) -> None:
        name = "SIGKILL" if number in seen else "SIGINT" if number == signal.SIGINT else "SIGTERM"
        seen.append(number)
        send(name)

    def send_on() -> None:
        for name in unsent[:1]:
            send(name)

    before = {number: signal.signal(number, pass_on) for number in ending_signals()}
    try:
        yield send_on
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _sized(container: "Container", terminal: bool) -> Iterator[None]:
    """Keep a container's terminal as large as ours."""
    if not terminal:
        yield
        return
    before = signal.signal(signal.SIGWINCH, lambda *_: _size(container))
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _size(container: "Container") -> None:
    from docker.errors import APIError

    columns, lines = shutil.get_terminal_size()
    with suppress(APIError):  # it has ended already
        container.resize(lines, columns)


def _cause(error: BaseException) -> str:
    """Return what the system said at the bottom of an error of many layers."""
    for inner in (error.__cause__, error.__context__, *error.args):
        if isinstance(inner, BaseException) and (said := _cause(inner)):
            return said
    return error.strerror if isinstance(error, OSError) and isinstance(error.strerror, str) else ""


def _refusal(error: "APIError") -> UserError | None:
    """Return the one line for what keeps the engine from starting a container, if the user can mend it."""
    said = str(error.explanation or error)
    if "unsatisfied condition" in said:
        found = re.search(r"unsatisfied condition: ([^,]+)", said)
        condition = found[1] if found else "its CUDA"
        return UserError(
            f"this machine's NVIDIA driver is too old for the image ({condition}); "
            f"install driver {LEAST_DRIVER[13]} or later"
        )
    if re.search(
        r"could not select device driver|unresolvable CDI devices|nvidia-container-cli|no known GPU vendor",
        said,
    ):
        return UserError(
            f"Docker can give no GPU to a container ({said.strip().splitlines()[-1][:200]}); install the NVIDIA driver "
            "and the container toolkit, then `nvidia-ctk runtime configure` and restart Docker"
        )
    if "no space left on device" in said:
        return UserError(
            "no space left where Docker keeps images and containers; make room (`docker system prune`)"
        )
    return None
