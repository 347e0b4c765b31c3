"""The doubtful completions of a run, as a data set that people annotate in Argilla.

What is written is what Argilla's own SDK reads (`rg.Dataset.from_disk`): settings, and a record a completion. The
SDK is an extra of Notus', and no server has to be there to write its format.
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recipe.errors import UserError

DEFAULT_FLAGS = ("score_10_low", "score_10_between")
OF_A_COMPLETION = "score_10_"
"""Flags that begin so are of one completion each, which the audit names; others are of all completions of a row."""

SCORE, LEAVE_OUT, NOTE, ASPECT = "overall_score", "leave_out", "note", "aspect_"
"""The questions; those of aspects begin with the last one."""

DATASET_NAME = "notus-doubtful-completions"
LOAD_LINES = (
    "import argilla as rg",
    'rg.Argilla(api_url="http://localhost:6900", api_key="...")',
    'dataset = rg.Dataset.from_disk("{folder}", workspace="argilla")',
)
"""What a person runs to load a `folder` that was written."""

GUIDELINES = """Each record is one answer to an instruction, with the score and the critique that it got.

Rate the answer by what it says, not by the score that it has. 1 is the worst and 10 the best overall score. A
suggestion is what a rule would make of the score; take it only if you agree. Aspects that you leave open stay as they
are. "Leave the row out" throws out the instruction with all of its answers: use it where the instruction cannot be
answered. Discard a record that you cannot judge: it then stays as it is."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    records: int
    rows: int
    by_flag: dict[str, int]
    """Records by flag; one may have several."""


def export_for_argilla(data: Path, out: Path, flags: Sequence[str] = DEFAULT_FLAGS) -> Exported:
    """Write the completions that were flagged as a data set of Argilla's into the folder `out`.

    Rows that share an id, because they are equal, are asked about once.

    Args:
        data: The `data/` of a run, with `feedback.parquet` and `audit.json`.
        out: A folder that is not there yet; written whole or not at all.
        flags: Rows with at least one of them.

    Raises:
        UserError: The run has no feedback table, no row has such a flag, `out` is there, or the SDK is not.
    """
    sdk = argilla()
    if out.exists():
        raise UserError(f"{out}: there already; name a folder that is not")
    rows = _doubtful(data, flags)
    records = [_record(sdk, row).to_dict() for row in rows.iter_rows(named=True)]
    aside = out.with_name(out.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)  # of an export that died
    (aside / ".argilla").mkdir(parents=True)
    with _offline(sdk) as client:
        _settings(sdk, client, _aspects(rows)).to_json(aside / ".argilla" / "settings.json")
    _write(aside / ".argilla" / "dataset.json", {"name": DATASET_NAME})
    _write(aside / "records.json", records)
    aside.replace(out)
    by_flag = {flag: rows.filter(pl.col("why").list.contains(flag)).height for flag in flags}
    return Exported(rows.height, rows["id"].n_unique(), by_flag)


def argilla() -> Any:
    """Return Argilla's SDK.

    Raises:
        UserError: It is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it declares its models in pydantic's old way
        try:
            import argilla as sdk
        except ModuleNotFoundError as error:
            raise UserError(
                f"Argilla's SDK is not installed ({error.name} is missing); "
                "pip install '.[annotate]' in a clone of Notus"
            ) from None
    return sdk


def record_id(id_: str, completion: int) -> str:
    """Return the id of the record that asks about a completion of the row `id_`."""
    return f"{id_}-{completion}"


def _doubtful(data: Path, flags: Sequence[str]) -> pl.DataFrame:
    """Return a row a doubtful completion: id, place, instruction, source, completion, and `why`, its flags."""
    table, audit = data / "feedback.parquet", data / "audit.json"
    for path in (table, audit):
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; run `notus curate` on data of the format ultrafeedback first"
            )
    feedback = pl.scan_parquet(table).filter(pl.col("completions").list.len() > 0)
    rows = (
        feedback.select("id", "source", "instruction", "completions", "flags")
        .filter(pl.col("flags").list.set_intersection(list(flags)).list.len() > 0)
        .unique("id", keep="first", maintain_order=True)
        .with_columns(place=pl.int_ranges(pl.col("completions").list.len(), dtype=pl.Int64))
        .explode("completions", "place")
        .filter(pl.col("completions").is_not_null())
        .collect()
    )
    named = _named_by_audit(audit)
    of_rows = [flag for flag in flags if not flag.startswith(OF_A_COMPLETION)]
    of_completions = [flag for flag in flags if flag.startswith(OF_A_COMPLETION)]
    why = pl.concat_list(
        pl.col("flags").list.set_intersection(of_rows),
        pl.concat_list(pl.col("named").fill_null("")).list.set_intersection(of_completions),
    )
    rows = rows.join(named, on=["id", "place"], how="left", maintain_order="left").with_columns(why=why)
    rows = rows.filter(pl.col("why").list.len() > 0)
    if rows.is_empty():
        there = feedback.select(pl.col("flags").explode().drop_nulls().unique().sort()).collect().to_series()
        raise UserError(
            f"{table}: no row with completions is flagged {' or '.join(flags)}; "
            f"the flags there are: {', '.join(there) or 'none'}"
        )
    return rows


def _named_by_audit(path: Path) -> pl.DataFrame:
    found = json.loads(path.read_text(encoding="utf-8"))["suspicious"]["completions"]
    named = [(one["id"], one["completion"], OF_A_COMPLETION + one["class"]) for one in found]
    schema = {"id": pl.String, "place": pl.Int64, "named": pl.String}
    return pl.DataFrame(named, schema=schema, orient="row").unique(["id", "place"], maintain_order=True)


def _aspects(rows: pl.DataFrame) -> list[str]:
    aspects = rows.select(pl.col("completions").struct.field("aspects")).schema["aspects"]
    assert isinstance(aspects, pl.Struct)
    return [field.name for field in aspects.fields]


@contextmanager
def _offline(sdk: Any) -> Iterator[Any]:
    """Give a client without a server: the SDK makes no question without one, and asks it who it is."""
    import httpx

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.url.path == "/api/v1/me" else 501, json={"username": "notus"})

    before = sdk.Argilla._default_client
    try:
        mounts = {"all://": httpx.MockTransport(answer)}
        yield sdk.Argilla(api_url="http://offline.invalid", api_key="none", mounts=mounts)
    finally:
        sdk.Argilla._set_default(before)  # a notebook may have a client of its own


def _settings(sdk: Any, client: Any, aspects: Sequence[str]) -> Any:
    def field(name: str, title: str, *, required: bool = False) -> Any:
        return sdk.TextField(name, title=title, required=required, client=client)

    def rating(name: str, title: str, worst_to_best: range, *, required: bool = False) -> Any:
        return sdk.RatingQuestion(name, list(worst_to_best), title=title, required=required, client=client)

    row_labels = {"keep": "Keep the row", "leave_out": "Leave the row out"}
    return sdk.Settings(
        guidelines=GUIDELINES,
        fields=[
            field("instruction", "Instruction", required=True),
            field("response", "Answer"),
            field("ratings", "Ratings so far"),
            field("critique", "Critique"),
        ],
        questions=[
            rating(SCORE, "Overall score", range(1, 11), required=True),
            *(rating(ASPECT + one, one.replace("_", " ").capitalize(), range(1, 6)) for one in aspects),
            sdk.LabelQuestion(LEAVE_OUT, row_labels, title="The whole row", required=False, client=client),
            sdk.TextQuestion(NOTE, title="Why", required=False, client=client),
        ],
        # Not `overall_score` or `id`: the SDK's flat export would take them for the question and the record's id.
        metadata=[
            sdk.TermsMetadataProperty("flag", client=client),
            sdk.TermsMetadataProperty("source", client=client),
            # Who knows the model may rate the model.
            sdk.TermsMetadataProperty("model", visible_for_annotators=False, client=client),
            sdk.FloatMetadataProperty("mean_rating", client=client),
        ],
    )


def _record(sdk: Any, row: dict[str, Any]) -> Any:
    completion, why = row["completions"], row["why"]
    said = {
        "instruction": row["instruction"] or "",
        "response": completion["response"],
        "ratings": _ratings(completion),
        "critique": completion["critique"],
    }
    known = {
        "flag": why,
        "source": row["source"],
        "model": completion["model"],
        "mean_rating": completion["rating"],
    }
    suggestions = [sdk.Suggestion(SCORE, 1, agent="OpenBMB")] if "score_10_low" in why else []
    return sdk.Record(
        id=record_id(row["id"], row["place"]),
        fields={name: text for name, text in said.items() if text is not None},
        metadata={name: value for name, value in known.items() if value is not None},
        suggestions=suggestions,
    )


def _ratings(completion: dict[str, Any]) -> str:
    """Say what the completion got: `overall score 10, mean rating 1.25; honesty 1, truthfulness N/A`."""
    aspects = (completion["aspects"] or {}).items()
    by_aspect = [
        f"{name.replace('_', ' ')} {_number(rating)}" for name, rating in aspects if rating is not None
    ]
    overall = (
        f"overall score {_number(completion['overall_score'])}, mean rating {_number(completion['rating'])}"
    )
    return "; ".join(filter(None, [overall, ", ".join(by_aspect)]))


def _number(value: float | None) -> str:
    return "none" if value is None else "N/A" if value != value else f"{value:.4g}"  # noqa: PLR0124  NaN


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
