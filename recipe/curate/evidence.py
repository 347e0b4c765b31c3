"""The table of rated feedback beside the pairs: every answer with its marks and critique, and what was chosen."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from recipe.curate.batches import Batch
from recipe.curate.feedback import nested

NAME = "feedback.parquet"
SIDES = ("chosen", "rejected")


class FeedbackFile:
    """Writes batches as one row a prompt, its answers as a list.

    Columns: row, id, file, line, source, instruction, completions (a list of model, response, critique, overall_score,
    rating, aspects), chosen and rejected (places among them, null if there is no pair), chosen_other (what the other
    rule chooses), reason, flags. Scores are those of the data: what a fix or an override changed shows in the choice.

    Args:
        path: Where to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: pq.ParquetWriter | None = None

    def add(self, batch: Batch, file: str, flags: pl.Series, *, by_ratings: bool) -> None:
        """Append a batch that is rated feedback."""
        assert batch.chunk is not None
        assert batch.picks is not None
        answers = batch.chunk.answers
        lists = nested(answers)
        empty = pl.lit([], dtype=lists.schema["completions"])
        table = (
            batch.chunk.rows.with_columns(flags)
            .join(lists, on="row", how="left", maintain_order="left")
            .join(batch.picks.drop("reason"), on="row", maintain_order="left")
            .join(batch.pairs.select("row", "reason"), on="row", maintain_order="left")
            .select(
                "row",
                "id",
                pl.lit(file).alias("file"),
                "line",
                "source",
                "instruction",
                pl.col("completions").fill_null(empty),
                *(
                    pl.when(pl.col("reason").is_null()).then(pl.col(side)).cast(pl.Int16).alias(side)
                    for side in SIDES
                ),
                pl.col("by_score" if by_ratings else "by_ratings").cast(pl.Int16).alias("chosen_other"),
                "reason",
                "flags",
            )
            .to_arrow(compat_level=pl.CompatLevel.oldest())
        )
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()
