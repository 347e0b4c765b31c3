"""What is done to feedback before pairs are made of it, because the recipe asks: scores mended, answers overridden."""

from collections import Counter
from typing import Any

import polars as pl

from recipe.curate.feedback import Chunk
from recipe.curate.rules import Rules

FAULTY_SCORE = 10.0
LOW, HIGH = 2.0, 4.0
"""OpenBMB's classes of a faulty score (UltraFeedback, issue 8), by the mean rating: up to LOW, between, above HIGH."""

CLASSES = ("low", "between", "high", "missing")


def score_class() -> pl.Expr:
    """Return which of `CLASSES` an answer with an overall_score of 10 is in; null for any other score."""
    rating = pl.col("rating")
    found = (
        pl.when(rating.is_null())
        .then(pl.lit("missing"))
        .when(rating <= LOW)
        .then(pl.lit("low"))
        .when(rating <= HIGH)
        .then(pl.lit("between"))
        .otherwise(pl.lit("high"))
    )
    return pl.when(pl.col("overall_score") == FAULTY_SCORE).then(found)


class Corrections:
    """Corrects chunk by chunk, and counts what it did.

    Args:
        rules: Which corrections are asked for.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.fixed: Counter[str] = Counter()

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk as pairs are made of it."""
        if self.rules.fix_scores == "openbmb":
            chunk = self._fix(chunk)
        return chunk

    def _fix(self, chunk: Chunk) -> Chunk:
        """Take an overall_score of 10 at a low mean rating for the 1 that it was; leave those between to people."""
        classes = chunk.answers.select(score_class()).to_series()
        self.fixed.update(dict(classes.drop_nulls().value_counts().iter_rows()))
        score = pl.when(classes == "low").then(1.0).otherwise(pl.col("overall_score"))
        return chunk._replace(answers=chunk.answers.with_columns(score.alias("overall_score")))

    def overlaps(self, prompts: pl.DataFrame) -> pl.DataFrame | None:
        return None

    def refuse_unused(self) -> None:
        pass

    def as_dict(self) -> dict[str, Any]:
        return {"contamination": None, "fixes": None, "overrides": None}
