"""What is odd about feedback and is left as it is: counted by name, row by row."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from recipe.curate.checks import blank
from recipe.curate.corrections import CLASSES, score_class
from recipe.curate.feedback import Chunk

SPECIAL_TOKENS: Sequence[str] = (
    "</s>",
    "<s>",
    "<unk>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
)
"""Literals that tokenizers of the models we tune may take for control tokens."""

UNITS: Mapping[str, str] = {
    "rating_na": "rating",
    "rating_null": "rating",
    "rating_zero": "rating",
    "rating_out_of_range": "rating",
    "unrated": "completion",
    "score_missing": "completion",
    "score_out_of_range": "completion",
    **{f"score_10_{name}": "completion" for name in CLASSES},
    "empty_response": "completion",
    "null_response": "completion",
    "same_response_other_score": "completion",
    "edge_whitespace": "text",
    "replacement_character": "text",
    "special_token": "text",
    "empty_prompt": "row",
    "fewer_completions": "row",
    "no_completions": "row",
    "null_completions": "row",
    "null_completion": "row",
    "aspect_list": "row",
    "other_aspect": "row",
    "invalid_unicode": "row",
    "chosen_differs": "row",
    "duplicate_prompt": "row",
}
"""What can be noticed, and what is counted of it. A text is a prompt or an answer."""

_EXPECTED = 4  # completions of a row
_NOTES = ("null_completions", "null_completion", "aspect_list", "other_aspect", "invalid_unicode")


def in_feedback(chunk: Chunk, picks: pl.DataFrame) -> pl.DataFrame:
    """Return what is noticed about each row of rated feedback: row, and a count for each name."""
    answers = chunk.answers
    aspects = [pl.col("aspects").struct.field(field.name) for field in answers.schema["aspects"].fields]  # type: ignore[attr-defined]
    score, rating, response = pl.col("overall_score"), pl.col("rating"), pl.col("response")
    classes = answers.with_columns(score_class().alias("class"))
    per_answer = classes.select(
        "row",
        _count(aspects, lambda aspect: aspect.is_nan()).alias("rating_na"),
        _count(aspects, lambda aspect: aspect.is_null()).alias("rating_null"),
        _count(aspects, lambda aspect: aspect == 0).alias("rating_zero"),
        _count(aspects, lambda aspect: aspect.is_not_nan() & ((aspect < 0) | (aspect > 5))).alias(
            "rating_out_of_range"
        ),
        rating.is_null().alias("unrated"),
        score.is_null().alias("score_missing"),
        ((score < 1) | (score > 10)).alias("score_out_of_range"),
        *((pl.col("class") == name).alias(f"score_10_{name}") for name in CLASSES),
        blank(response).alias("empty_response"),
        response.is_null().alias("null_response"),
        *_text_notices(response),
    )
    by_row = per_answer.group_by("row").agg(pl.all().exclude("row").sum())
    rows = (
        chunk.rows.select(
            "row",
            blank(pl.col("instruction")).alias("empty_prompt"),
            *(pl.col("notes").list.contains(name).alias(name) for name in _NOTES),
            *(expression.name.prefix("prompt_") for expression in _text_notices(pl.col("instruction"))),
        )
        .join(answers.group_by("row").agg(pl.len().alias("answers")), on="row", how="left")
        .join(by_row, on="row", how="left")
        .join(_same_response(answers), on="row", how="left")
        .join(picks.select("row", "by_ratings", "by_score"), on="row", how="left", maintain_order="left")
    )
    number = pl.col("answers").fill_null(0)
    rows = rows.with_columns(
        *(
            (pl.col(name).fill_null(0) + pl.col(f"prompt_{name}").fill_null(value=False)).alias(name)
            for name in _TEXT
        ),
        (number == 0).alias("no_completions"),
        ((number > 0) & (number < _EXPECTED)).alias("fewer_completions"),
        (pl.col("by_ratings") != pl.col("by_score")).alias("chosen_differs"),
    )
    return _counts(rows)


def in_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return what is noticed about each row of other formats: row, and a count for each name."""
    last = pl.col("prompt").list.last().struct.field("content")
    texts = (last, pl.col("chosen"), pl.col("rejected"))
    noticed = [_text_notices(text) for text in texts]
    empty = [blank(text).fill_null(value=False).cast(pl.UInt32) for text in texts]
    return _counts(
        pairs.select(
            "row",
            empty[0].alias("empty_prompt"),
            (empty[1] + empty[2]).alias("empty_response"),
            *(
                pl.sum_horizontal(of_text[place].fill_null(value=False) for of_text in noticed).alias(name)
                for place, name in enumerate(_TEXT)
            ),
        )
    )


def flags(counts: pl.DataFrame) -> pl.DataFrame:
    """Return what holds of the rows of `in_feedback` or `in_pairs`: row, name, count, a line each, by row."""
    names = [name for name in UNITS if name in counts.columns]
    long = counts.unpivot(names, index="row", variable_name="name", value_name="count")
    return long.filter(pl.col("count") > 0).sort("row", maintain_order=True)


_TEXT = ("edge_whitespace", "replacement_character", "special_token")


def _text_notices(text: pl.Expr) -> list[pl.Expr]:
    """Return whether each of `_TEXT` holds of a text."""
    return [
        ((text.str.strip_chars() != text) & ~blank(text)).alias("edge_whitespace"),
        text.str.contains("\ufffd", literal=True).alias("replacement_character"),
        text.str.contains_any(list(SPECIAL_TOKENS)).alias("special_token"),
    ]


def _same_response(answers: pl.DataFrame) -> pl.DataFrame:
    """Return how many answers of a row say the same as another one of it that was rated or scored otherwise."""
    said = answers.select("row", "rating", "overall_score", response=pl.col("response").hash()).filter(
        answers["response"].is_not_null()
    )
    again = said.group_by("row", "response").len("same").filter(pl.col("same") > 1)
    marks = (
        said.join(again, on=["row", "response"]).group_by("row", "response", "same").agg(pl.all().n_unique())
    )
    otherwise = marks.filter((pl.col("rating") > 1) | (pl.col("overall_score") > 1))
    return otherwise.group_by("row").agg(pl.col("same").sum().alias("same_response_other_score"))


def _count(aspects: list[pl.Expr], holds: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    return pl.sum_horizontal(holds(aspect).fill_null(value=False) for aspect in aspects)


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    names = [name for name in UNITS if name in rows.columns]
    return rows.select("row", *(pl.col(name).cast(pl.UInt32).fill_null(0) for name in names))
