"""What containers get of this machine, and as whom: folders that they may write, or only read, and the token."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import get_token

from recipe.errors import UserError
from recipe.schema import whole_path

if TYPE_CHECKING:
    from docker import DockerClient

USER = 10001  # of the image: root's containers are not root's


def container_user(client: "DockerClient") -> tuple[int, int]:
    """Return the ids of user and group that a container writes as: those of whoever calls, but never root's."""
    if any("rootless" in option for option in client.info().get("SecurityOptions") or ()):
        return 0, 0  # who is whoever calls, outside
    return (os.getuid(), os.getgid()) if os.getuid() else (USER, USER)


def made(path: Path, user: tuple[int, int], option: str) -> Path:
    """Return a folder to mount; made, and the container's user's, where it was not there.

    Raises:
        UserError: It can't be made, or the container's user may not write there.
    """
    path = whole_path(path)
    there = path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not there and os.getuid() == 0:
            os.chown(path, *user)
    except OSError as error:
        raise UserError(f"{path}: can't be made ({error.strerror}); name another with {option}") from None
    if not _may(path, user, stat.S_IWUSR | stat.S_IXUSR):
        raise UserError(
            f"{path}: user {user[0]}, as whom the container runs, may not write here; `chown -R {user[0]}:{user[1]} "
            f"{path}`, or name another with {option}"
        )
    return path


@contextmanager
def not_left_empty(folder: Path) -> Iterator[None]:
    """Remove a folder in the end if it was not there and nothing came into it: of a mistake nothing is to stay."""
    there = folder.exists()
    try:
        yield
    finally:
        if not there:
            with suppress(OSError):  # not empty, or never made
                folder.rmdir()


def readable(path: Path, user: tuple[int, int]) -> dict[str, Path]:
    """Return what to mount of a local base or data set, by its path in the container: also what its links lead to.

    Raises:
        UserError: It is not there, or the container's user may not read it, as a file that root saved for itself.
    """
    if not path.exists():
        raise UserError(f"there is no {path}; give a folder or file that exists, or a Hub repository")
    found = {str(path): path.resolve()}
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if not file.exists():
            raise UserError(f"{file}: a link that leads nowhere; copy or download {path} again")
        needed = stat.S_IRUSR | (stat.S_IXUSR if file.is_dir() else 0)
        if not _may(file, user, needed):
            raise UserError(
                f"{file}: user {user[0]}, as whom the container runs, may not read it; `chmod -R a+rX {path}`"
            )
        if file.is_symlink() and file != path:  # a snapshot of the Hub's cache is made of links
            found[str(whole_path(file.parent / file.readlink()))] = file.resolve()
    return found


def _may(path: Path, user: tuple[int, int], bits: int) -> bool:
    """Whether a user has some of an owner's rights (`S_I.USR`), as far as the permissions tell."""
    facts = path.stat()
    if user[0] == 0 or user[0] == os.getuid():  # whoever calls will see for themselves
        return True
    shift = 0 if facts.st_uid == user[0] else 3 if facts.st_gid == user[1] else 6
    return facts.st_mode & (bits >> shift) == bits >> shift


def compiled_cache() -> Path:
    """Return where compiled kernels are kept from one run to the next."""
    return whole_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "notus"


@contextmanager
def token_file(user: tuple[int, int]) -> Iterator[Path | None]:
    """Yield a file with the Hub token; None if there is none."""
    token = get_token()
    if token is None:
        yield None
        return
    with secret_file(token.encode(), user) as file:
        yield file


@contextmanager
def secret_file(content: bytes, user: tuple[int, int]) -> Iterator[Path]:
    """Yield a file with a secret that only the containers' user can read; a variable could be read by others."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # on no disk
    with tempfile.TemporaryDirectory(prefix="notus-", dir=memory) as folder:
        file = Path(folder) / "secret"
        file.touch(0o600)
        file.write_bytes(content)
        file.chmod(0o400)
        if os.getuid() == 0:
            os.chown(file, *user)
        yield file
