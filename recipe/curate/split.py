"""Which pairs are trained on and which are held out, in which order: as `datasets` has it."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from recipe.errors import UserError

T = TypeVar("T")


def shuffle(items: Sequence[T], seed: int) -> list[T]:
    """Return `items` in the order of `datasets.Dataset.shuffle(seed)`."""
    return [items[place] for place in np.random.default_rng(seed).permutation(len(items))]


def split(items: Sequence[T], test_size: int, seed: int) -> tuple[list[T], list[T]]:
    """Shuffle `items` and split them into train and held-out.

    The same as `datasets.Dataset.shuffle(seed).train_test_split(test_size, seed=seed)`: with p and q the
    permutations drawn by two generators of one seed, held-out is p[q[:test_size]], train p[q[test_size:]].

    Raises:
        UserError: `test_size` is not at least 1 and less than the number of items.
    """
    if not 0 < test_size < len(items):
        raise UserError(
            f"test_size {test_size}, usable rows {len(items)}: each part needs some; change test_size"
        )
    twice = shuffle(shuffle(items, seed), seed)
    return twice[test_size:], twice[:test_size]
