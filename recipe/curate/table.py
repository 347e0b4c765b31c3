"""The pairs as a Parquet table, the same bytes for the same pairs."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recipe.curate.pair import Pair

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field(
            "prompt",
            pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])),
            nullable=False,
        ),
        pa.field("chosen", pa.string(), nullable=False),
        pa.field("rejected", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("chosen_model", pa.string()),
        pa.field("rejected_model", pa.string()),
        pa.field("chosen_rating", pa.float64()),
        pa.field("rejected_rating", pa.float64()),
    ]
)

_ROW_GROUP = 4096  # rows that are turned into Arrow at a time


def write_pairs(pairs: Sequence[Pair], path: Path) -> None:
    """Write `pairs` to `path` in their order."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for start in range(0, len(pairs), _ROW_GROUP):
            rows = [_row(pair) for pair in pairs[start : start + _ROW_GROUP]]
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))


def _row(pair: Pair) -> dict[str, object]:
    prompt = [turn._asdict() for turn in pair.prompt]
    return {name: prompt if name == "prompt" else getattr(pair, name) for name in SCHEMA.names}
