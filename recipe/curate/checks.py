"""Which pairs are used, and the reason why another is not: by columns, the same for every format."""

import polars as pl

from recipe.curate.binarize import CLOSE
from recipe.curate.contamination import LEVELS
from recipe.curate.pair import Reason
from recipe.curate.rules import Rules


def with_reasons(
    pairs: pl.DataFrame, rules: Rules, overlaps: pl.DataFrame | None, thrown_out: pl.Expr
) -> pl.DataFrame:
    """Return `pairs` with the reason why each row that gives none is left out.

    Args:
        pairs: In the columns of `table.PAIRS`, `reason` where there is no pair at all.
        rules: What the recipe leaves out.
        overlaps: row and level of those whose prompt a benchmark has, as `contamination` finds them.
        thrown_out: Whether a person threw the row out.
    """
    reason = pl.coalesce(
        _source(rules),
        _when(thrown_out, Reason.OVERRIDDEN),
        _contaminated(rules, overlaps),
        pl.col("reason"),
        *_useless(rules),
    )
    return pairs.with_columns(reason.alias("reason"))


def _source(rules: Rules) -> pl.Expr:
    source = pl.col("source").fill_null("")
    dropped = source.is_in(rules.drop_sources)
    if rules.only_sources is not None:
        dropped |= ~source.is_in(rules.only_sources)
    return _when(dropped, Reason.SOURCE_LEFT_OUT)


def _contaminated(rules: Rules, overlaps: pl.DataFrame | None) -> pl.Expr:
    if overlaps is None or rules.drop_contaminated == "none":
        return pl.lit(None, pl.String)
    levels = LEVELS[: LEVELS.index(rules.drop_contaminated) + 1]
    rows = overlaps.filter(pl.col("level").is_in(levels)).get_column("row")
    return _when(pl.col("row").is_in(rows.implode()), Reason.CONTAMINATED)


def _useless(rules: Rules) -> list[pl.Expr]:
    """Return what makes a pair one that a model can't learn from, in the order in which the reasons are told."""
    better, worse = pl.col("chosen_rating"), pl.col("rejected_rating")
    last_turn = pl.col("prompt").list.last().struct.field("content")
    found = {
        Reason.EQUAL_RATINGS: (better - worse).abs() < CLOSE,
        Reason.MARGIN_TOO_SMALL: better - worse < rules.min_margin - CLOSE
        if rules.min_margin
        else pl.lit(value=False),
        Reason.EMPTY_PROMPT: blank(last_turn),
        Reason.EMPTY_RESPONSE: blank(pl.col("chosen")) | blank(pl.col("rejected")),
        Reason.EQUAL_ANSWERS: pl.col("chosen") == pl.col("rejected"),
    }
    counted = rules.leave_out | {Reason.MARGIN_TOO_SMALL}
    missing = _when(pl.col("chosen").is_null() | pl.col("rejected").is_null(), Reason.NULL_FIELD)
    return [missing, *(_when(when, reason) for reason, when in found.items() if reason in counted)]


def blank(text: pl.Expr) -> pl.Expr:
    """Whether a text is empty or white space; null for null."""
    return text.str.strip_chars() == ""


def _when(true: pl.Expr, reason: Reason) -> pl.Expr:
    return pl.when(true).then(pl.lit(reason.value))
