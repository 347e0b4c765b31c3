"""The curated pairs as token ids, on every rank, and what is known of them before anything is trained."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset, Features, Sequence, Value
from pyarrow import parquet

from recipe.progress import Reporter
from recipe.prompt import PairTokenizer
from recipe.schedule import Schedule
from recipe.schema import Recipe

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
    """Return the rows of a curated file as token ids, and what truncation did to them."""
    science = recipe.science
    texts = parquet.read_table(path).to_pylist()
    pairs = [
        chat.pair(
            row["prompt"],
            row["chosen"],
            row["rejected"],
            max_length=science.max_length,
            max_prompt_length=science.max_prompt_length,
        )
        for row in reporter.track(texts, f"tokenizing {path.stem}", len(texts))
    ]
    rows = Dataset.from_list([pair.as_dict() for pair in pairs], features=TOKENIZED)
    means = lengths_of(rows).mean(0) if pairs else np.zeros(3)
    counts = {
        "prompts_cut": sum(pair.prompt_cut > 0 for pair in pairs),
        "answers_cut": sum(pair.answers_cut for pair in pairs),
        "equal_after_cut": sum(pair.chosen_ids == pair.rejected_ids for pair in pairs),
        **{f"mean_{side}_tokens": round(float(mean), 2) for side, mean in zip(SIDES, means, strict=True)},
    }
    return rows, counts


def lengths_of(rows: Dataset) -> Lengths:
    """Return how many tokens each side of each row has."""
    table = rows.with_format("arrow")[:]
    sides = [table.column(f"{side}_ids").combine_chunks() for side in SIDES]
    return np.stack([side.value_lengths().to_numpy().astype(np.int64) for side in sides], axis=1)


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
