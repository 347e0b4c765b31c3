"""Which files of a folder hold the rows, and of which split, by the conventions of the Hub."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from recipe.errors import UserError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")
"""File formats that `read` knows."""

# Files of the Hub and of `datasets` that lie beside the data and hold none.
_NO_DATA = {"config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}

# What `datasets` reads as a split's name in `my-dev_01.jsonl` or `testing/a.parquet` (its data_files.py).
_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SEPARATOR = "[-._ 0-9]"
_WORDS = {
    split: re.compile(rf"(?:^|{_SEPARATOR})(?:{'|'.join(words)})(?:{_SEPARATOR}|$)")
    for split, words in _KEYWORDS.items()
}
_SHARD = re.compile(r"(?P<split>\w+(?:\.\w+)*)-\d{5}-of-\d{5}.*\.\w+")


def data_files(folder: Path, split: str | None) -> list[Path]:
    """Return the files of `folder` that hold rows of `split`, sorted; of all splits if it is None.

    Splits are found as `datasets` finds them, the first of these ways that finds any: shards
    (`data/train_prefs-00000-of-00001.parquet`), keywords in the names of folders (`test/0000.parquet`),
    keywords in the names of files (`my_dev.jsonl`); else all is `train`. Where none is `split`, a file of
    that name (`train_prefs.jsonl`) is taken.

    Raises:
        UserError: There is no such folder, no data file in it, or no such split; the splits found are named.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder with {', '.join(SUFFIXES)} files")
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and _is_data(path, folder))
    if not files:
        raise UserError(f"{folder}: no data file in this folder; it needs one of {', '.join(SUFFIXES)}")
    if split is None:
        return files
    splits = _splits(files, folder)
    found = splits.get(split) or [path for path in files if path.stem == split]
    if not found:
        names = ", ".join(sorted(splits))
        raise UserError(f"{folder}: no split {split!r} in this folder; splits found: {names}")
    return found


def _is_data(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    hidden = any(part.startswith((".", "__")) for part in parts)
    return path.is_file() and path.name not in _NO_DATA and not hidden


def _splits(files: Iterable[Path], folder: Path) -> dict[str, list[Path]]:
    """Return the files by split, found in the first way that finds any."""
    for ways in (_by_shard, _by_folder, _by_name):
        splits: dict[str, list[Path]] = {}
        for path in files:
            for split in ways(path.relative_to(folder)):
                splits.setdefault(split, []).append(path)
        if splits:
            return splits
    return {"train": list(files)}


def _by_shard(path: PurePath) -> list[str]:
    match = _SHARD.fullmatch(path.name) if path.parts[0] == "data" and len(path.parts) == 2 else None
    return [match["split"]] if match else []


def _by_folder(path: PurePath) -> list[str]:
    return [split for split, words in _WORDS.items() if any(words.search(part) for part in path.parts[:-1])]


def _by_name(path: PurePath) -> list[str]:
    return [split for split, words in _WORDS.items() if words.search(path.name)]
