"""The Open LLM Leaderboard's average, where all seven of its figures are there."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from modelcard.evaluation.benchmarks import AVERAGE, AVERAGE_METRIC
from modelcard.facts.alike import is_whole
from modelcard.facts.scores import By, Dataset, Score
from recipe.evaluate.published import LEADERBOARD, MMLU_SUBJECTS, Benchmark

T = TypeVar("T")


def leaderboard_averages(scores: Sequence[Score]) -> Iterator[Score]:
    """Yield the unweighted mean of the leaderboard's seven figures of each weights that have them all.

    Figures of some samples only, of fewer rows than the benchmark has, of other shots or of some of MMLU's subjects
    make none.
    """
    for weights in dict.fromkeys(score.weights for score in scores):
        of_weights = [score for score in scores if score.weights == weights]
        seven = [score for one in LEADERBOARD if (score := _figure(one, of_weights))]
        if len(seven) == len(LEADERBOARD):
            yield _mean(seven)


def _figure(benchmark: Benchmark, scores: Sequence[Score]) -> Score | None:
    """Return the benchmark's figure, today's before that of 2023."""
    for figure in benchmark.figures:
        for score in scores:
            fits = (score.task, score.metric, score.filter) == figure and score.shots in (
                benchmark.shots,
                None,
            )
            if fits and is_whole(score) and score.parts in (0, MMLU_SUBJECTS):
                return score
    return None


def _mean(seven: Sequence[Score]) -> Score:
    origins = list(dict.fromkeys(score.origin for score in seven))
    spread = [score.stderr for score in seven if score.stderr is not None]
    return Score(
        task=AVERAGE,
        parts=len(seven),
        holds=tuple(dict.fromkeys(name for score in seven for name in (score.task, *score.holds))),
        metric=AVERAGE_METRIC,
        filter="none",
        value=math.fsum(score.value for score in seven) / len(seven),
        # Of figures that don't depend on each other; unknown if one of them is.
        stderr=math.hypot(*spread) / len(seven) if len(spread) == len(seven) else None,
        interval=None,
        samples=None,
        shots=None,
        version=None,
        higher_is_better=True,
        dataset=Dataset(None),
        figures=tuple(seven),
        origin=replace(
            origins[0],
            suite=_alike([origin.suite for origin in origins]),
            by=_alike([origin.by for origin in origins]) or By(origins[0].by.name, None, origins[0].by.url),
            imported=_alike([origin.imported for origin in origins]),
            of_2023=all(origin.of_2023 for origin in origins),
            chat_template=any(origin.chat_template for origin in origins),
            file=", ".join(origin.file for origin in origins),
        ),
    )


def _alike(values: Sequence[T]) -> T | None:
    """Return the value that all are; None if they differ."""
    return values[0] if len(set(values)) == 1 else None
