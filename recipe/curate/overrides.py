"""Scores that a person corrected and rows that a person threw out, by row id, as lines of JSON.

Two forms, one object a line. Of a completion, counted from 0, whatever is named is replaced, the rest stays:

    {"id": "0f3c5a7b9d1e2f40", "completion": 2, "overall_score": 1, "ratings": {"honesty": 2, "truthfulness": null}}
    {"id": "0f3c5a7b9d1e2f40", "leave_out": true}

Both may say who (`annotator`) and why (`note`). `null` is "not rated". Which answers become the pair is not among
the forms: it follows from the scores, by the recipe's rule, for rows with an override as for all others.
"""

import codecs
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recipe.errors import UserError

RowId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Score = Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)]
Rating = Annotated[float, Field(ge=1, le=5, allow_inf_nan=False)]


class _Override(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    id: RowId
    annotator: str | None = None
    note: str | None = None


class CompletionOverride(_Override):
    """What one completion of a row is worth: an overall score (1 to 10), ratings by aspect (1 to 5), or both."""

    completion: Annotated[int, Field(ge=0, lt=2**31)]
    overall_score: Score | None = None
    ratings: dict[str, Rating | None] = {}

    @model_validator(mode="after")
    def _says_something(self) -> "CompletionOverride":
        if not self.sets_score and not self.ratings:
            raise ValueError("neither 'overall_score' nor 'ratings'; give at least one of them")
        return self

    @property
    def sets_score(self) -> bool:
        """Whether `overall_score` was given; null was given if it is None then."""
        return "overall_score" in self.model_fields_set


class RowOverride(_Override):
    """A row that is not to be used at all."""

    leave_out: Literal[True]


class Numbered(NamedTuple):
    """An override and its line in the file, from 1."""

    line: int
    override: CompletionOverride | RowOverride


@dataclass(frozen=True)
class Overrides:
    """All overrides of a file, in its order; no completion and no row has two of a form."""

    path: Path
    entries: tuple[Numbered, ...]

    @cached_property
    def completions(self) -> dict[str, list[tuple[int, CompletionOverride]]]:
        """The overrides of completions with their lines, by row id."""
        found: dict[str, list[tuple[int, CompletionOverride]]] = {}
        for line, override in self.entries:
            if isinstance(override, CompletionOverride):
                found.setdefault(override.id, []).append((line, override))
        return found

    @cached_property
    def left_out(self) -> list[str]:
        """The ids of the rows that are not to be used, in the file's order."""
        return [entry.override.id for entry in self.entries if isinstance(entry.override, RowOverride)]

    @cached_property
    def ids(self) -> list[str]:
        """The ids of all rows with an override of either form, each once."""
        return list(dict.fromkeys(entry.override.id for entry in self.entries))


def read_overrides(path: Path) -> Overrides:
    """Read a file of overrides.

    Raises:
        UserError: There is no such file, or a line is not as it has to be, or overrides what another one does; the
            message names file and line.
    """
    entries: list[Numbered] = []
    first: dict[tuple[str, int | None], int] = {}
    for line, text in _lines(path):
        override = _parse(text, f"{path}, line {line}")
        key = (override.id, override.completion if isinstance(override, CompletionOverride) else None)
        if key in first:
            what = f"row {override.id}" + (f", completion {key[1]}," if key[1] is not None else "")
            raise UserError(
                f"{path}, line {line}: {what} is overridden in line {first[key]} already; keep one"
            )
        first[key] = line
        entries.append(Numbered(line, override))
    return Overrides(path, tuple(entries))


def offered(frame: pl.DataFrame, overrides: Overrides) -> dict[str, int]:
    """Return how many completions the rows of `frame` have that an override is for, by row id.

    Of many frames the results are merged (`|=`), for `refuse_unknown` at the end.
    """
    rows = frame.filter(pl.col("id").is_in(overrides.ids))
    counts = rows.select("id", pl.col("completions").list.len().fill_null(0))
    return dict(counts.iter_rows())


def refuse_unknown(overrides: Overrides, known: Mapping[str, int]) -> None:
    """Refuse overrides of what is not in the data.

    Args:
        overrides: As read.
        known: How many completions each row has, by row id; of the rows in `overrides.ids` at least.

    Raises:
        UserError: There is no row with an override's id, or it has fewer completions.
    """
    for line, override in overrides.entries:
        where = f"{overrides.path}, line {line}"
        if override.id not in known:
            raise UserError(f"{where}: no row of the data has the id {override.id}; remove the line")
        if isinstance(override, CompletionOverride) and override.completion >= known[override.id]:
            raise UserError(
                f"{where}: row {override.id} has {known[override.id]} completions, counted from 0, "
                f"and none is number {override.completion}; mend the line"
            )


def apply(frame: pl.DataFrame, overrides: Overrides) -> pl.DataFrame:
    """Return `frame` with the corrected completions; its rows, those to be left out included, stay where they are.

    A completion's `rating` is computed anew, of the aspects in the table, where one of them is overridden. Rows without
    an override are not looked at, so a table may be given in pieces.

    Args:
        frame: With the columns `id` and `completions` of `feedback.parquet`; others pass.
        overrides: As read.

    Raises:
        UserError: A rating is for an aspect that the data do not have.
    """
    numbered = frame.with_row_index("_row")
    rows = numbered.select("_row", "id", "completions").filter(
        pl.col("id").is_in(list(overrides.completions))
    )
    if rows.is_empty():
        return frame
    answers = (
        rows.filter(pl.col("completions").list.len() > 0)
        .explode("completions")
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int64).over("_row").alias("_place"))
    )
    aspects = _aspects(frame)
    changes = _changes(overrides, rows["id"].unique().to_list(), aspects)
    changed = (
        answers.join(changes, on=["id", "_place"], how="left", maintain_order="left")
        .with_columns(_changed(aspects))
        .group_by("_row", maintain_order=True)
        .agg(pl.col("completions").alias("_changed"))
    )
    return (
        numbered.join(changed, on="_row", how="left", maintain_order="left")
        .with_columns(pl.coalesce("_changed", "completions").alias("completions"))
        .select(frame.columns)
    )


def _aspects(frame: pl.DataFrame) -> list[str]:
    completion = frame.schema["completions"]
    assert isinstance(completion, pl.List)
    assert isinstance(completion.inner, pl.Struct)
    aspects = completion.inner.to_schema()["aspects"]
    assert isinstance(aspects, pl.Struct)
    return [field.name for field in aspects.fields]


def _changes(overrides: Overrides, ids: list[str], aspects: list[str]) -> pl.DataFrame:
    """Return a row an override of the rows `ids`, its values null where it says nothing, NaN where it says null."""
    lines: list[dict[str, Any]] = []
    for line, override in (entry for id_ in ids for entry in overrides.completions[id_]):
        unknown = [aspect for aspect in override.ratings if aspect not in aspects]
        if unknown:
            raise UserError(
                f"{overrides.path}, line {line}: the data have no aspect {unknown[0]!r}, "
                f"but {', '.join(aspects) or 'none at all'}; mend the line"
            )
        values = {f"_rating {aspect}": rating for aspect, rating in override.ratings.items()}
        values |= {"_score": override.overall_score} if override.sets_score else {}
        values = {name: math.nan if value is None else value for name, value in values.items()}
        lines.append({"id": override.id, "_place": override.completion, **values})
    schema = {"id": pl.String, "_place": pl.Int64, "_score": pl.Float64}
    return pl.DataFrame(lines, schema=schema | {f"_rating {aspect}": pl.Float64 for aspect in aspects})


def _changed(aspects: list[str]) -> pl.Expr:
    """Return the completion as overridden, over the columns of `_changes`, which are null where there is none."""
    old, score = pl.col("completions").struct, pl.col("_score")
    fields = [
        pl.when(score.is_nan())
        .then(None)
        .otherwise(pl.coalesce(score, old.field("overall_score")))
        .alias("overall_score")
    ]
    if aspects:
        new = [pl.col(f"_rating {aspect}") for aspect in aspects]
        ratings = [
            pl.coalesce(rating, old.field("aspects").struct.field(aspect)).alias(aspect)
            for rating, aspect in zip(new, aspects, strict=True)
        ]
        rated = pl.sum_horizontal(rating.is_not_null() & rating.is_not_nan() for rating in ratings)
        mean = pl.sum_horizontal(rating.fill_nan(None) for rating in ratings) / rated
        changes = pl.any_horizontal(rating.is_not_null() for rating in new)
        # Where nothing is rated the mean is 0 / 0.
        fields.append(
            pl.when(changes).then(mean.fill_nan(None)).otherwise(old.field("rating")).alias("rating")
        )
        fields.append(
            pl.when(changes).then(pl.struct(ratings)).otherwise(old.field("aspects")).alias("aspects")
        )
    return old.with_fields(*fields)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path of the overrides") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file of overrides") from error
    # Only "\n" ends a line: a note may hold U+2028 and its like.
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise UserError(f"{path}, line {number}: not UTF-8; save the file as UTF-8") from None
        if text and not text.isspace():
            yield number, text


def _parse(text: str, where: str) -> CompletionOverride | RowOverride:
    try:
        value = json.loads(text, object_pairs_hook=_no_key_twice)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{where}: broken JSON ({error}); mend the line") from None
    except ValueError as error:
        raise UserError(f"{where}: {error}; keep one") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: not an object; an override is one object a line")
    form: type[CompletionOverride | RowOverride] = RowOverride if "leave_out" in value else CompletionOverride
    try:
        return form.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error, form)}") from None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key!r} stands there twice")
        values[key] = value
    return values


def _explain(error: ValidationError, form: type[BaseModel]) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "missing":
        return f"the key {key!r} is missing; add it" + (
            ", or 'leave_out': true to throw the whole row out" if key == "completion" else ""
        )
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}; it may have {', '.join(form.model_fields)}"
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r}"
