"""The numbers of made feedback: who answered what how well, and what is wrong where.

They are drawn for all rows at once, a few bytes a completion, so that counts come out as published: a mark is given by
rank, the so many worst a 1, and so on. Each completion has a quality that its ratings and its score both follow, each
with an error of its own.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

STATS = Path(__file__).with_name("ultrafeedback-stats.json")
ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
PROMPTS = 63_967
PLACES = 4  # completions of a row
NOT_RATED = -1
TEN, ONE, LOW, HIGH = 10.0, 1.0, 2.0, 4.0

# How much of a rating's and of a score's variance is the quality's, fitted: the first to the spread of the mean
# rating, the second to the share of rows in which the two choose otherwise.
RATING_FOLLOWS, SCORE_FOLLOWS = 0.71, 0.48
# By how much the quality of a source is higher, fitted to `score_mean_by_source`; ultrachat's to
# what the mean of all leaves for it, 7.204.
SOURCE_QUALITY = {
    "sharegpt": 0.112,
    "flan_v2_niv2": -0.757,
    "evol_instruct": 0.023,
    "ultrachat": 0.646,
    "flan_v2_cot": 0.12,
    "false_qa": 0.28,
    "flan_v2_p3": -0.059,
    "truthful_qa": 0.596,
    "flan_v2_flan2021": -0.089,
}
# The same of a model: assumed, in the order in which their makers and others saw them.
MODEL_QUALITY = {
    "gpt-4": 0.6,
    "gpt-3.5-turbo": 0.45,
    "bard": 0.3,
    "wizardlm-70b": 0.3,
    "llama-2-70b-chat": 0.25,
    "vicuna-33b": 0.15,
    "wizardlm-13b": 0.15,
    "llama-2-13b-chat": 0.15,
    "ultralm-65b": 0.0,
    "wizardlm-7b": 0.0,
    "mpt-30b-chat": 0.0,
    "llama-2-7b-chat": 0.0,
    "ultralm-13b": -0.1,
    "falcon-40b-instruct": -0.3,
    "starchat": -0.5,
    "alpaca-7b": -0.5,
    "pythia-12b": -0.9,
}

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
Numbers = npt.NDArray[np.int64]


@dataclass
class Marks:
    """The numbers of all rows.

    Attributes:
        sources, models: Names, that the next two point to.
        source: Of each row.
        model: Of each completion, rows x 4; no model twice in a row.
        ratings: Rows x 4 x 4 aspects; `NOT_RATED` for "N/A".
        scores: Rows x 4.
        quality: Rows x 4.
        kept: How many completions a row has.
        prompt: The number of each row's prompt: its own, or another row's where it is asked again.
        edits: What is done to the texts, by row: what, and to which completion (-1 for the prompt).
        planted: The rows of all that was done on purpose, by name.
    """

    sources: list[str]
    models: list[str]
    source: Bytes
    model: Bytes
    ratings: Bytes
    scores: Floats
    quality: Floats
    kept: Bytes
    prompt: Numbers
    edits: dict[int, list[tuple[str, int]]]
    planted: dict[str, list[int]]

    def means(self) -> Floats:
        """Return the mean rating of each completion, "N/A" left out."""
        rated = self.ratings != NOT_RATED
        total = np.where(rated, self.ratings, 0).sum(2, dtype=np.int16)
        mean: Floats = (total / rated.sum(2, dtype=np.int16)).astype(np.float32)
        return mean


@cache
def stats() -> dict[str, Any]:
    """Return the published figures."""
    found: dict[str, Any] = json.loads(STATS.read_text(encoding="utf-8"))
    return found


def share(counts: Sequence[int], total: int) -> list[int]:
    """Return whole numbers that are as the counts are to each other, and `total` together."""
    exact = [count * total / sum(counts) for count in counts]
    found = [int(one) for one in exact]
    largest = sorted(range(len(exact)), key=lambda at: found[at] - exact[at])
    for at in largest[: total - sum(found)]:
        found[at] += 1
    return found


def scaled(count: int, rows: int) -> int:
    """Return how many there are of something in so many rows: one at least, where there are some hundreds of rows."""
    return max(round(count * rows / PROMPTS), min(1, rows // 200))


def draw(rows: int, seed: int) -> Marks:
    """Draw the numbers of so many rows."""
    rng = np.random.default_rng([seed, 0])
    sources, models = list(stats()["source_completions"]), list(stats()["model_completions"])
    of_source = share(list(stats()["source_completions"].values()), rows)
    source = rng.permutation(np.repeat(np.arange(len(sources), dtype=np.int8), of_source))
    model = _models(rng, rows, list(stats()["model_completions"].values()))
    quality = rng.standard_normal((rows, PLACES), dtype=np.float32)
    quality += np.array([SOURCE_QUALITY[name] for name in sources], np.float32)[source][:, None]
    quality += np.array([MODEL_QUALITY[name] for name in models], np.float32)[model]
    marks = Marks(
        sources,
        models,
        source,
        model,
        _ratings(rng, quality),
        _scores(rng, quality),
        quality,
        kept=np.full(rows, PLACES, np.int8),
        prompt=np.arange(rows),
        edits=defaultdict(list),
        planted={},
    )
    _plant(rng, marks)
    return marks


def _models(rng: np.random.Generator, rows: int, counts: Sequence[int]) -> Bytes:
    """Draw four different models a row, each as often as it should be: points 1 apart on a line of their shares."""
    drawn = np.empty((rows, PLACES), np.int8)
    shares = np.array(counts) / sum(counts) * PLACES
    for start in range(0, rows, 1 << 15):
        part = drawn[start : start + (1 << 15)]
        order = rng.random((len(part), len(counts))).argsort(1)
        ends = shares[order].cumsum(1)
        points = rng.random((len(part), 1)) + np.arange(PLACES)
        at = (ends[:, None, :] <= points[:, :, None]).sum(2).clip(max=len(counts) - 1)
        part[:] = rng.permuted(np.take_along_axis(order, at, 1), axis=1)
    return drawn


def _following(rng: np.random.Generator, quality: Floats, follows: float) -> Floats:
    error = rng.standard_normal(quality.shape, dtype=np.float32)
    followed: Floats = np.float32(follows**0.5) * quality + np.float32((1 - follows) ** 0.5) * error
    return followed


def _ratings(rng: np.random.Generator, quality: Floats) -> Bytes:
    ratings = np.empty((*quality.shape, len(ASPECTS)), np.int8)
    for at, aspect in enumerate(ASPECTS):
        counts = stats()["ratings"][aspect]
        numbers = [1, 2, 3, 4, 5]
        order = _following(rng, quality, RATING_FOLLOWS).ravel().argsort(kind="stable")
        of_aspect = np.empty(quality.size, np.int8)
        of_aspect[order] = np.repeat(numbers, share([counts[str(one)] for one in numbers], quality.size))
        if aspect == "honesty":  # the other aspects have one "N/A" among them: see `_plant`
            left_out, rated = share([counts["N/A"], sum(counts.values()) - counts["N/A"]], quality.size)
            of_aspect[rng.permutation(left_out + rated)[:left_out]] = NOT_RATED
        ratings[..., at] = of_aspect.reshape(quality.shape)
    return ratings


def _scores(rng: np.random.Generator, quality: Floats) -> Floats:
    """Draw the scores as they are since the repair; the faults are planted after."""
    counts = stats()["assumed"]["scores"]
    scores = np.empty(quality.size, np.float32)
    order = _following(rng, quality, SCORE_FOLLOWS).ravel().argsort(kind="stable")
    scores[order] = np.repeat([float(score) for score in counts], share(list(counts.values()), quality.size))
    return scores.reshape(quality.shape)


def _plant(rng: np.random.Generator, marks: Marks) -> None:
    """Put in what is wrong with the data, each thing in rows of its own as far as it changes marks."""
    rows = len(marks.source)
    assumed = stats()["assumed"]
    order = rng.permutation(rows)
    free = np.ones(rows, bool)

    def take(name: str, count: int, among: npt.NDArray[np.bool_] | None = None) -> list[int]:
        usable = order[free[order] if among is None else (free & among)[order]]
        taken: list[int] = usable[:count].tolist()
        free[taken] = False
        marks.planted[name] = sorted(taken)
        return taken

    none = scaled(stats()["rows_without_completions"], rows)
    marks.kept[take("no_completions", none)] = 0
    _equal_rows(rng, marks, take, rows - stats()["pairs_by_ratings"] * rows / PROMPTS - none)
    means = marks.means()
    few = take(
        "fewer_completions", scaled(assumed["rows_with_fewer_completions"], rows), means[:, 0] != means[:, 1]
    )
    marks.kept[few] = rng.integers(2, PLACES, len(few))
    _odd_ratings(
        marks, take("rating_zero", scaled(3, rows)), take("instruction_following_na", scaled(1, rows))
    )
    differ = marks.scores[:, 0] != marks.scores[:, 1]
    for row in take("same_response_other_score", scaled(assumed["same_response"], rows), differ):
        marks.edits[row].append(("same_response", 1))
    for row in take("empty_response", scaled(stats()["empty_responses"], rows)):
        marks.edits[row].append(("empty_response", int(rng.integers(PLACES))))
    _tens(rng, marks, free)
    again = take(
        "duplicate_prompt",
        2 * scaled(PROMPTS - stats()["rows_without_completions"] - stats()["unique_prompts"], rows),
    )
    half = len(again) // 2
    marks.prompt[again[:half]] = again[half : 2 * half]
    for name in ("edge_whitespace", "replacement_character", "special_token"):
        for row in take(name, scaled(assumed[name], rows)):
            marks.edits[row].append((name, int(rng.integers(PLACES))))
    for row in take("edge_whitespace_prompt", scaled(assumed["edge_whitespace_prompts"], rows)):
        marks.edits[row].append(("edge_whitespace", -1))


def _equal_rows(rng: np.random.Generator, marks: Marks, take: Any, wanted: float) -> None:
    """Make so many rows whose mean ratings are all equal: those that happen to be, and others."""
    means = marks.means()
    equal = (means == means[:, :1]).all(1)
    happened = take("equal_ratings", int(equal.sum()), equal)
    whole = (marks.ratings[:, 0] != NOT_RATED).all(1)
    made = take("made_equal", max(0, round(wanted) - len(happened)), whole)
    for row in made:
        for place in range(1, PLACES):
            marks.ratings[row, place] = rng.permutation(marks.ratings[row, 0])
    marks.planted["equal_ratings"] = sorted(happened + marks.planted.pop("made_equal"))


def _odd_ratings(marks: Marks, zeros: list[int], unrated: list[int]) -> None:
    """Give three answers a 0, one of them the lowest mean that was seen, and one an "N/A" where there is no other."""
    following, honesty = ASPECTS.index("instruction_following"), ASPECTS.index("honesty")
    for at, row in enumerate(zeros):
        marks.ratings[row, 0] = 1
        marks.ratings[row, 0, following] = 0
        marks.ratings[row, 0, honesty] = 2 if at else NOT_RATED
    for row in unrated:
        marks.ratings[row, 2, following] = NOT_RATED


def _tens(rng: np.random.Generator, marks: Marks, free: npt.NDArray[np.bool_]) -> None:
    """Plant the faulty scores: of each class so many tens, of low ones those that scored lowest, a 1 misread."""
    rows = len(marks.source)
    means, scores = marks.means(), marks.scores
    total = scaled(stats()["score_10"], rows)
    classes = stats()["assumed"]["score_10_classes"]
    low, between, high = share([classes[name] for name in ("low", "between", "high")], total)
    usable = np.repeat((free & (marks.kept == PLACES))[:, None], PLACES, 1)
    noise = rng.random(scores.shape)
    tens = scores == TEN
    scores[tens] = 9.5  # drawn anew below, where they may be
    for name, count, where, rank in (
        ("low", low, means <= LOW, scores + noise),
        ("between", between, (means > LOW) & (means <= HIGH), noise),
        ("high", high, means > HIGH, noise - 100 * tens),
    ):
        ranked = np.where(where & usable, rank, np.inf).ravel()
        chosen = ranked.argsort(kind="stable")[:count]
        chosen = chosen[np.isfinite(ranked[chosen])]
        scores.ravel()[chosen] = TEN
        marks.planted[f"score_10_{name}"] = sorted((chosen // PLACES).tolist())
