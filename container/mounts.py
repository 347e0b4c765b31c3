"""What containers get of this machine, and as whom: folders that they may write, or only read, and the token."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recipe.errors import UserError

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
        UserError: It can't be made.
    """
    path = path.expanduser().absolute()
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: can't be made ({error.strerror}); name another with {option}") from None
    if os.getuid() == 0:
        for made in missing[:1]:
            os.chown(made, *user)
    return path


def readable(path: Path, user: tuple[int, int]) -> Path:
    """Return a local base or data set to mount.

    Raises:
        UserError: The container's user may not read it, as a file that root saved for itself.
    """
    if not path.exists():
        raise UserError(f"there is no {path}; give a folder or file that exists, or a Hub repository")
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        facts = file.stat()
        bits = (
            stat.S_IRUSR
            if facts.st_uid == user[0]
            else stat.S_IRGRP
            if facts.st_gid == user[1]
            else stat.S_IROTH
        )
        if user[0] and not facts.st_mode & bits:
            raise UserError(
                f"{file}: user {user[0]}, as whom the container runs, may not read it; `chmod -R a+rX {path}`"
            )
    return path


def hub_cache() -> Path:
    """Return where Hub clients of this machine keep downloads; the token lies above it, and is not mounted."""
    home = _hub_home()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser().absolute()


def compiled_cache() -> Path:
    """Return where compiled kernels are kept from one run to the next."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")).absolute() / "notus"


@contextmanager
def token_file(user: tuple[int, int]) -> Iterator[Path | None]:
    """Yield a file with the Hub token that only its containers' user can read; a variable could be read by others."""
    kept = Path(os.environ.get("HF_TOKEN_PATH", _hub_home() / "token")).expanduser()
    token = os.environ.get("HF_TOKEN") or (kept.read_text(encoding="utf-8") if kept.is_file() else "")
    if not token.strip():
        yield None
        return
    memory = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)  # on no disk
    with tempfile.TemporaryDirectory(prefix="notus-", dir=memory) as folder:
        file = Path(folder) / "token"
        file.touch(0o600)
        file.write_text(token.strip(), encoding="utf-8")
        file.chmod(0o400)
        if os.getuid() == 0:
            os.chown(file, *user)
        yield file


def _hub_home() -> Path:
    return Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
