"""What checkpoints are called, and where they lie."""

import re
from pathlib import Path

CHECKPOINTS = "checkpoints"  # in a run folder
NAME = re.compile(r"step-(\d{6,})-([0-9a-f]{64})\.safetensors")


def steps_in(folder: Path) -> list[int]:
    """Return the steps after which a run folder has a checkpoint, by their names alone, the last one first."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted({int(match[1]) for name in names if (match := NAME.fullmatch(name))}, reverse=True)
