"""The same as a notebook has it: `datasets.map` over rows, as the original data set was made."""

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.uf_truth import SPECIAL_TOKENS
from benchmarks.watched import spent
from benchmarks.work import Spent

PROCESSES = 2
ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


class ByMap(NamedTuple):
    """What it took to load the rows into the cache, and for all after; rows that gave a pair, and the figures."""

    load: Spent
    map: Spent
    pairs: int
    figures: dict[str, Any]


def by_map(raw: Path, cache: Path, out: Path, audit: bool) -> ByMap:
    """Make pairs, and the audit's figures if they are wanted, with a cache in the empty folder `cache`.

    Writes row, chosen_response, and the rejected answer's rating to `out` as Parquet, which is not timed.
    """
    os.environ["HF_DATASETS_CACHE"] = str(cache)
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    started = spent()
    rows = load_dataset("json", data_files=str(raw), split="train", cache_dir=str(cache))
    loaded = spent()
    binarized = rows.map(
        binarize_row, with_indices=True, num_proc=PROCESSES, remove_columns=rows.column_names
    )
    pairs = binarized.filter(has_pair, num_proc=PROCESSES)
    figures = _figures(rows) if audit else {}
    done = spent()
    pairs.to_parquet(str(out))
    return ByMap(loaded - started, done - loaded, len(pairs), figures)


def mean_rating(completion: dict[str, Any]) -> float | None:
    """Average the ratings that are numbers."""
    numbers = [
        float(note["Rating"]) for note in completion["annotations"].values() if note["Rating"] != "N/A"
    ]
    return sum(numbers) / len(numbers) if numbers else None


def binarize_row(row: dict[str, Any], index: int) -> dict[str, Any]:
    """Return a pair in the columns of argilla/ultrafeedback-binarized-preferences, with nulls if there is none."""
    rated = [(mean_rating(one), one) for one in row["completions"]]
    known = [(rating, one) for rating, one in rated if rating is not None]
    pair: dict[str, Any] = {
        "row": index,
        "source": row["source"],
        "instruction": row["instruction"],
        "chosen_response": None,
        "rejected_response": None,
        "chosen_avg_rating": None,
        "rejected_avg_rating": None,
        "chosen_model": None,
    }
    if known:
        top, best = max(known, key=lambda one: one[0])
        lower = [one for one in known if one[0] < top]
        if lower:
            rating, other = random.choice(lower)
            pair |= {
                "chosen_response": best["response"],
                "rejected_response": other["response"],
                "chosen_avg_rating": top,
                "rejected_avg_rating": rating,
                "chosen_model": best["model"],
            }
    return pair


def has_pair(row: dict[str, Any]) -> bool:
    """Keep the rows that gave a pair."""
    return row["chosen_response"] is not None


def audit_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be counted of a row."""
    completions = row["completions"]
    means = [mean_rating(one) for one in completions]
    scores = [one["overall_score"] for one in completions]
    texts = [row["instruction"], *(one["response"] for one in completions)]
    known = [mean for mean in means if mean is not None]
    compared = len(known) > 1 and min(known) < max(known) and min(scores) < max(scores)
    tens = [mean for mean, score in zip(means, scores, strict=True) if score == 10 and mean is not None]
    return {
        "scores": scores,
        "means": means,
        **{aspect: [one["annotations"][aspect]["Rating"] for one in completions] for aspect in ASPECTS},
        "models": [one["model"] for one in completions],
        "compared": compared,
        "differs": compared and means.index(max(known)) != scores.index(max(scores)),
        "low": sum(mean <= 2 for mean in tens),
        "between": sum(2 < mean <= 4 for mean in tens),
        "high": sum(mean > 4 for mean in tens),
        "empty": sum(not text.strip() for text in texts[1:]),
        "edges": sum(text != text.strip() != "" for text in texts),
        "odd": sum("\ufffd" in text for text in texts),
        "special": sum(any(token in text for token in SPECIAL_TOKENS) for text in texts),
        "all_equal": len(known) > 1 and min(known) == max(known),
    }


def _figures(rows: Any) -> dict[str, Any]:
    """Count, as a notebook would."""
    columns = [name for name in rows.column_names if name not in ("source", "instruction")]
    audited = rows.map(audit_row, num_proc=PROCESSES, remove_columns=columns)
    source = audited["source"]
    differs = audited["differs"]
    counted = (
        "compared",
        "differs",
        "low",
        "between",
        "high",
        "empty",
        "edges",
        "odd",
        "special",
        "all_equal",
    )
    return {
        "rows": len(audited),
        **{name: sum(audited[name]) for name in counted},
        "scores": dict(Counter(score for some in audited["scores"] for score in some)),
        "heat": len(
            Counter(
                (score, int(4 * mean) / 4)
                for some, marks in zip(audited["scores"], audited["means"], strict=True)
                for score, mean in zip(some, marks, strict=True)
                if mean is not None
            )
        ),
        "ratings": {
            aspect: dict(Counter(rating for some in audited[aspect] for rating in some)) for aspect in ASPECTS
        },
        "models": dict(Counter(model for some in audited["models"] for model in some)),
        "sources": dict(Counter(source)),
        "differs_by_source": dict(Counter(name for name, one in zip(source, differs, strict=True) if one)),
        "prompts_again": len(audited) - len(set(audited["instruction"])),
    }
