"""Counts and sums by key that arrive in parts."""

from typing import Any

import polars as pl

NONE = "null"
"""What a text that is null is called among the keys, and in JSON."""

_PARTS = 64  # tables that are kept before they are added up


class Tally:
    """Adds up tables of one kind.

    Args:
        keys: The columns that say what is counted; all others are counts or sums.
    """

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self._parts: list[pl.DataFrame] = []

    def add(self, part: pl.DataFrame) -> None:
        """Add a table."""
        if not part.is_empty():
            self._parts.append(part)
        if len(self._parts) > _PARTS:
            self._parts = [self.table()]

    def table(self) -> pl.DataFrame:
        """Return the sums, sorted by key."""
        if not self._parts:
            return pl.DataFrame()
        whole = pl.concat(self._parts, how="diagonal_relaxed")
        if not self.keys:
            return whole.sum()
        names = [key for key in self.keys if whole.schema[key] == pl.String]
        whole = whole.with_columns(
            pl.col(names).fill_null(NONE)
        )  # what is called so anyway is the same in JSON
        return (
            whole.group_by(self.keys).agg(pl.all().exclude(self.keys).sum()).sort(self.keys, nulls_last=True)
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return the sums as objects."""
        return self.table().to_dicts()

    def by(self, key: str) -> dict[str, dict[str, Any]]:
        """Return the sums by their one key, as JSON has it."""
        found = {}
        for row in self.rows():
            name = row.pop(key)
            found[str(name)] = row
        return found

    def total(self) -> dict[str, Any]:
        """Return the sums over all keys; empty if nothing was counted."""
        table = self.table()
        return {} if table.is_empty() else table.drop(self.keys).sum().to_dicts()[0]
