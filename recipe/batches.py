"""Training rows as batches: padded, in the order of the schedule."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset as TorchDataset

from recipe.schedule import Schedule

Batch = dict[str, torch.Tensor]
Row = dict[str, Any]


class PairCollator:
    """Lays rows of token ids as one batch: the chosen sides first, then the rejected ones.

    Args:
        pad_token_id: Fills up on the right, where the mask is 0.
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return the batch of `rows`.

        Args:
            rows: Each with `prompt_ids`, `chosen_ids`, `rejected_ids`, their `..._mask`, and perhaps a `weight`, its
                place among the training rows as `row`, and a `reference`.

        Returns:
            `input_ids`, `attention_mask` and `completion_mask`, int64 of shape (2 * rows, tokens), `weight`, float32
            of shape (rows,), `row`, int64 of shape (rows,), and perhaps `reference`, as `references` has it.
        """
        sides = [(row, side) for side in ("chosen", "rejected") for row in rows]
        return {
            "input_ids": _padded(
                [row["prompt_ids"] + row[f"{side}_ids"] for row, side in sides], self.pad_token_id
            ),
            "attention_mask": _padded([row["prompt_mask"] + row[f"{side}_mask"] for row, side in sides], 0),
            "completion_mask": _padded(
                [[0] * len(row["prompt_ids"]) + [1] * len(row[f"{side}_ids"]) for row, side in sides], 0
            ),
            "weight": torch.tensor([row.get("weight", 1.0) for row in rows], dtype=torch.float32),
            "row": places_of(rows),
            **references(rows),
        }


def places_of(rows: Sequence[Row]) -> torch.Tensor:
    """Return which training rows these are, int64 of shape (rows,); -1 where a row does not know."""
    return torch.tensor([row.get("row", -1) for row in rows], dtype=torch.long)


def references(rows: Sequence[Row]) -> Batch:
    """Return `reference`, the answers' summed log-probabilities under the base, where rows know them.

    Returns:
        float64 of shape (2 * rows,), the chosen ones first; nothing where rows don't know them.
    """
    known = [row["reference"] for row in rows if "reference" in row]
    return {"reference": torch.tensor(np.array(known), dtype=torch.float64).T.flatten()} if known else {}


class ScheduledRows(TorchDataset[dict[str, Any]]):
    """The rows of the optimizer steps after the first `done`, one by one, each with the weight of its place."""

    def __init__(self, rows: Dataset, schedule: Schedule, done: int = 0) -> None:
        self.rows = rows
        self.places = schedule.places()[done * schedule.global_batch_size :]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row, weight = self.places[place].row, self.places[place].weight
        return {**self.rows[row], "weight": weight, "row": row}


def _padded(rows: Sequence[list[int]], fill: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], True, fill)
