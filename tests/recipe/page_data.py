"""A data folder as `notus curate` leaves it, made up: rated completions or pairs, with nulls and NaN."""

import json
import math
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recipe.curate.pair import Pair, Turn
from recipe.curate.table import write_pairs

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
SOURCES = ("evol_instruct", "flan", "sharegpt", None)
MODELS = ("alpaca-7b", "gpt-4", "llama-2-7b-chat", "starchat", "vicuna-33b")
COMPLETION = pa.struct(
    [
        pa.field("model", pa.large_string()),
        pa.field("response", pa.large_string()),
        pa.field("critique", pa.large_string()),
        pa.field("overall_score", pa.float64()),
        pa.field("rating", pa.float64()),
        pa.field("aspects", pa.struct([pa.field(aspect, pa.float64()) for aspect in ASPECTS])),
    ]
)
FEEDBACK = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("id", pa.large_string()),
        pa.field("file", pa.large_string()),
        pa.field("line", pa.int64()),
        pa.field("source", pa.large_string()),
        pa.field("instruction", pa.large_string()),
        pa.field("completions", pa.large_list(COMPLETION)),
        *(pa.field(name, pa.int8()) for name in ("chosen", "rejected", "chosen_other")),
        pa.field("reason", pa.large_string()),
        pa.field("flags", pa.large_list(pa.large_string())),
    ]
)

Row = dict[str, Any]


def completion(score: float | None, ratings: list[float | None], number: int, **more: Any) -> Row:
    """Return a completion; a rating is NaN for "N/A" and None where there is none."""
    rated = [rating for rating in ratings if rating is not None and not math.isnan(rating)]
    made = {
        "model": MODELS[number % len(MODELS)],
        "response": f"Answer {number}.\nIts second line.",
        "critique": f"Critique {number}.",
        "overall_score": score,
        "rating": sum(rated) / len(rated) if rated else None,
        "aspects": dict(zip(ASPECTS, ratings, strict=True)),
    }
    return made | more


def row(number: int, completions: list[Row] | None, **more: Any) -> Row:
    """Return a row; it chooses by the mean rating, and rejects the lowest."""
    rated = [
        (one["rating"], -place) for place, one in enumerate(completions or []) if one["rating"] is not None
    ]
    scored = [
        (one["overall_score"], -p)
        for p, one in enumerate(completions or [])
        if one["overall_score"] is not None
    ]
    chosen, rejected = (
        (-max(rated)[1], -min(rated)[1]) if rated and max(rated)[0] > min(rated)[0] else (None, None)
    )
    other = -max(scored)[1] if scored else None
    low = any(one["overall_score"] == 10 and (one["rating"] or 5) <= 2 for one in completions or [])
    flags = ["score_10_low"] * low + ["chosen_differs"] * (chosen is not None and chosen != other)
    made = {
        "row": number,
        "id": f"{number:016x}",
        "file": "feedback.jsonl",
        "line": number + 1,
        "source": SOURCES[number % len(SOURCES)],
        "instruction": f"Prompt {number}: what is {number} and one?",
        "completions": completions,
        "chosen": chosen,
        "rejected": rejected,
        "chosen_other": other,
        "reason": None
        if chosen is not None
        else "too_few_completions"
        if len(rated) < 2
        else "equal_ratings",
        "flags": flags,
    }
    return made | more


def feedback_rows(count: int) -> list[Row]:
    """Return `count` rows, every kind of null and NaN among the first ones."""
    random = Random(0)
    nan = math.nan
    rows = [
        row(0, [completion(10.0, [1, 2, 1, 2], 0), completion(7.0, [5, 4, 4, 4], 1)]),  # the fault
        row(1, None, source=None),
        row(2, [completion(None, [nan, nan, nan, nan], 2), completion(5.5, [3, None, 3, nan], 3)]),
        row(
            3,
            [completion(6.0, [3, 3, 3, 3], 4, critique=None), completion(6.0, [3, 3, 3, 3], 5, response="")],
        ),
        row(
            4,
            [completion(8.0, [4, 4, 4, 4], 6, model=None), completion(2.0, [1, 1, 1, 1], 7)],
            instruction=None,
        ),
        row(5, []),
    ]
    for number in range(len(rows), count):
        completions = []
        for place in range(4):
            quality = random.uniform(1, 5)
            ratings: list[float | None] = [min(5, max(1, round(random.gauss(quality, 0.7)))) for _ in ASPECTS]
            score = 10.0 if random.random() < 0.02 else min(9.5, round(4 * quality) / 2)
            completions.append(completion(score, ratings, 4 * number + place))
        rows.append(row(number, completions))
    return rows


def write_feedback_folder(folder: Path, rows: list[Row], *, row_group: int = 4096, **audit: Any) -> Path:
    """Write `feedback.parquet` and `audit.json`, with the parts of `audit` instead of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=FEEDBACK)
    pq.write_table(table, folder / "feedback.parquet", row_group_size=row_group)
    (folder / "audit.json").write_text(json.dumps(audit_of(rows) | audit), encoding="utf-8")
    return folder


def write_pairs_folder(folder: Path, count: int) -> Path:
    """Write `train.parquet`, `heldout.parquet` and an `audit.json` of what can be told of pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [
        Pair(
            (Turn("user", f"Prompt {n}?"),),
            f"Better {n}.",
            f"Worse {n}.",
            "mine",
            "a",
            None,
            4.0 + n % 2,
            2.5,
        )
        for n in range(count)
    ]
    turns = (
        Turn("system", "Be brief."),
        Turn("user", "Hi."),
        Turn("assistant", "Hello."),
        Turn("user", "Who?"),
    )
    write_pairs([*pairs, Pair(turns, "Me.", "Nobody.")], folder / "train.parquet")
    write_pairs(pairs[:2], folder / "heldout.parquet")
    length: dict[str, Any] = {
        "pairs": count,
        "chosen_longer": count,
        "share": 1.0,
        "mean_chosen": 9.0,
        "mean_rejected": 8.0,
    }
    length |= {"median_ratio": 1.1, "by_source": {"mine": 1.0}, "histogram": [[0.0, count]]}
    audit = {"format": "pairs", "rows": count, "length": length, "choice": None, "heat": None}
    (folder / "audit.json").write_text(json.dumps(audit), encoding="utf-8")
    return folder


def audit_of(rows: list[Row]) -> dict[str, Any]:
    """Return an audit of `rows`: all its parts, the counts that are shown counted."""
    every = [(one, row_) for row_ in rows for one in row_["completions"] or []]
    tens = [(one, row_) for one, row_ in every if one["overall_score"] == 10]
    low = [(one, row_) for one, row_ in tens if one["rating"] is not None and one["rating"] <= 2]
    high = [one for one, _ in tens if one["rating"] is not None and one["rating"] > 4]
    compared = [row_ for row_ in rows if row_["chosen"] is not None]
    by_source, by_model = {}, {}
    for source in {str(row_["source"]) for row_ in rows}:
        those = [row_ for row_ in compared if str(row_["source"]) == source]
        by_source[source] = _choice(those)
    for model in MODELS:
        those = [row_ for row_ in compared if row_["completions"][row_["chosen"]]["model"] == model]
        by_model[model] = _choice(those)
    ratios = Counter(_bin(row_) for row_ in compared)
    names = [*ASPECTS, "rating", "overall_score"]
    return {
        "format": "ultrafeedback",
        "rows": len(rows),
        "completions": len(every),
        "rules": {"binarize_by": "ratings", "binarize_rejected": "random", "drop_sources": []},
        "by_source": {
            source: {"rows": one["compared"], "completions": 4, "mean_rating": math.nan, "mean_score": 6.5}
            for source, one in by_source.items()
        },
        "by_model": {
            model: {
                "completions": sum(one["model"] == model for one, _ in every),
                "mean_rating": 3.0,
                "mean_score": None,
                "chosen_by_ratings": one["compared"],
                "chosen_by_score": one["compared"] - one["differs"],
                "offered": sum(one["model"] == model for one, _ in every),
                "score_10_low": sum(one["model"] == model for one, _ in low),
            }
            for model, one in by_model.items()
        },
        "ratings": {
            aspect: dict(Counter(_rating(one["aspects"][aspect]) for one, _ in every)) for aspect in ASPECTS
        },
        "scores": dict(Counter("null" if (s := one["overall_score"]) is None else f"{s:g}" for one, _ in every)),
        "heat": [[*place, n] for place, n in sorted(Counter(_place(one) for one, _ in every).items()) if place],
        "left_out": {
            reason: {"rows": n, "ids": [row_["id"] for row_ in rows if row_["reason"] == reason]}
            for reason, n in Counter(row_["reason"] for row_ in rows if row_["reason"]).items()
        },
        "noticed": {
            flag: {"count": n, "unit": "row", "ids": []}
            for flag, n in Counter(flag for row_ in rows for flag in row_["flags"]).items()
        },
        "choice": {**_choice(compared), "by_source": by_source, "by_model": by_model},
        "agreement": {
            "names": names,
            "share": [[1.0 if a == b else 0.9 if a else None for b in range(6)] for a in range(6)],
            "pairs": [[100] * 6] * 6,
        },
        "suspicious": {
            "score_10": len(tens),
            "low": len(low),
            "between": len(tens) - len(low) - len(high),
            "high": len(high),
            "missing": 0,
            "completions": [
                {"id": row_["id"], "completion": 0, "source": row_["source"], "class": "low", **one}
                for one, row_ in low
            ],
        },
        "ties": {"top_by_ratings": 3, "top_by_score": 4, "all_equal_by_ratings": 1, "all_equal_by_score": 1},
        "length": {
            "pairs": len(compared), "chosen_longer": 1, "share": 0.5, "mean_chosen": 20.0, "mean_rejected": 20.0,
            "median_ratio": 1.0, "by_source": {"flan": 0.5, "sharegpt": None},
            "histogram": [[place, n] for place, n in sorted(ratios.items())],
        },
        "duplicates": {"prompts": 0, "rows": 0, "groups": [], "responses": 0, "response_groups": 0},
        "contamination": {
            "files": {"truthful_qa.jsonl": {"texts": 817, "exact": 2, "13-gram": 3, "8-gram": 5}},
            "rows": {"exact": ["0" * 16, "1" * 16], "13-gram": ["0" * 16] * 3, "8-gram": ["0" * 16] * 5},
            "by_source": {"flan": 2},
        },
        "fixes": {"rule": "openbmb", "to_1": 1, "kept": 2, "to_annotate": 0, "ids": {"to_1": ["0" * 16]}},
        "overrides": None,
    }  # fmt: skip


def _choice(rows: list[Row]) -> dict[str, Any]:
    differs = sum("chosen_differs" in row_["flags"] for row_ in rows)
    return {"compared": len(rows), "differs": differs, "share": differs / len(rows) if rows else None}


def _bin(row_: Row) -> float:
    chosen, rejected = (len(row_["completions"][row_[name]]["response"]) for name in ("chosen", "rejected"))
    return math.floor(math.log2(chosen / rejected) * 4) / 4


def _rating(value: float | None) -> str:
    return "null" if value is None else "N/A" if math.isnan(value) else f"{value:g}"


def _place(one: Row) -> tuple[float, float] | tuple[()]:
    if one["overall_score"] is None or one["rating"] is None:
        return ()
    return one["overall_score"], math.floor(4 * one["rating"]) / 4
