"""A data folder's rows in the one shape that the page is made of, a batch at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recipe.curate.pair import prompt_text
from recipe.errors import UserError

_BATCH = 2048  # rows in memory at a time: some 20 MB of text
_NEEDED = frozenset(
    {"row", "id", "file", "line", "source", "instruction", "completions"}
    | {"chosen", "rejected", "chosen_other", "reason", "flags"}
)


class Rows:
    """The rows of `feedback.parquet`, or, where the feedback was no rated completions, of the pairs.

    A pair becomes a row with two completions, the chosen one and the rejected one.

    Args:
        folder: A run's data folder.

    Raises:
        UserError: The folder has neither, or a file is broken.
    """

    def __init__(self, folder: Path) -> None:
        feedback = folder / "feedback.parquet"
        self.raw = feedback.is_file()
        paths = [feedback] if self.raw else [folder / "train.parquet", folder / "heldout.parquet"]
        if not paths[0].is_file():
            raise UserError(f"{folder}: no feedback.parquet and no train.parquet; run `notus curate` first")
        self.files = [(path, _open(path)) for path in paths if path.is_file()]
        self.count: int = sum(file.metadata.num_rows for _, file in self.files)
        missing = _NEEDED - set(self.files[0][1].schema_arrow.names) if self.raw else set()
        if missing:
            raise UserError(f"{feedback}: no column {min(missing)!r}; run `notus curate` again")

    def batches(self) -> Iterator[Any]:
        """Yield Arrow record batches with the columns of `feedback.parquet`.

        Raises:
            UserError: A file is broken.
        """
        seen = 0
        for path, file in self.files:
            line = 1
            try:
                for batch in file.iter_batches(batch_size=_BATCH):
                    yield batch if self.raw else _as_feedback(batch, path.name, seen, line)
                    seen, line = seen + batch.num_rows, line + batch.num_rows
            except (pa.ArrowException, OSError) as error:
                raise _broken(path, error) from error


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path, pre_buffer=False)  # row groups may be as large as the file
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be read ({str(error).splitlines()[0]}); run `notus curate` again")


def _as_feedback(pairs: Any, file: str, seen: int, line: int) -> Any:
    """Return pairs as rows of feedback; numbers count from `seen` (all rows) and `line` (the file's)."""
    count = pairs.num_rows
    both = np.arange(2 * count).reshape(2, count).T.ravel()  # chosen, rejected, chosen, rejected, ...
    nothing = pa.nulls(2 * count, pa.float64())

    def answers(chosen: str, rejected: str) -> Any:
        return pa.concat_arrays([pairs.column(chosen), pairs.column(rejected)]).take(pa.array(both))

    completions = pa.StructArray.from_arrays(
        [
            answers("chosen_model", "rejected_model"),
            answers("chosen", "rejected"),
            nothing.cast(pa.string()),
            nothing,
            answers("chosen_rating", "rejected_rating"),
            pa.array([{}] * (2 * count), pa.struct([])),
        ],
        ["model", "response", "critique", "overall_score", "rating", "aspects"],
    )
    columns = {
        "row": pa.array(np.arange(seen, seen + count)),
        "id": pairs.column("id"),
        "file": pa.array([file] * count),
        "line": pa.array(np.arange(line, line + count)),
        "source": pairs.column("source"),
        "instruction": pa.array(map(prompt_text, pairs.column("prompt").to_pylist()), pa.string()),
        "completions": pa.ListArray.from_arrays(np.arange(0, 2 * count + 1, 2, dtype=np.int32), completions),
        "chosen": pa.array(np.zeros(count, np.int8)),
        "rejected": pa.array(np.ones(count, np.int8)),
        "chosen_other": pa.nulls(count, pa.int8()),
        "reason": pa.nulls(count, pa.string()),
        "flags": pa.array([[]] * count, pa.list_(pa.string())),
    }
    return pa.RecordBatch.from_pydict(columns)
