"""Checkpoints as files: written whole or not at all, known again by their bytes, read without running anything.

A checkpoint is one safetensors file: tensors, and all else as JSON in its metadata. Its name ends in the sha256 of its
bytes, so that a torn one is known as such wherever its bytes changed, and no second file can disagree with it.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recipe.disk import file_sha256, flush, flush_folder
from recipe.progress import Reporter
from recipe.resume.names import NAME

# Of what a checkpoint holds, and of what it means: to be raised with a change that an older one can't go on under.
VERSION = 1

Key = Mapping[str, str | int]
"""What a training is of, as plain values: one that has another key can't go on from its checkpoints."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an optimizer step.

    Attributes:
        step: How many steps are done.
        tensors: On the CPU, by name.
        facts: The rest, as plain values.
    """

    step: int
    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of a run folder.

    Args:
        folder: Where they lie; made with the first one.
        key: What the training is of.
        kept: How many of them are kept, the newest ones; None: all.
    """

    def __init__(self, folder: Path, key: Key, kept: int | None = 2) -> None:
        self.folder, self.key, self.kept = folder, {"version": VERSION, **key}, kept

    def write(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint aside, bring it to the disk, and rename it; then remove those that are too many.

        Raises:
            OSError: It can't be written, the disk is full, say; the others are as they were.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".step-{checkpoint.step:06d}.partial"
        metadata = {
            "key": json.dumps(self.key, sort_keys=True),
            "facts": json.dumps(checkpoint.facts, sort_keys=True),
        }
        try:
            _save(dict(checkpoint.tensors), aside, metadata)
            flush(aside)
            path = self.folder / f"step-{checkpoint.step:06d}-{file_sha256(aside)}.safetensors"
            aside.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        flush_folder(self.folder)
        self._remove_old()
        return path

    def newest(self, reporter: Reporter) -> Checkpoint | None:
        """Return the last checkpoint that is whole and of this key; say why a later one is not used, and remove it."""
        for path in self._paths():
            checkpoint, wrong = self._read(path)
            if checkpoint is not None:
                return checkpoint
            reporter.warn(f"{path}: {wrong}; the checkpoint before it is used, if there is one")
            path.unlink()
        return None

    def _read(self, path: Path) -> tuple[Checkpoint | None, str]:
        """Return a checkpoint, or what is wrong with it."""
        step, digest = _parts(path)
        if file_sha256(path) != digest:
            return None, "torn, its bytes are not those that were written"
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            key = json.loads(metadata.get("key", "{}"))
            if key != self.key:
                names = [name for name in self.key if key.get(name) != self.key[name]]
                return None, f"of a training of another {names[0] if names else 'kind'}"
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return Checkpoint(step, tensors, json.loads(metadata["facts"])), ""

    def _remove_old(self) -> None:
        for path in self._paths()[self.kept :] if self.kept else []:
            path.unlink()
        for name in (".step-*.partial", ".tmp*"):  # ours and safetensors' own, of a training that was killed
            for aside in self.folder.glob(name):
                with contextlib.suppress(OSError):  # NFS keeps what is open
                    aside.unlink()

    def _paths(self) -> list[Path]:
        """Return the checkpoints that lie there, the newest first."""
        found = (
            [path for path in self.folder.iterdir() if NAME.fullmatch(path.name)]
            if self.folder.is_dir()
            else []
        )
        return sorted(found, key=lambda path: (_parts(path)[0], path.stat().st_mtime_ns), reverse=True)


def _save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file; what keeps the system from it is an OSError, as elsewhere."""
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:  # its own words, with the system's number in them
        if found := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None
        raise


def _parts(path: Path) -> tuple[int, str]:
    match = NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1]), match[2]
