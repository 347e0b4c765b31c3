"""Which of a row's rated answers is chosen and which rejected, as column operations over all rows at once.

The rules are those of argilla/ultrafeedback-binarized-preferences: chosen is the answer with the highest mean of the
aspect ratings, rejected a random one of those rated lower, as in the Zephyr paper. `overall_score` in place of the
mean gives Zephyr's HuggingFaceH4/ultrafeedback_binarized.
"""

import polars as pl

from recipe.curate.digest import sha256
from recipe.curate.feedback import Chunk
from recipe.curate.pair import Reason
from recipe.curate.rules import SCORE_OF, Rules

CLOSE = 1e-9
"""What ratings differ by that are the same: they are means, and 4 1/3 less 3 1/3 is a little less than 1."""
DRAWN = ("random", "other")
"""The ways to reject that draw."""

_DRAW = 15  # hex digits of a draw: 60 bits, within a 64-bit integer


def pick(chunk: Chunk, rules: Rules) -> pl.DataFrame:
    """Return the choice in each row of `chunk`, in its order.

    Of several best answers the first in the row is chosen; `lowest` and `next` take the first of several too. The
    random rejected one is drawn by a seed made of the recipe's and the row's texts, so that it stays the same wherever
    the row stands, and whatever else is rated how. `other` draws among all others, equal ones too.

    Args:
        chunk: Rows and answers, with the scores that count.
        rules: By what, which one is rejected, by how much it has to be worse.

    Returns:
        row; by_ratings and by_score (Int64: the place of the best answer under each, null if there is no better and
        worse one); chosen, rejected (Int64, null if there is no pair), reason (String, why there is none).
    """
    column = SCORE_OF[rules.by]
    marks = chunk.answers.select("row", "place", comparable(pl.col("rating", "overall_score")))
    ends = {name: _ends(marks, name) for name in ("rating", "overall_score")}
    mine = ends[column].select("row", "rated", "top", "low", best="first")
    worse = _rejectable(marks.join(mine, on="row", maintain_order="left"), column, rules)
    rows = chunk.rows.select("row", "id")
    parts = (mine, worse, _decided(ends["rating"], "by_ratings"), _decided(ends["overall_score"], "by_score"))
    for part in parts:
        rows = rows.join(part, on="row", how="left", maintain_order="left")
    rejectable = pl.col("rejectable").list
    many = rejectable.len().fill_null(0)
    place = _draw(rules.seed) % pl.max_horizontal(many, 1) if rules.rejected in DRAWN else pl.lit(0)
    pair = pl.col("reason").is_null()
    return rows.with_columns(_reason(rules).alias("reason")).select(
        "row",
        "by_ratings",
        "by_score",
        pl.when(pair).then(pl.col("best")).alias("chosen"),
        pl.when(pair).then(rejectable.get(place, null_on_oob=True)).alias("rejected"),
        "reason",
    )


def pairs_of(chunk: Chunk, picks: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Return a pair for each row of `chunk`, in the columns of `table.PAIRS`; its texts are null if there is none."""
    column = SCORE_OF[rules.by]
    rows = chunk.rows.join(
        picks.select("row", "chosen", "rejected", "reason"), on="row", maintain_order="left"
    )
    for side in ("chosen", "rejected"):
        answers = chunk.answers.select(
            "row",
            pl.col("place").alias(side),
            pl.col("response").alias(f"{side}_response"),
            pl.col("model").alias(f"{side}_model"),
            pl.col(column).alias(f"{side}_rating"),
        )
        rows = rows.join(answers, on=["row", side], how="left", maintain_order="left")
    invalid = pl.col("notes").list.contains(Reason.INVALID_UNICODE.value)
    prompt = pl.concat_list(pl.struct(pl.lit("user").alias("role"), pl.col("instruction").alias("content")))
    missing = pl.col("instruction").is_null() | pl.col("notes").list.contains("null_completions")
    return rows.select(
        "row",
        "line",
        pl.col("id").alias("row_id"),
        pl.when(pl.col("instruction").is_not_null()).then(prompt).alias("prompt"),
        pl.col("chosen_response").alias("chosen"),
        pl.col("rejected_response").alias("rejected"),
        "source",
        "chosen_model",
        "rejected_model",
        "chosen_rating",
        "rejected_rating",
        pl.when(missing)
        .then(pl.lit(Reason.NULL_FIELD.value))
        .when(pl.col("reason").is_not_null())
        .then(pl.col("reason"))
        .when(invalid)
        .then(pl.lit(Reason.INVALID_UNICODE.value))
        .alias("reason"),
    )


def comparable(marks: pl.Expr) -> pl.Expr:
    """Return marks without the last digits of a mean, in which the order of its summands may show."""
    return marks.round(9)


def _ends(marks: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return of each row how many answers are rated, the best and the worst mark, and the first place of the best."""
    score = pl.col(column)
    ends = marks.group_by("row").agg(rated=score.count(), top=score.max(), low=score.min())
    best = marks.join(ends, on="row").filter(score == pl.col("top"))
    return ends.join(best.group_by("row").agg(first=pl.col("place").min()), on="row", how="left")


def _decided(ends: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the first place of the best, as `name`, of the rows that have a worse one too."""
    return ends.filter(pl.col("low") < pl.col("top")).select("row", pl.col("first").alias(name))


def _rejectable(marks: pl.DataFrame, column: str, rules: Rules) -> pl.DataFrame:
    """Return of each row the places that may be rejected, the one that is, unless it is drawn, first."""
    score, top = pl.col(column), pl.col("top")
    worse = pl.col("place") != pl.col("best") if rules.rejected == "other" else score < top
    found = marks.filter(worse & (top - score >= rules.min_margin - CLOSE))
    if rules.rejected not in DRAWN:
        found = found.sort("row", column, descending=[False, rules.rejected == "next"], maintain_order=True)
    return found.group_by("row", maintain_order=True).agg(pl.col("place").alias("rejectable"))


def _reason(rules: Rules) -> pl.Expr:
    """Return why a row gives no pair, by `rated`, `low`, `top` and `rejectable`."""
    equal = pl.lit(value=False) if rules.rejected == "other" else pl.col("low") == pl.col("top")
    return (
        pl.when(pl.col("rated").fill_null(0) < 2)
        .then(pl.lit(Reason.TOO_FEW_COMPLETIONS.value))
        .when(equal)
        .then(pl.lit(Reason.EQUAL_RATINGS.value))
        .when(pl.col("rejectable").is_null())
        .then(pl.lit(Reason.MARGIN_TOO_SMALL.value))
    )


def _draw(seed: int) -> pl.Expr:
    text = pl.concat_str(pl.lit(f"{seed}:"), pl.col("id"))
    return sha256(text).str.head(_DRAW).str.to_integer(base=16)
