"""UltraFeedback's rows of rated completions into pairs, and an audit of its two kinds of rating.

The rules are those of argilla/ultrafeedback-binarized-preferences: chosen is the completion with the
highest mean of the aspect ratings, rejected a random one of those rated lower, as in the Zephyr paper.
`overall_score` in place of the mean gives Zephyr's HuggingFaceH4/ultrafeedback_binarized.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from recipe.curate.pair import BadRow, LeftOut, Pair, Reason, Row, Turn, kind, text

By = Literal["ratings", "overall_score"]


class Completion(NamedTuple):
    """One of the answers to an instruction; `rating` is the mean over aspects, None if nothing was rated."""

    model: str | None
    response: Any
    rating: float | None
    overall_score: float | None

    def score(self, by: By) -> float | None:
        """Return the number that decides, under `by`, how good the answer is."""
        return self.rating if by == "ratings" else self.overall_score


@dataclass
class Audit:
    """How far the two kinds of rating disagree, over all rows, those left out included."""

    completions: int = 0
    faulty_completions: int = 0
    """`overall_score` 10 with a mean rating of 2 or less: most likely a 1 misread (UltraFeedback issue 8)."""
    rows_compared: int = 0
    """Rows in which both kinds of rating have a best completion and a worse one."""
    chosen_differs: int = 0
    """Rows among these in which it is not the same one."""

    def add(self, completions: list[Completion]) -> None:
        """Count one row."""
        self.completions += len(completions)
        self.faulty_completions += sum(
            one.overall_score == 10 and one.rating is not None and one.rating <= 2 for one in completions
        )
        try:
            by_ratings, by_score = _best(completions, "ratings"), _best(completions, "overall_score")
        except LeftOut:
            return
        self.rows_compared += 1
        self.chosen_differs += by_ratings is not by_score


def binarize(row: Row, by: By, seed: int, audit: Audit) -> Pair:
    """Make a pair of an UltraFeedback row.

    Of several best completions the first in the row is chosen. The random rejected one is drawn by a seed
    made of `seed` and the row's texts, so that it stays the same wherever the row stands. A completion's own
    system prompt is not part of the prompt, as it was not in the original.

    Raises:
        LeftOut: Fewer than two completions are rated, all rated the same, or a needed text is null.
        BadRow: A completion is not what the format promises.
    """
    completions = _completions(row, by)
    audit.add(completions)
    chosen = _best(completions, by)
    instruction = text(row["instruction"], "column 'instruction'")
    top = chosen.score(by)
    lower = [one for one in completions if one.score(by) is not None and one.score(by) != top]
    content = [seed, instruction, [[one.model, one.response] for one in completions]]
    draw = hashlib.sha256(json.dumps(content, default=str).encode()).digest()
    rejected = lower[int.from_bytes(draw[:8]) % len(lower)]
    return Pair(
        prompt=(Turn("user", instruction),),
        chosen=text(chosen.response, "the chosen completion's response"),
        rejected=text(rejected.response, "the rejected completion's response"),
        source=label(row, "source"),
        chosen_model=chosen.model,
        rejected_model=rejected.model,
        chosen_rating=top,
        rejected_rating=rejected.score(by),
    )


def number(value: object, what: str) -> float | None:
    """Return a rating, which `what` names, as a number; None for null, NaN and "N/A".

    Raises:
        BadRow: It is no number.
    """
    if value is None or (isinstance(value, str) and value.strip() == "N/A"):
        return None
    try:
        parsed = (
            float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.inf
        )
    except (ValueError, OverflowError):
        parsed = math.inf
    if math.isinf(parsed):
        raise BadRow(f"{what} is {str(value)[:20]!r}, not a number, null or 'N/A'")
    return None if math.isnan(parsed) else parsed


def label(row: Row, column: str) -> str | None:
    """Return a text that only describes the row (its source, the model that answered), or None."""
    value = row.get(column)
    return value if isinstance(value, str) else None


def _best(completions: list[Completion], by: By) -> Completion:
    rated = [(score, one) for one in completions if (score := one.score(by)) is not None]
    if len(rated) < 2:
        raise LeftOut(Reason.TOO_FEW_COMPLETIONS)
    top, best = max(rated, key=lambda pair: pair[0])  # the first of several
    if all(score == top for score, _ in rated):
        raise LeftOut(Reason.EQUAL_RATINGS)
    return best


def _completions(row: Row, by: By) -> list[Completion]:
    if row["completions"] is None:
        raise LeftOut(Reason.NULL_FIELD)
    needed = ("response", "annotations" if by == "ratings" else "overall_score")
    completions = []
    for place, raw in enumerate(row["completions"], 1):
        what = f"completion {place}"
        if raw is None:
            continue
        if not isinstance(raw, dict):
            raise BadRow(f"{what} is {kind(raw)}, not an object")
        for key in needed:
            if key not in raw:
                raise BadRow(f"{what} has no {key!r}, which format ultrafeedback by {by} needs")
        rating = _mean_rating(raw.get("annotations"), what)
        score = number(raw.get("overall_score"), f"overall_score of {what}")
        completions.append(Completion(label(raw, "model"), raw["response"], rating, score))
    return completions


def _mean_rating(annotations: object, what: str) -> float | None:
    """Return the mean over all aspects' ratings; an aspect is an object with a Rating, or a list of such."""
    if annotations is None:
        return None
    if not isinstance(annotations, dict):
        raise BadRow(f"annotations of {what} is {kind(annotations)}, not an object by aspect")
    ratings = []
    for aspect, notes in annotations.items():
        for note in notes if isinstance(notes, list) else [notes]:
            if note is None:
                continue
            if not isinstance(note, dict) or "Rating" not in note:
                raise BadRow(f"aspect {aspect!r} of {what} has no 'Rating'")
            rating = number(note["Rating"], f"Rating of aspect {aspect!r} of {what}")
            if rating is not None:
                ratings.append(rating)
    return sum(ratings) / len(ratings) if ratings else None
