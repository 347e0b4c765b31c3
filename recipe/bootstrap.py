"""Confidence intervals of means over rows: the percentile bootstrap, several columns over the same draws.

`scipy.stats.bootstrap` would do a column at a time; drawn together, columns stay paired, and a resample's means are one
product of matrices.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 42
CELLS = 2**21  # of a chunk of resamples: resamples x rows, 16 MiB each array

Values = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A mean, and the interval of its bootstrap distribution that holds `LEVEL` of it."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside of it."""
        return self.low > 0 or self.high < 0


def intervals(values: Values, *, resamples: int = RESAMPLES, seed: int = SEED) -> list[Interval]:
    """Return the mean of each column, with its interval; the same values give the same ones.

    Args:
        values: Shape (rows, columns), at least one row. A resample draws rows, with all their columns.
        resamples: How many.
        seed: Of the draws.
    """
    means = resampled_means(values, resamples, seed)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return [Interval(*map(float, each)) for each in zip(values.mean(0), low, high, strict=True)]


def resampled_means(values: Values, resamples: int, seed: int) -> Values:
    """Return the means of each resample's rows, float64 of shape (resamples, columns)."""
    rows, draw = len(values), np.random.default_rng(seed)
    chunk = max(1, CELLS // rows)
    means = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = draw.integers(0, rows, (size, rows)) + rows * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
        means.append(times.astype(np.float64) @ values / rows)
    return np.concatenate(means)
