"""A raw row of feedback read value by value: what `feedback` does with rows that its columns can't hold."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from recipe.curate.pair import BadRow, Row, encodes, kind, label, number

By = Literal["ratings", "overall_score"]

NOT_RATED = "N/A"


def read_row(row: Row, aspects: Sequence[str], by: By) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what a row says of itself, with what was noticed, and its answers, one by one.

    Args:
        row: As JSON gave it, with the columns that the format has.
        aspects: Those to tell apart.
        by: What an answer has to have: annotations, or an overall_score.

    Raises:
        BadRow: An answer is not as the format has it.
    """
    notes: set[str] = set()
    answers = [
        _answer(raw, f"completion {place}", aspects, by, notes)
        for place, raw in enumerate(row["completions"] or [], 1)
        if raw is not None
    ]
    if row["completions"] is None:
        notes.add("null_completions")
    elif len(answers) < len(row["completions"]):
        notes.add("null_completion")
    facts = {"source": label(row, "source"), "instruction": row["instruction"]}
    for values in (facts, *answers):
        for key, value in values.items():
            if isinstance(value, str) and not encodes(value):
                # To be looked at: the row gives no pair.
                values[key] = value.encode(errors="replace").decode()
                notes.add("invalid_unicode")
    return {**facts, "notes": sorted(notes)}, answers


def _answer(raw: object, what: str, aspects: Sequence[str], by: By, notes: set[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise BadRow(f"{what} is {kind(raw)}, not an object")
    for key in ("response", "annotations" if by == "ratings" else "overall_score"):
        if key not in raw:
            raise BadRow(f"{what} has no {key!r}, which format ultrafeedback by {by} needs")
    response = raw["response"]
    if response is not None and not isinstance(response, str):
        raise BadRow(f"response of {what} is {kind(response)}, not text")
    ratings = _ratings(raw.get("annotations"), what, notes)
    if any(ratings[name] for name in ratings.keys() - set(aspects)):
        notes.add("other_aspect")
    # Summed in the columns' order: another one may give another last digit.
    ordered = sorted(ratings, key=lambda name: aspects.index(name) if name in aspects else math.inf)
    numbers = [value for name in ordered for value in ratings[name] if not math.isnan(value)]
    return {
        "model": label(raw, "model"),
        "response": response,
        "critique": label(raw, "critique"),
        "overall_score": number(raw.get("overall_score"), f"overall_score of {what}"),
        "rating": sum(numbers) / len(numbers) if numbers else None,
        "aspects": {name: _mean(ratings.get(name, [])) for name in aspects},
    }


def _ratings(annotations: object, what: str, notes: set[str]) -> dict[str, list[float]]:
    """Return the ratings by aspect, NaN for "N/A"; an aspect is an object with a Rating, or a list of such."""
    if annotations is None:
        return {}
    if not isinstance(annotations, dict):
        raise BadRow(f"annotations of {what} is {kind(annotations)}, not an object by aspect")
    found: dict[str, list[float]] = {}
    for aspect, of_aspect in annotations.items():
        if isinstance(of_aspect, list):
            notes.add("aspect_list")
        found[aspect] = []
        for note in of_aspect if isinstance(of_aspect, list) else [of_aspect]:
            if note is None:
                continue
            if not isinstance(note, dict) or "Rating" not in note:
                raise BadRow(f"aspect {aspect!r} of {what} has no 'Rating'")
            said = note["Rating"]
            if isinstance(said, str) and said.strip() == NOT_RATED:
                found[aspect].append(math.nan)
            elif (value := number(said, f"Rating of aspect {aspect!r} of {what}")) is not None:
                found[aspect].append(value)
    return found


def _mean(ratings: list[float]) -> float | None:
    """Return the mean of an aspect's ratings; NaN if all are "N/A", None if there is none."""
    numbers = [value for value in ratings if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan if ratings else None
