"""The pairs as a table: in columns while they are made, in Parquet, in the run's order, once they are."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from recipe.curate.digest import short_id
from recipe.curate.pair import Pair, Turn

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

TURNS = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))

PAIRS: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.Int64,
    "line": pl.Int64,
    "row_id": pl.String,
    "prompt": TURNS,
    "chosen": pl.String,
    "rejected": pl.String,
    "source": pl.String,
    "chosen_model": pl.String,
    "rejected_model": pl.String,
    "chosen_rating": pl.Float64,
    "rejected_rating": pl.Float64,
    "reason": pl.String,
}
"""Rows while pairs are made of them: the row's number over all files, its line and id, the pair, and why it is none."""

_ROW_GROUP = 4096  # rows that are turned into Arrow at a time
_HELD = 1 << 17  # pairs that wait in memory
_BUCKET = 1 << 15  # pairs that are put in order at a time where they do not


def with_pair_ids(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `id` and `prompt_id`, over the texts of the pair and of its prompt: 16 hex digits each."""
    turn = pl.element().struct
    # The length of a role and of a text says where it ends, so that no other turns give the same.
    turns = pl.col("prompt").list.eval(
        pl.concat_str(
            turn.field("role"),
            pl.lit(":"),
            turn.field("content").str.len_bytes().cast(pl.String),
            pl.lit(":"),
            turn.field("content"),
        )
    )
    pairs = pairs.with_columns(short_id(turns.list.join("")).alias("prompt_id"))
    return pairs.with_columns(short_id(pl.col("prompt_id"), pl.col("chosen"), pl.col("rejected")).alias("id"))


def to_arrow(pairs: pl.DataFrame) -> pa.Table:
    """Return pairs in the columns and types of `SCHEMA`."""
    return pairs.select(SCHEMA.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SCHEMA)


def pairs_from(table: pl.DataFrame) -> Iterator[Pair]:
    """Yield the rows of a table of pairs one by one."""
    for row in table.select(name for name in SCHEMA.names if name != "id").iter_rows(named=True):
        prompt = tuple(Turn(turn["role"], turn["content"]) for turn in row.pop("prompt"))
        yield Pair(prompt, **row)


def columns_of(pair: Pair) -> dict[str, object]:
    """Return the columns of `PAIRS` that a pair fills."""
    values = {name: getattr(pair, name) for name in PAIRS if hasattr(pair, name)}
    return values | {"prompt": [turn._asdict() for turn in pair.prompt]}


def write_pairs(pairs: Sequence[Pair], path: Path) -> None:
    """Write pairs that are there already, in their order."""
    table = to_arrow(with_pair_ids(pl.DataFrame([columns_of(pair) for pair in pairs], schema=PAIRS)))
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for start in range(0, table.num_rows, _ROW_GROUP):
            writer.write_table(table.slice(start, _ROW_GROUP))


class PairsFile:
    """Pairs in the order of their files, until it is known in which order the run wants them.

    A UltraFeedback's worth is kept in memory, more on disk.

    Args:
        folder: Where it may make files of its own.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._path = folder / "pairs.arrow"
        self._held: list[pa.Table] = []
        self._writer: ipc.RecordBatchStreamWriter | None = None
        self.count = 0

    def add(self, pairs: pl.DataFrame) -> None:
        """Append pairs."""
        self._held.append(to_arrow(pairs))
        self.count += len(pairs)
        if self.count > _HELD:
            if self._writer is None:
                self._writer = _stream(self._path, SCHEMA)
            while self._held:
                self._writer.write_table(self._held.pop(0))

    def write(self, order: Sequence[int], path: Path) -> None:
        """Write the pairs numbered by `order`, in that order, to `path`: the same bytes for the same pairs."""
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for bucket in self._in_order(np.asarray(order, dtype=np.int64)):
                for start in range(0, len(bucket), _ROW_GROUP):
                    writer.write_table(to_arrow(bucket[start : start + _ROW_GROUP]))

    def _in_order(self, order: npt.NDArray[np.int64]) -> Iterator[pl.DataFrame]:
        if self._writer is None:
            held = pl.DataFrame(pl.from_arrow(pa.concat_tables(self._held)))
            for start in range(0, len(order), _ROW_GROUP):
                yield held[order[start : start + _ROW_GROUP]]
        else:
            self._writer.close()
            yield from self._from_buckets(order)

    def _from_buckets(self, order: npt.NDArray[np.int64]) -> Iterator[pl.DataFrame]:
        """Deal the pairs out to files, each of which is put in order by itself."""
        places = np.full(self.count, -1)
        places[order] = np.arange(len(order))
        schema = SCHEMA.append(pa.field("place", pa.int64()))
        count = -(-len(order) // _BUCKET)
        paths = [self._path.with_name(f"bucket-{number}.arrow") for number in range(count)]
        writers = [_stream(path, schema) for path in paths]
        start = 0
        for batch in _batches(self._path):
            its = places[start : start + batch.num_rows]
            table = pa.Table.from_batches([batch]).append_column(schema.field("place"), pa.array(its))
            for number in np.unique(its[its >= 0] // _BUCKET):
                mine = pa.array((its >= 0) & (its // _BUCKET == number))
                writers[number].write_table(table.filter(mine))
            start += batch.num_rows
        for writer in writers:
            writer.close()
        for path in paths:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches(_batches(path)))).sort("place")
            path.unlink()


def _stream(path: Path, schema: pa.Schema) -> ipc.RecordBatchStreamWriter:
    return ipc.new_stream(path, schema, options=ipc.IpcWriteOptions(compression="lz4"))


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as file, ipc.open_stream(file) as batches:
        yield from batches
