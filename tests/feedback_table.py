"""A small feedback table and audit, as `data/feedback.parquet` and `data/audit.json` of a run hold them."""

import json
import math
from pathlib import Path
from typing import Any

import polars as pl

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
NA = math.nan

COMPLETION = pl.Struct(
    {
        "model": pl.String,
        "response": pl.String,
        "critique": pl.String,
        "overall_score": pl.Float64,
        "rating": pl.Float64,
        "aspects": pl.Struct(dict.fromkeys(ASPECTS, pl.Float64)),
    }
)
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.Int64,
    "id": pl.String,
    "file": pl.String,
    "line": pl.Int64,
    "source": pl.String,
    "instruction": pl.String,
    "completions": pl.List(COMPLETION),
    "chosen": pl.Int8,
    "rejected": pl.Int8,
    "chosen_other": pl.Int8,
    "reason": pl.String,
    "flags": pl.List(pl.String),
}


def mean(aspects: dict[str, float | None]) -> float | None:
    """Return the mean of what is rated."""
    rated = [rating for rating in aspects.values() if rating is not None and not math.isnan(rating)]
    return sum(rated) / len(rated) if rated else None


def answer(name: str, score: float | None, *ratings: float | None, **more: Any) -> dict[str, Any]:
    """Return a completion of the model `name`; `ratings` are of `ASPECTS` in their order, null beyond them."""
    numbers = [None if rating is None else float(rating) for rating in (*ratings, None, None, None, None)]
    aspects = dict(zip(ASPECTS, numbers, strict=False))
    texts = {"model": name, "response": f"{name} answers", "critique": f"on {name}"}
    return {
        **texts,
        "overall_score": None if score is None else float(score),
        "rating": mean(aspects),
        "aspects": aspects,
        **more,
    }


def row(number: int, completions: list[dict[str, Any]] | None, *flags: str, **more: Any) -> dict[str, Any]:
    """Return a row of the table; its id is its number in 16 hex digits."""
    place = {"row": number, "id": f"{number:016x}", "file": "rows.jsonl", "line": number + 1}
    texts = {"source": "flan", "instruction": f"question {number}"}
    return {**place, **texts, "completions": completions, "flags": list(flags), **more}


def table(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return rows as a table; what they do not say is null."""
    return pl.DataFrame([dict.fromkeys(SCHEMA) | one for one in rows], schema=SCHEMA)


def rating_class(completion: dict[str, Any]) -> str:
    """Return how a completion with the overall score 10 is rated."""
    rating = completion["rating"]
    return "missing" if rating is None else "low" if rating <= 2 else "high" if rating > 4 else "between"


def write_data(folder: Path, *rows: dict[str, Any]) -> Path:
    """Write the table and the part of the audit about overall scores of 10 into `folder`."""
    suspicious = [
        {
            "id": one["id"],
            "completion": place,
            "source": one["source"],
            "model": completion["model"],
            "rating": completion["rating"],
            "class": rating_class(completion),
            "critique": completion["critique"],
        }
        for one in rows
        for place, completion in enumerate(one["completions"] or [])
        if completion["overall_score"] == 10
    ]
    folder.mkdir(parents=True, exist_ok=True)
    table(*rows).write_parquet(folder / "feedback.parquet")
    audit = {"format": "ultrafeedback", "rows": len(rows), "suspicious": {"completions": suspicious}}
    (folder / "audit.json").write_text(json.dumps(audit), encoding="utf-8")
    return folder
