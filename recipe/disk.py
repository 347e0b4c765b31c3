"""Files of a run: hashed, and written whole or not at all."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipe.errors import UserError


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Bring a file's bytes to the disk, so that a machine that dies does not leave it empty."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Bring a folder's names to the disk, where the system can do that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a mounted bucket has no such thing
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(path: Path) -> None:
    """Bring all files at or under a path to the disk, and the names of its folders."""
    for folder, _, names in os.walk(path):
        for name in names:
            flush(Path(folder, name))
        flush_folder(Path(folder))


def tree_sha256(root: Path, name: str) -> dict[str, dict[str, Any]]:
    """Return sha256, size (bytes) and mtime (ns) of each file at or under `root/name`, by its path from `root`."""
    top = root / name
    files = sorted(path for path in top.rglob("*") if path.is_file()) if top.is_dir() else [top]
    facts = {}
    for path in files:
        status = path.stat()
        facts[path.relative_to(root).as_posix()] = {
            "sha256": file_sha256(path),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }
    return facts


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: aside, flushed to the disk, renamed."""
    aside = path.with_name(f".{path.name}.partial")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:  # a full disk
        aside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that a stage wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def refuse_full_disk(needed: Mapping[Path, int]) -> None:
    """Refuse to write bytes where they don't fit; folders of one disk share its room.

    Args:
        needed: The bytes to be written, by the folder that they go to.

    Raises:
        UserError: Gives the figures.
    """
    disks: dict[int, list[Path]] = {}
    there = {
        folder: next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        for folder in needed
    }
    for folder, parent in there.items():
        disks.setdefault(parent.stat().st_dev, []).append(folder)
    for folders in disks.values():
        wanted, free = sum(needed[folder] for folder in folders), shutil.disk_usage(there[folders[0]]).free
        if free < wanted:
            names = " and ".join(map(str, folders))
            raise UserError(
                f"{names}: {wanted / 1e9:.2f} GB needed on this disk, {free / 1e9:.2f} GB free; make room, or use "
                "--run on another disk"
            )


def same_files(root: Path, outputs: dict[str, dict[str, Any]]) -> bool:
    """Whether each file is as recorded; one with the recorded size and time is not read again."""
    for name, facts in outputs.items():
        path = root / name
        if not path.is_file():
            return False
        status = path.stat()
        if status.st_size != facts["size"]:
            return False
        if status.st_mtime_ns != facts["mtime_ns"] and file_sha256(path) != facts["sha256"]:
            return False
    return True
