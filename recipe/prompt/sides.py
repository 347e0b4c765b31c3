"""One side of many pairs, end to end in three arrays: what the rules of `recipe.prompt` cut and compare."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

Integers = npt.NDArray[np.int64]
"""A number a row."""


@dataclass(frozen=True, eq=False)
class Sides:
    """Prompts, or answers: one of each pair. R rows of T tokens in all.

    Attributes:
        ids: int32 (T,), row after row.
        mask: int8 (T,), 1 where later tokens may attend to the token, 0 where none does.
        offsets: int64 (R + 1,), where each row begins, and the last one ends.
    """

    ids: npt.NDArray[np.int32]
    mask: npt.NDArray[np.int8]
    offsets: Integers

    @property
    def lengths(self) -> Integers:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, place: int) -> tuple[list[int], list[int]]:
        """Return the ids and the mask of a row."""
        here = slice(self.offsets[place], self.offsets[place + 1])
        return self.ids[here].tolist(), self.mask[here].tolist()

    def parts(self, rows: Sequence[int]) -> list["Sides"]:
        """Return the first so many rows, the next so many, ..."""
        found, begin = [], 0
        for count in rows:
            offsets = self.offsets[begin : begin + count + 1]
            here = slice(offsets[0], offsets[-1])
            found.append(Sides(self.ids[here], self.mask[here], offsets - offsets[0]))
            begin += count
        return found

    def cut(self, first: Integers | int, kept: Integers) -> "Sides":
        """Return of each row `kept` tokens from its token `first` on; it has to have as many."""
        offsets = _offsets(kept)
        places = np.repeat(self.offsets[:-1] + first - offsets[:-1], kept) + np.arange(offsets[-1])
        return Sides(self.ids[places], self.mask[places], offsets)

    def followed_by(self, token: int, which: npt.NDArray[np.bool_]) -> "Sides":
        """Return the rows with one more token at the end, which is attended to, where `which` is true."""
        ends = self.offsets[1:][which]
        return Sides(
            np.insert(self.ids, ends, token),
            np.insert(self.mask, ends, 1),
            self.offsets + np.concatenate([[0], np.cumsum(which)]),
        )

    def shared_with(self, other: "Sides") -> Integers:
        """Return how many tokens each row and the other's have in common from the beginning."""
        shorter = np.minimum(self.lengths, other.lengths)
        mine, others = self.cut(0, shorter), other.cut(0, shorter)
        return np.minimum(mine.until(np.flatnonzero(mine.ids != others.ids)), shorter)

    def until(self, places: Integers, first: Integers | int = 0) -> Integers:
        """Return how many tokens each row has from its token `first` on to the next of some places.

        Args:
            places: Of `ids`, ascending.
            first: Of each row.

        Returns:
            Tokens before the next place, of all that follow; more than the row has if the place is not in it.
        """
        begin = self.offsets[:-1] + first
        following: Integers = np.append(places, len(self.ids) + 1)[np.searchsorted(places, begin)]
        return following - begin


def encode(backend: Tokenizer, texts: Sequence[str]) -> Sides:
    """Tokenize texts, each on its own and all at once, without the tokenizer's template; every token is seen."""
    found = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    offsets = _offsets(np.fromiter(map(len, found), np.int64, len(found)))
    each = itertools.chain.from_iterable(one.ids for one in found)
    ids = np.fromiter(each, np.int32, int(offsets[-1]))
    return Sides(ids, np.ones(len(ids), np.int8), offsets)


def _offsets(lengths: Any) -> Integers:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
