"""The curated pairs as token ids, on every rank, and what is known of them before anything is trained."""

import functools
import hashlib
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset, DatasetInfo, Features, Sequence, Value
from datasets.table import InMemoryTable
from pyarrow import parquet

from recipe.progress import Reporter
from recipe.prompt import PairTokenizer, Texts, TokenizedPairs
from recipe.schedule import Schedule
from recipe.schema import Recipe

T = TypeVar("T")
R = TypeVar("R")

BATCH = 512  # pairs: enough for all cores, and few beside all
SIDES = ("prompt", "chosen", "rejected")
# Small numbers: there are 180 million tokens and masks at full size, on every rank.
TOKENIZED = Features(
    {
        f"{side}_{what}": Sequence(Value(dtype))
        for side in SIDES
        for what, dtype in (("ids", "int32"), ("mask", "int8"))
    }
)
Lengths = npt.NDArray[np.int64]
"""Tokens of prompt, chosen and rejected: (rows, 3)."""


def tokenize(
    path: Path, chat: PairTokenizer, recipe: Recipe, reporter: Reporter
) -> tuple[Dataset, dict[str, Any]]:
    """Return the rows of a curated file as token ids, and what truncation did to them.

    Raises:
        UserError: The chat template refuses a conversation.
    """
    science = recipe.science
    rule = functools.partial(
        chat.pairs, max_length=science.max_length, max_prompt_length=science.max_prompt_length
    )
    with parquet.ParquetFile(path) as file:
        rows, found = file.metadata.num_rows, Counter[str]()
        batches = []
        with reporter.bar(f"tokenizing {path.stem}", rows) as bar:
            for pairs in _ahead(rule, texts_of(file)):
                batches.append(_batch(pairs))
                found += _counts(pairs)
                bar.advance(len(pairs))
    table = pa.Table.from_batches(batches, TOKENIZED.arrow_schema).combine_chunks()
    means = {f"mean_{side}_tokens": round(found[f"{side}_tokens"] / max(1, rows), 2) for side in SIDES}
    cut = {name: found[name] for name in ("prompts_cut", "answers_cut", "equal_after_cut")}
    return as_dataset(table), cut | means


def as_dataset(table: pa.Table) -> Dataset:
    """Return a table of TOKENIZED as a data set, in the table's own memory."""
    # A fingerprint of its own: Datasets would hash all that it holds, for caches that nothing here uses.
    return Dataset(InMemoryTable(table), DatasetInfo(features=TOKENIZED), fingerprint=uuid.uuid4().hex)


def texts_of(file: parquet.ParquetFile) -> Iterator[list[Texts]]:
    """Yield the texts of a curated file, batch by batch."""
    for batch in file.iter_batches(BATCH, columns=list(Texts._fields)):
        columns = (batch.column(name).to_pylist() for name in Texts._fields)
        yield [Texts(*row) for row in zip(*columns, strict=True)]


def _ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield the work done on each of some items in their order, two at a time.

    So that the tokenizer's threads, which are many and need no Python, have the next batch when one is through.
    """
    with ThreadPoolExecutor(2) as pool:
        begun: deque[Future[R]] = deque()
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > 2:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def _batch(pairs: TokenizedPairs) -> pa.RecordBatch:
    """Return pairs as a batch of TOKENIZED, in their own memory."""
    columns = []
    for side in (pairs.prompt, pairs.chosen, pairs.rejected):
        offsets = pa.array(side.offsets.astype(np.int32))
        columns += [pa.ListArray.from_arrays(offsets, pa.array(values)) for values in (side.ids, side.mask)]
    return pa.RecordBatch.from_arrays(columns, schema=TOKENIZED.arrow_schema)


def _counts(pairs: TokenizedPairs) -> Counter[str]:
    chosen, rejected = pairs.chosen, pairs.rejected
    equal = (chosen.lengths == rejected.lengths) & (chosen.shared_with(rejected) == chosen.lengths)
    return Counter(
        {
            "prompts_cut": int((pairs.prompt_cut > 0).sum()),
            "answers_cut": int(pairs.answers_cut.sum()),
            "equal_after_cut": int(equal.sum()),
            **{f"{side}_tokens": len(getattr(pairs, side).ids) for side in SIDES},
        }
    )


def lengths_of(rows: Dataset) -> Lengths:
    """Return how many tokens each side of each row has."""
    table = rows.with_format("arrow")[:]
    sides = [table.column(f"{side}_ids").combine_chunks() for side in SIDES]
    return np.stack([side.value_lengths().to_numpy().astype(np.int64) for side in sides], axis=1)


def arrays_of(rows: Dataset, places: Collection[int]) -> list[dict[str, npt.NDArray[Any]]]:
    """Return some rows as `Dataset` does, but their columns as arrays: no Python number a token."""
    table = rows.with_format("arrow")[list(places)]
    found: list[dict[str, npt.NDArray[Any]]] = [{} for _ in places]
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        values, lengths = column.flatten().to_numpy(), column.value_lengths().to_numpy()
        for row, end, length in zip(found, lengths.cumsum(dtype=np.int64), lengths, strict=True):
            row[name] = values[end - length : end]
    return found


def sha256_of(rows: Dataset) -> str:
    """Return the sha256 (hex) of all token ids and masks, and of where each row ends."""
    table, found = rows.with_format("arrow")[:], hashlib.sha256()
    for name in TOKENIZED:
        column = table.column(name).combine_chunks()
        for part in (column.value_lengths(), column.flatten()):
            found.update(part.to_numpy(zero_copy_only=False).tobytes())
    return found.hexdigest()


def tokens_a_pair(lengths: Lengths, schedule: Schedule) -> dict[str, float]:
    """Return how many tokens a pair of the run is, mean over all that it sees, by the way it is laid.

    Args:
        lengths: Of the training rows.
        schedule: Which of them are seen, in what order.

    Returns:
        `prompt_once`; `prompt_twice`, as two sequences; `padded`, as two sequences as long as the longest one of the
        micro-batch that the recipe was written for.
    """
    places = schedule.places()
    rows = lengths[[place.row for place in places]]
    seen = np.array([place.weight > 0 for place in places])
    longest = (rows[:, 0] + rows[:, 1:].max(1)).reshape(-1, schedule.batch_size).max(1)
    prompt, chosen, rejected = rows[seen].mean(0)
    return {
        "prompt_once": round(float(prompt + chosen + rejected), 2),
        "prompt_twice": round(float(2 * prompt + chosen + rejected), 2),
        "padded": round(float(2 * longest.repeat(schedule.batch_size)[seen].mean()), 2),
    }
