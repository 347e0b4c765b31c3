"""The table of the page: everything of the rows that is no text, column by column."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recipe.curate.page.pack import coded, pack_arrays

_ABSENT = -np.inf  # an aspect that was not rated; NaN is one rated "N/A"
_LABELS = ("source", "file", "reason", "model", "flags")
_BETWEEN_FLAGS = "\n"


class Columns:
    """Gathers the columns of batches of feedback; a row takes some 100 bytes.

    Of the rows: row, line, chosen, rejected, chosen_other (-1 for null), ids; source, file, reason and flags as
    numbers that `names` tells. Of the completions, one row's after the other's: model, score, rating, and each
    aspect's rating. `first` has the number of each row's first completion, and one more at its end.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, list[np.ndarray[Any, Any]]] = {}
        self.labels: dict[str, list[Any]] = {name: [] for name in _LABELS}
        self.ids: list[Any] = []
        self.aspects: list[str] = []

    def add(self, batch: Any, completions: Any) -> "np.ndarray[Any, Any]":
        """Add a batch of feedback, with its completions as one array, and return each row's first completion."""
        counts = pc.list_value_length(batch.column("completions")).fill_null(0)
        counts = counts.to_numpy(zero_copy_only=False).astype(np.int32)
        self._put("count", counts)
        for name in ("row", "line"):
            self._put(name, batch.column(name).to_numpy(zero_copy_only=False).astype(np.int32))
        for name in ("chosen", "rejected", "chosen_other"):
            self._put(name, _numbers(batch.column(name).fill_null(-1)).astype(np.int8))
        for name in ("source", "file", "reason"):
            self.labels[name].append(batch.column(name))
        self.labels["flags"].append(_joined(batch.column("flags")))
        self.ids.append(batch.column("id").cast(pa.string()))
        self._completions(completions)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    def _completions(self, completions: Any) -> None:
        self.labels["model"].append(_field(completions, "model"))
        self._put("score", _numbers(_field(completions, "overall_score")).astype(np.float32))
        self._put("rating", _numbers(_field(completions, "rating")).astype(np.float32))
        aspects = _field(completions, "aspects")
        self.aspects = [field.name for field in aspects.type]
        for place, name in enumerate(self.aspects):
            values = _field(aspects, name).fill_null(_ABSENT)
            self._put(f"aspect{place}", _numbers(values).astype(np.float32))

    def _put(self, name: str, array: "np.ndarray[Any, Any]") -> None:
        self.arrays.setdefault(name, []).append(array)

    def packed(self, **facts: object) -> bytes:
        """Return all columns packed, with `facts` beside them."""
        arrays = {name: np.concatenate(parts) for name, parts in self.arrays.items()}
        counts = arrays.pop("count")
        arrays["first"] = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]).astype(np.uint32)
        names: dict[str, Any] = {}
        for label in _LABELS:
            arrays[label], names[label] = coded(self.labels[label])
        names["flags"] = [flags.split(_BETWEEN_FLAGS) if flags else [] for flags in names["flags"]]
        ids = "\n".join(one or "" for part in self.ids for one in part.to_pylist())
        arrays["ids"] = np.frombuffer(ids.encode(), np.uint8)
        return pack_arrays(arrays, {**facts, "rows": len(counts), "names": names, "aspects": self.aspects})


def _field(structs: Any, name: str) -> Any:
    return pc.struct_field(structs, name)


def _numbers(values: Any) -> "np.ndarray[Any, Any]":
    """Return numbers as numpy; null becomes NaN."""
    array: np.ndarray[Any, Any] = values.to_numpy(zero_copy_only=False)
    return array


def _joined(flags: Any) -> Any:
    return pc.binary_join(flags.cast(pa.list_(pa.string())), _BETWEEN_FLAGS)
