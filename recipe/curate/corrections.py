"""What is done to feedback before pairs are made of it, because the recipe asks: scores mended, answers overridden."""

from typing import Any

import polars as pl

from recipe.curate.feedback import Chunk, nested, unnested
from recipe.curate.overrides import Overrides, apply, offered, read_overrides, refuse_unknown
from recipe.curate.rules import Rules

FAULTY_SCORE, FIXED_SCORE = 10.0, 1.0
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

    Raises:
        UserError: The overrides are not as they have to be.
    """

    def __init__(self, rules: Rules) -> None:
        self.fixing = rules.fix_scores == "openbmb"
        self.overrides = None if rules.overrides is None else read_overrides(rules.overrides)
        self._classes: list[pl.DataFrame] = []
        self._offered: dict[str, int] = {}
        self._rows = self._completions = self._left_out = 0

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk as pairs are made of it: fixed by the rule first, then as people have it.

        Raises:
            UserError: An override is for an aspect that there is not.
        """
        if self.fixing:
            chunk = self._fix(chunk)
        return chunk if self.overrides is None else self._override(chunk, self.overrides)

    def left_out(self, pairs: pl.DataFrame) -> pl.Expr:
        """Return whether a person threw a row of `pairs` out, by `row_id`, and remember that the row is there."""
        if self.overrides is None:
            return pl.lit(value=False)
        known = pairs.filter(pl.col("row_id").is_in(self.overrides.ids)).get_column("row_id")
        self._offered = dict.fromkeys(known, 0) | self._offered
        thrown_out = pl.col("row_id").is_in(self.overrides.left_out)
        self._left_out += len(pairs.filter(thrown_out))
        return thrown_out

    def refuse_unused(self) -> None:
        """Raise UserError if a row or a completion that is overridden was nowhere in the data."""
        if self.overrides is not None:
            refuse_unknown(self.overrides, self._offered)

    def as_dict(self) -> dict[str, Any]:
        """Return what was done, for the audit; null for what was not asked for."""
        return {"fixes": self._fixes() if self.fixing else None, "overrides": self._overridden()}

    def _fix(self, chunk: Chunk) -> Chunk:
        """Take an overall_score of 10 at a low mean rating for the 1 that it was; leave those between to people."""
        answers = chunk.answers.with_columns(score_class().alias("class"))
        faulty = answers.filter(pl.col("class").is_not_null()).select("row", "place", "class")
        self._classes.append(faulty.join(chunk.rows.select("row", "id"), on="row", maintain_order="left"))
        score = pl.when(pl.col("class") == "low").then(FIXED_SCORE).otherwise(pl.col("overall_score"))
        return chunk._replace(answers=answers.with_columns(score.alias("overall_score")).drop("class"))

    def _override(self, chunk: Chunk, overrides: Overrides) -> Chunk:
        rows = chunk.rows.select("row", "id").filter(pl.col("id").is_in(overrides.ids))
        if rows.is_empty():
            return chunk
        mine, others = (chunk.answers.join(rows, on="row", how=how) for how in ("semi", "anti"))
        lists = rows.join(nested(mine), on="row", how="left", maintain_order="left")
        self._offered |= offered(lists, overrides)
        self._rows += len(lists.filter(pl.col("id").is_in(list(overrides.completions))))
        self._completions += sum(len(overrides.completions.get(one, ())) for one in lists["id"])
        changed = unnested(apply(lists, overrides).drop_nulls("completions")).select(others.columns)
        return chunk._replace(answers=pl.concat([others, changed]).sort("row", "place"))

    def _fixes(self) -> dict[str, Any]:
        table = (
            pl.concat(self._classes)
            if self._classes
            else pl.DataFrame(schema={"id": pl.String, "class": pl.String})
        )
        ids = dict(table.group_by("class", maintain_order=True).agg("id").iter_rows())
        to_1, kept = ids.get("low", []), ids.get("high", [])
        to_annotate = [*ids.get("between", []), *ids.get("missing", [])]
        return {
            "rule": "openbmb",
            "to_1": len(to_1),
            "kept": len(kept),
            "to_annotate": len(to_annotate),
            "ids": {"to_1": to_1, "kept": kept, "to_annotate": to_annotate},
        }

    def _overridden(self) -> dict[str, Any] | None:
        if self.overrides is None:
            return None
        return {"rows": self._rows, "completions": self._completions, "left_out": self._left_out}
