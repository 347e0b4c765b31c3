"""Memory and disk: how much there is, and whether this user may write."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # a container's own
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Memory:
    """Memory, in bytes.

    Attributes:
        total: What this process may have at most: the machine's, or its control group's if that is less.
        available: What it can still get of that.
        limited: Whether a control group keeps it from the rest.
        shared: The size of /dev/shm; None: there is none.
    """

    total: int
    available: int
    limited: bool
    shared: int | None


@dataclass(frozen=True)
class Place:
    """A folder that Notus writes to.

    Attributes:
        path: Where it is; None: no folder could be found.
        free: Bytes, of the disk that it is or will be on.
        refused: Why this user can't write there; None: it can.
    """

    path: Path | None
    free: int
    refused: str | None


def read_memory(cgroup: Path = CGROUP, shared: Path = SHARED_MEMORY) -> Memory:
    """Read the memory that this process may have.

    Args:
        cgroup: Where the control groups' file system is mounted, of version 2 or 1.
        shared: Where shared memory is.
    """
    import psutil

    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    limit, used = _limit(cgroup)
    limited = limit is not None and limit < total
    if limit is not None and limited:
        total, available = limit, max(0, min(available, limit - used))
    size = shutil.disk_usage(shared).total if shared.is_dir() else None
    return Memory(total, available, limited, size)


def read_place(path: Path) -> Place:
    """Read a folder's free bytes, and whether it can be written to: by trying."""
    try:
        path = path.expanduser().absolute()
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        return Place(path, shutil.disk_usage(there).free, refusal(there))
    except (OSError, RuntimeError) as error:  # a folder above it is another user's; this user has no home
        return Place(path, 0, _why(error))


def refusal(folder: Path) -> str | None:
    """Return why this user can't write a file into a folder; None if it can.

    Its permissions don't tell: the file system may be read-only, or full, and root is bound by none of them.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".notus-") as file:
            file.write(b"notus")
            file.flush()
    except OSError as error:
        return _why(error)
    return None


def read_temporary() -> Place:
    """Read where temporary files go."""
    try:
        return read_place(Path(tempfile.gettempdir()))
    except FileNotFoundError:  # Python has tried them all
        return Place(None, 0, "no usable folder")


def hub_cache() -> Path:
    """Return where the Hub's client keeps downloads: its own rule, without the second that its import takes."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub"))


def _limit(cgroup: Path) -> tuple[int | None, int]:
    """Return a control group's limit, None for none, and what is used of it: without what it can drop at once."""
    for limit, current, stat, droppable in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            said = (cgroup / limit).read_text(encoding="ascii").strip()
            if said == "max":
                return None, 0
            lines = (cgroup / stat).read_text(encoding="ascii").splitlines()
            cached = int(dict(line.split(maxsplit=1) for line in lines).get(droppable, 0))
            return int(said), int((cgroup / current).read_text(encoding="ascii")) - cached
        except (OSError, ValueError):  # not this version
            continue
    return None, 0


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
