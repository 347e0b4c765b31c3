"""The builder: buildah, which sets every time of an image to the commit's, without a daemon."""

import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recipe.errors import UserError

INSTALL = "install it (`apt-get install buildah` on Debian and Ubuntu)"
OURS = "notus: "  # how a line begins that the Dockerfile says to the person who builds


@dataclass(frozen=True)
class Commit:
    """What an image is built from.

    Attributes:
        id: Of the commit, 40 hex digits.
        time: Of the commit, in seconds since 1970.
        dirty: How many files of the checkout are not as committed; the image has them as committed.
    """

    id: str
    time: int
    dirty: int


def commit_of(checkout: Path) -> Commit:
    """Return the commit that is checked out.

    Raises:
        UserError: It is no git checkout.
    """
    try:
        name, time = _git(checkout, "log", "-1", "--format=%H %ct").split()
    except (OSError, subprocess.CalledProcessError):
        raise UserError(
            f"{checkout}: no git checkout with a commit; build from one, or by hand with `docker build .`"
        ) from None
    return Commit(name, int(time), len(_git(checkout, "status", "--porcelain").splitlines()))


@contextmanager
def context_of(checkout: Path, commit: Commit) -> Iterator[Path]:
    """Yield a folder with the files of a commit, of the same modes for every user."""
    with tempfile.TemporaryDirectory(prefix="notus-image-") as folder:
        archive, context = Path(folder) / "commit.tar", Path(folder) / "context"
        as_is = ["-c", "core.autocrlf=false", "-c", "tar.umask=0022"]  # whatever this user has set
        _git(checkout, *as_is, "archive", "--format=tar", f"--output={archive}", commit.id)
        with tarfile.open(archive) as files:
            for member in files:  # not by extractall's filter, which Debian 12's Python lacks
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                files.extract(member, context)
        archive.unlink()
        yield context


def build(
    context: Path, tag: str, arguments: Mapping[str, str], *, time: int, cache: bool = False, log: Path
) -> str:
    """Build an image.

    Args:
        context: The folder with the Dockerfile and what it copies.
        tag: What to call it.
        arguments: The build's arguments.
        time: Of all files and of the image itself, in seconds since 1970.
        cache: Take layers of an earlier build; they have the times of then, so that the id is this machine's only.
        log: Where the builder's output goes.

    Returns:
        The id: the sha256 of its configuration, with which its layers are named. Docker has the same.

    Raises:
        UserError: buildah is not there, or what the Dockerfile says to the person who builds.
        RuntimeError: The build failed otherwise.
    """
    given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    before = _buildah(["images", "--quiet", "--no-trunc", "--filter", f"reference={tag}"]).split()
    with tempfile.NamedTemporaryFile("r", prefix="notus-image-") as idfile, log.open("ab") as output:
        # chroot works within containers as well; without the label it is of no account which buildah built it.
        command = ["bud", "--isolation=chroot", "--format=oci", "--layers", "--identity-label=false"]
        command += [f"--no-cache={str(not cache).lower()}", f"--timestamp={time}", f"--iidfile={idfile.name}"]
        command += [*given, f"--tag={tag}", f"--file={context / 'Dockerfile'}", str(context)]
        _buildah(command, output.fileno(), log)
        built = f"sha256:{idfile.read().strip().removeprefix('sha256:')}"
    for stale in set(before) - {built}:
        remove(stale)  # gigabytes that have no name any more
    return built


def export(image: str, folder: Path) -> None:
    """Write an image's manifest, configuration and layers, uncompressed, into a folder."""
    _buildah(["push", "--quiet", "--disable-compression", "--format=oci", image, f"dir:{folder}"])


def give_to_docker(image: str, tag: str) -> None:
    """Put an image into the Docker engine of this machine, under a tag, with the same id."""
    _buildah(["push", "--quiet", image, f"docker-daemon:{tag}"])


def remove(image: str) -> None:
    """Remove an image, and what only it was made of, from buildah's storage."""
    _buildah(["rmi", "--force", image])


def storage() -> Path:
    """Return where buildah keeps images.

    Raises:
        UserError: It would keep each layer as a copy of all below it, ten times the room.
    """
    driver, root = _buildah(["info", "--format", "{{.store.GraphDriverName}} {{.store.GraphRoot}}"]).split(
        maxsplit=1
    )
    if driver == "vfs":
        raise UserError(
            "buildah: each layer would be a copy of all below it here (vfs); `apt-get install fuse-overlayfs`, then "
            "`buildah rmi --all`, or build as root"
        )
    return Path(root.strip())


def _buildah(arguments: list[str], output: int | None = None, log: Path | None = None) -> str:
    if shutil.which("buildah") is None:
        raise UserError(f"buildah: not found; {INSTALL}. It is what builds the same image twice")
    ended = subprocess.run(
        ["buildah", *arguments],
        stdout=subprocess.PIPE if output is None else output,
        stderr=subprocess.PIPE if output is None else subprocess.STDOUT,
        text=True,
        check=False,
    )
    if not ended.returncode:
        return ended.stdout or ""
    said = log.read_text(encoding="utf-8", errors="replace") if log else f"{ended.stdout}{ended.stderr}"
    for line in said.splitlines():
        if line.startswith(OURS):
            raise UserError(line.removeprefix(OURS))
        if found := re.match(r"Error: creating build container: (.*)", line):
            raise UserError(
                f"the base image can't be had ({found[1][:200]}); reach its registry, or name one that is here with "
                "--base"
            )
    last = "\n".join(said.splitlines()[-25:])
    message = f"buildah {arguments[0]} ended with code {ended.returncode}; the end of what it said:\n{last}"
    raise RuntimeError(message)


def _git(checkout: Path, *arguments: str) -> str:
    ended = subprocess.run(
        ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True
    )
    return ended.stdout
