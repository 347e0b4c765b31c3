"""UltraFeedback's raw rows as two tables, of rows and of their answers, and nothing repaired on the way.

Lines of JSON are decoded by columns. What a column can't hold as it came (another type, a lone surrogate, an aspect
that is a list, one that was not seen before) sends its row, and no other, through `raw_row`, which looks at every
value and says what is wrong. So the one is fast and the other exact, and a test holds them to each other.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import polars as pl

from recipe.curate.digest import sha256, short_id, unambiguous
from recipe.curate.pair import LARGEST, BadRow, Row, encodes
from recipe.curate.raw_row import NOT_RATED, By, read_row
from recipe.curate.read import Block, Source

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
"""UltraFeedback's own; other names are found in the data."""

COLUMNS = {"instruction": str, "completions": list}
"""What a row has to have."""

_SAMPLED = 64  # rows of each file that tell which aspects there are
_FEW = 8  # rows that are read one by one when a block can't be decoded at once

# A text that JSON may have held without quotes. A lone surrogate leaves a NUL in the text, or takes the character after
# it along: so the halves have to come in pairs. A key that comes twice would be read once.
_SCALAR = r"^(?:-?[0-9][0-9.eE+-]*|true|false)$"
_NUL = "\x00"
_HALF = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_BOTH_HALVES = _HALF + r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_KEYS = r'"(?:source|instruction|completions|model|response|critique|overall_score|Rating)"\s*:'
_OF_ROW, _OF_ANSWER = (
    ("source", "instruction", "completions"),
    ("model", "response", "critique", "overall_score"),
)

_ROW: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.Int64,
    "line": pl.Int64,
    "source": pl.String,
    "instruction": pl.String,
    "notes": pl.List(pl.String),
}
_ANSWER: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.Int64,
    "place": pl.Int64,
    "model": pl.String,
    "response": pl.String,
    "critique": pl.String,
    "overall_score": pl.Float64,
    "rating": pl.Float64,
}


class Chunk(NamedTuple):
    """Some rows of feedback and their answers, both in the order of the file.

    `rows`: row (Int64, from 0 over all files), line (Int64, from 1), source, instruction, notes (what reading
    noticed), id. `answers`: row, place (Int64, from 0 within the row), model, response, critique, overall_score,
    rating (the mean over aspects, N/A left out), aspects (a struct of Float64: NaN for "N/A", null for none).
    """

    rows: pl.DataFrame
    answers: pl.DataFrame


def find_aspects(sources: Sequence[Source]) -> tuple[str, ...]:
    """Return the aspects that the first rows of each file are rated on; UltraFeedback's own if there are none."""
    found: dict[str, None] = {}
    for source in sources:
        for _, row in islice(source.rows(), _SAMPLED):
            completions = row.get("completions")
            for answer in completions if isinstance(completions, list) else ():
                annotations = answer.get("annotations") if isinstance(answer, dict) else None
                names = annotations if isinstance(annotations, dict) else ()
                found |= dict.fromkeys(name for name in names if encodes(name))
    return tuple(found) or ASPECTS


@dataclass(frozen=True)
class FeedbackReader:
    """Reads raw rows into chunks.

    Args:
        aspects: The names of the aspects to tell apart; a rating by another one counts in the mean only.
        by: What a completion has to have: annotations, or an overall_score.
        recognise: Raises BadRow if a row is of another format.
    """

    aspects: tuple[str, ...]
    by: By
    recognise: Callable[[Row], object]

    def chunks(self, source: Source, first: int) -> Iterator[Chunk]:
        """Yield the file's rows, numbered from `first` on.

        Raises:
            UserError: As `Source.blocks`; or a line is no JSON, or no object.
            UserError: A row is not as the format has it.
        """
        for block in source.blocks(_OF_ROW):
            if len(block.lines):
                yield self._chunk(source, block, first)
                first += len(block.lines)

    def _chunk(self, source: Source, block: Block, first: int) -> Chunk:
        lines = pl.DataFrame(
            {
                "row": pl.int_range(first, first + len(block.lines), eager=True),
                "line": block.numbers.cast(pl.Int64),
                "text": block.lines,
            }
        )
        parts = self._decode(lines)
        done = pl.concat([part.rows.select("row") for part in parts]) if parts else None
        odd = lines if done is None else lines.join(done, on="row", how="anti", maintain_order="left")
        if not odd.is_empty():
            parts.append(self._read(source, odd))
        return _with_ids(
            Chunk(
                pl.concat([part.rows for part in parts]).sort("row"),
                pl.concat([part.answers for part in parts]).sort("row", "place"),
            )
        )

    def _decode(self, lines: pl.DataFrame) -> list[Chunk]:
        """Return the rows that are throughout as the schema has them."""
        try:
            decoded = lines.with_columns(pl.col("text").str.json_decode(self._schema).alias("decoded"))
        except pl.exceptions.PolarsError:
            half = len(lines) // 2
            return [] if len(lines) <= _FEW else [*self._decode(lines[:half]), *self._decode(lines[half:])]
        rows = decoded.select("row", "line", "decoded").unnest("decoded")
        answers = self._answers(rows)
        odd = self._odd(lines, rows, answers)
        notes = pl.lit([], pl.List(pl.String)).alias("notes")
        return [
            Chunk(
                rows.with_columns(notes).select(*_ROW).join(odd, on="row", how="anti"),
                answers.select(*_ANSWER, "aspects").join(odd, on="row", how="anti"),
            )
        ]

    def _answers(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the completions one below the other, with numbers in place of their texts, null for no number."""
        names = self._columns
        long = (
            rows.select("row", "completions")
            .filter(pl.col("completions").list.len() > 0)
            .explode("completions")
            .with_columns(pl.int_range(pl.len()).over("row").alias("place"))
            .unnest("completions")
            .with_columns(pl.col("annotations").struct.rename_fields(names))
            .unnest("annotations")
            .with_columns(pl.col(name).struct.field("Rating").str.strip_chars().alias(name) for name in names)
        )
        numbers = {name: pl.col(name).cast(pl.Float64, strict=False) for name in names}
        not_rated = {name: pl.col(name) == NOT_RATED for name in names}
        understood = [not_rated[name] | _sound(numbers[name]) for name in names]
        return long.with_columns(
            pl.col("overall_score").cast(pl.Float64, strict=False),
            pl.sum_horizontal(pl.col(name).is_not_null() for name in names).alias("said"),
            pl.sum_horizontal(one.fill_null(value=False) for one in understood).alias("understood"),
            *(pl.when(not_rated[name]).then(math.nan).otherwise(numbers[name]).alias(name) for name in names),
        ).with_columns(
            mean_rating([pl.col(name) for name in names]).alias("rating"),
            pl.struct(
                pl.col(column).alias(name) for column, name in zip(names, self.aspects, strict=True)
            ).alias("aspects"),
        )

    def _odd(self, lines: pl.DataFrame, rows: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that have to be looked at value by value."""
        keys = pl.sum_horizontal(pl.col("said"), *(pl.col(name).is_not_null() for name in _OF_ANSWER))
        of_answers = answers.group_by("row").agg(keys.sum().alias("of_answers"))
        own = pl.sum_horizontal(pl.col(name).is_not_null() for name in _OF_ROW)
        text = pl.col("text").str
        counted = (
            lines.select(
                "row",
                text.count_matches(_KEYS).alias("keys"),
                (text.count_matches(_HALF) != text.count_matches(_BOTH_HALVES)).alias("halved"),
            )
            .join(rows.select("row", own.alias("own")), on="row")
            .join(of_answers, on="row", how="left")
        )
        unread = counted.filter(
            pl.col("halved") | (pl.col("keys") != pl.col("own") + pl.col("of_answers").fill_null(0))
        )
        odd_rows = rows.filter(
            pl.col("instruction").is_null()
            | pl.col("completions").is_null()
            | _scalar("instruction", "source")
            | _holds_nul("instruction", "source")
        )
        odd_answers = answers.filter(
            pl.col("response").is_null()
            | _scalar("response", "critique", "model")
            | _holds_nul("response", "critique", "model")
            | ~_sound(pl.col("overall_score")).fill_null(value=False)
            | (pl.col("said") != pl.col("understood"))
            | (pl.col("said") == 0)
        )
        return pl.concat([part.select("row") for part in (unread, odd_rows, odd_answers)]).unique()

    def _read(self, source: Source, lines: pl.DataFrame) -> Chunk:
        """Return `lines`, read one by one."""
        rows: list[dict[str, Any]] = []
        answers: list[dict[str, Any]] = []
        for row, line, text in lines.iter_rows():
            try:
                facts, its_answers = self._exactly(source.parse(line, text))
            except BadRow as error:
                raise error.at(source.place(line)) from error
            rows.append({"row": row, "line": line, **facts})
            answers += [{"row": row, "place": place, **answer} for place, answer in enumerate(its_answers)]
        aspects = pl.Struct(dict.fromkeys(self.aspects, pl.Float64))
        return Chunk(
            pl.DataFrame(rows, schema=_ROW), pl.DataFrame(answers, schema={**_ANSWER, "aspects": aspects})
        )

    def _exactly(self, row: Row) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        self.recognise(row)
        return read_row(row, self.aspects, self.by)

    @property
    def _columns(self) -> list[str]:
        """The aspects' columns where they stand beside others, whatever they are called."""
        return [f"aspect {name}" for name in self.aspects]

    @property
    def _schema(self) -> pl.Struct:
        rating = pl.Struct({"Rating": pl.String})
        answer: dict[str, pl.DataType | type[pl.DataType]] = {
            "model": pl.String,
            "response": pl.String,
            "critique": pl.String,
            "overall_score": pl.String,
            "annotations": pl.Struct(dict.fromkeys(self.aspects, rating)),
        }
        return pl.Struct(
            {"source": pl.String, "instruction": pl.String, "completions": pl.List(pl.Struct(answer))}
        )


def nested(answers: pl.DataFrame) -> pl.DataFrame:
    """Return answers as a list a row: row and completions, in the order of rows; rows without one are not there."""
    completion = pl.struct(pl.all().exclude("row", "place")).alias("completions")
    return answers.group_by("row", maintain_order=True).agg(completion)


def unnested(rows: pl.DataFrame) -> pl.DataFrame:
    """Return what `nested` was made of."""
    places = pl.int_range(pl.len()).over("row").alias("place")
    return rows.select("row", "completions").explode("completions").with_columns(places).unnest("completions")


def mean_rating(aspects: Sequence[pl.Expr]) -> pl.Expr:
    """Return the mean over those `aspects` that were rated, neither null nor NaN; null if none was."""
    rated = [aspect.is_not_null() & aspect.is_not_nan() for aspect in aspects]
    count = pl.sum_horizontal(rated)
    total = pl.sum_horizontal(aspect.fill_nan(None) for aspect in aspects)
    return pl.when(count > 0).then(total / count)


def _sound(mark: pl.Expr) -> pl.Expr:
    return mark.abs() <= LARGEST


def _scalar(*columns: str) -> pl.Expr:
    return pl.any_horizontal(pl.col(name).str.contains(_SCALAR).fill_null(value=False) for name in columns)


def _holds_nul(*columns: str) -> pl.Expr:
    return pl.any_horizontal(
        pl.col(name).str.contains(_NUL, literal=True).fill_null(value=False) for name in columns
    )


def _with_ids(chunk: Chunk) -> Chunk:
    """Add each row's id, over its texts, whatever the answers were rated."""
    answers = chunk.answers.select(
        "row", sha256(unambiguous(pl.col("model"), pl.col("response"))).alias("digest")
    )
    digests = answers.group_by("row", maintain_order=True).agg(pl.col("digest").str.join(""))
    rows = chunk.rows.join(digests, on="row", how="left", maintain_order="left")
    return Chunk(
        rows.with_columns(short_id(pl.col("instruction"), pl.col("digest")).alias("id")).drop("digest"),
        chunk.answers,
    )
