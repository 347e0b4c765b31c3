"""Execution: the reference's log-probabilities, computed once for all epochs and kept in the run folder.

They lie in `reference/`, shard by shard, so that a run that died computes none of them twice, and any number of devices
goes on with them. `key.json` says what they are of; with another key they are refused.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recipe.disk import read_json, write_json
from recipe.made_by import versions
from recipe.progress import Reporter
from recipe.schema import canonical_sha256
from recipe.scoring import SHARD, score, shards
from recipe.trainer import PreferenceTrainer

T = TypeVar("T")

# Of what is computed here and in `recipe.pack`, `recipe.attention` and `recipe.scoring`: to be raised with a change
# that moves a log-probability by more than rounding.
VERSION = 1
KEY = "key.json"
COMPUTED_BY = ("torch", "transformers", "trl")

Key = Mapping[str, str | int]
"""What log-probabilities are of, as plain values."""


def reference_key(
    trainer: PreferenceTrainer, base: Mapping[str, str], rows: Mapping[str, str], *, fused: bool
) -> Key:
    """Return the key of a trainer's reference.

    Args:
        trainer: Gives the model's dtype and the way it is called.
        base: sha256 of each of the base's files, by name.
        rows: sha256 of each set's token ids and masks, by name.
        fused: Whether the base's layers have fused kernels.
    """
    accelerator, model = trainer.accelerator, trainer.tuned
    stack = versions()
    return {
        "base": canonical_sha256(dict(base)),
        **{f"{name} rows": found for name, found in rows.items()},
        "dtype": str(model.dtype).removeprefix("torch."),
        "autocast": accelerator.mixed_precision,
        "attention": str(model.config._attn_implementation),
        "kernels": "fused" if fused else "plain",
        "device": accelerator.device.type,
        "rows a shard": SHARD,
        "version": VERSION,
        **{name: stack[name] for name in COMPUTED_BY},
    }


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of all rows of some sets.

    Attributes:
        logps: float64 tensors of shape (rows, 2), chosen and rejected, by the name of the set. The same on every
            process.
        computed: Of how many rows they were computed now, on all processes, and not read.
    """

    logps: Mapping[str, torch.Tensor]
    computed: int


class Shards:
    """A folder of log-probabilities of one key.

    Args:
        folder: Where they lie.
        key: What they are of.
    """

    def __init__(self, folder: Path, key: Key) -> None:
        self.folder, self.key = folder, key
        self._id = canonical_sha256(dict(key))

    def open(self, reporter: Reporter) -> None:
        """Make the folder this key's: what lies there of another one is refused, with a line that says so."""
        try:
            found = read_json(self.folder / KEY)
            differs = [name for name in self.key if found.get(name) != self.key[name]]
        except FileNotFoundError:
            differs = []
        except (OSError, ValueError, AttributeError):
            differs = [KEY]
        if differs:
            reporter.warn(f"{self.folder}: of another {differs[0]}; its log-probabilities are computed anew")
            shutil.rmtree(self.folder)
        if not (self.folder / KEY).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / KEY, dict(self.key))

    def read(self, name: str, shard: range) -> torch.Tensor | None:
        """Return a shard's log-probabilities, float64 (rows, 2); None if there are none, or torn or foreign ones."""
        try:
            with safe_open(self._path(name, shard), "pt") as file:
                logps: torch.Tensor = file.get_tensor("logps")
                found = file.metadata()
        except (OSError, SafetensorError):
            return None
        return logps if found == self._metadata(logps) and logps.shape == (len(shard), 2) else None

    def write(self, name: str, shard: range, logps: torch.Tensor) -> None:
        """Keep a shard's log-probabilities, whole or not at all."""
        path = self._path(name, shard)
        aside = path.with_suffix(".partial")
        save_file({"logps": logps.contiguous()}, aside, metadata=self._metadata(logps))
        aside.replace(path)

    def _path(self, name: str, shard: range) -> Path:
        return self.folder / f"{name}-{shard.start:06d}.safetensors"

    def _metadata(self, logps: torch.Tensor) -> dict[str, str]:
        content = hashlib.sha256(logps.contiguous().numpy().tobytes()).hexdigest()
        return {"key": self._id, "logps": content}


def reference_logps(
    trainer: PreferenceTrainer, sets: Mapping[str, Dataset], kept: Shards, reporter: Reporter
) -> Scored:
    """Return the summed log-probability of each answer under the base, of all rows of all sets.

    Args:
        trainer: Its model with the adapter switched off is the reference.
        sets: Rows as `recipe.batches.PairCollator` takes them, by name.
        kept: Where shards are read from, and new ones written to.
        reporter: Shows the progress, and what was refused.
    """
    with trainer.tuned.disable_adapter():
        return kept_logps(trainer, sets, kept, "reference", reporter)


def kept_logps(
    trainer: PreferenceTrainer, sets: Mapping[str, Dataset], kept: Shards, title: str, reporter: Reporter
) -> Scored:
    """Return the summed log-probability of each answer under the trainer's model as it is now; `title` it on the bar.

    The other arguments are those of `reference_logps`.
    """
    accelerator = trainer.accelerator
    for first in (True, False):  # nodes may share the folder: then the others find it open
        if accelerator.is_local_main_process and accelerator.is_main_process is first:
            kept.open(reporter)
        accelerator.wait_for_everyone()
    wanted = [(name, shard) for name, rows in sets.items() for shard in shards(len(rows))]
    here = {place: kept.read(*place) for place in wanted}
    found = {place: logps for place, logps in here.items() if logps is not None}
    elsewhere = set(_gathered(trainer, list(found)))
    missing = [place for place in wanted if place not in elsewhere]
    mine = missing[accelerator.process_index :: accelerator.num_processes]
    if missing:
        with reporter.bar(title, sum(len(shard) for _, shard in mine)) as bar:
            for name, shard in mine:
                logps = score(trainer, sets[name].select(shard), bar)
                kept.write(name, shard, logps)
                found[name, shard] = logps
    everywhere = dict(_gathered(trainer, list(found.items())))
    joined = {
        name: torch.cat([everywhere[name, shard] for shard in shards(len(rows))])
        for name, rows in sets.items()
    }
    return Scored(joined, computed=sum(len(shard) for _, shard in missing))


def _gathered(trainer: PreferenceTrainer, each: list[T]) -> list[T]:
    found: list[T] = gather_object(each) if trainer.accelerator.num_processes > 1 else each
    return found
