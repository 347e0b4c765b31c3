"""How much longer chosen answers are than rejected ones: DPO learns length where its data reward it."""

from typing import Any

import polars as pl

from recipe.curate.tally import Tally

BIN = 0.5  # of the base-2 logarithm of the ratio
_WIDEST = 6.0


class Lengths:
    """Adds up pairs that are used."""

    def __init__(self) -> None:
        self._by_source, self._histogram = Tally("source"), Tally("bin")
        self._logs: list[pl.Series] = []

    def add(self, pairs: pl.DataFrame) -> None:
        """Count pairs: `chosen` and `rejected` (String), `source`."""
        lengths = pairs.select(
            "source",
            chosen=pl.col("chosen").str.len_chars().cast(pl.Int64),
            rejected=pl.col("rejected").str.len_chars().cast(pl.Int64),
        )
        self._by_source.add(
            lengths.group_by("source").agg(
                pl.len().alias("pairs"),
                (pl.col("chosen") > pl.col("rejected")).sum().alias("chosen_longer"),
                (pl.col("chosen") == pl.col("rejected")).sum().alias("equal"),
                pl.col("chosen").sum(),
                pl.col("rejected").sum(),
            )
        )
        # An empty answer counts as one character long: a ratio needs something below.
        ratio = pl.col("chosen").clip(1) / pl.col("rejected").clip(1)
        logs = lengths.select(log=ratio.log(2).clip(-_WIDEST, _WIDEST - BIN))
        self._logs.append(logs.get_column("log").cast(pl.Float32))
        self._histogram.add(logs.group_by(bin=(pl.col("log") / BIN).floor() * BIN).len("count"))

    def as_dict(self) -> dict[str, Any] | None:
        """Return the figures, in characters; None if there are no pairs. A bin is called by its lower end."""
        totals = self._by_source.total()
        if not totals:
            return None
        median = pl.concat(self._logs).median()
        return {
            "pairs": totals["pairs"],
            "chosen_longer": totals["chosen_longer"],
            "equal": totals["equal"],
            "share": _share(totals),
            "mean_chosen": round(totals["chosen"] / totals["pairs"], 1),
            "mean_rejected": round(totals["rejected"] / totals["pairs"], 1),
            "median_ratio": round(2.0**median, 4) if isinstance(median, float) else None,
            "by_source": {name: _share(row) for name, row in self._by_source.by("source").items()},
            "histogram": [[row["bin"], row["count"]] for row in self._histogram.rows()],
        }


def _share(row: dict[str, Any]) -> float:
    return float(round(row["chosen_longer"] / row["pairs"], 6))
