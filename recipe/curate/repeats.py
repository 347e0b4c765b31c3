"""Prompts and answers that occur more than once, found by their 64-bit hashes."""

from typing import Any

import polars as pl

_PARTS = 64  # tables that are looked through one by one


class Repeats:
    """Remembers the hash of every prompt and every answer."""

    def __init__(self) -> None:
        self._prompts: list[pl.DataFrame] = []
        self._responses: list[pl.Series] = []

    def add(self, prompts: pl.DataFrame, responses: pl.Series | None) -> pl.Series:
        """Return which rows have a prompt that a row before them has.

        Args:
            prompts: row_id (String) and prompt (UInt64, null for none) of some rows.
            responses: The texts of their answers, if they are rated feedback.
        """
        if responses is not None:
            self._responses.append(responses.drop_nulls().hash())
        here = prompts.get_column("prompt")
        wanted = here.implode()
        if len(self._prompts) > _PARTS:
            self._prompts = [pl.concat(self._prompts, rechunk=True)]
        before = [part.filter(pl.col("prompt").is_in(wanted)).get_column("prompt") for part in self._prompts]
        self._prompts.append(prompts)
        again = ~here.is_first_distinct()
        if before:
            again |= here.is_in(pl.concat(before).implode())
        return (again & here.is_not_null()).fill_null(value=False).alias("duplicate_prompt")

    def as_dict(self) -> dict[str, Any]:
        """Return how many prompts and answers occur again, and the rows that share a prompt."""
        if not self._prompts:
            return {"prompts": 0, "rows": 0, "groups": []}
        prompts = pl.concat(self._prompts).drop_nulls("prompt")
        groups = (
            prompts.filter(pl.col("prompt").is_duplicated())
            .group_by("prompt", maintain_order=True)
            .agg("row_id")
            .get_column("row_id")
            .to_list()
        )
        found = {"prompts": len(groups), "rows": sum(map(len, groups)) - len(groups), "groups": groups}
        if self._responses:
            responses = pl.concat(self._responses)
            counts = responses.value_counts(name="count").get_column("count")
            found |= {"responses": len(responses) - len(counts), "response_groups": int((counts > 1).sum())}
        return found
