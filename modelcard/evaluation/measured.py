"""Which figures a card shows, beside which of the base's, and as people read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from modelcard.evaluation.benchmarks import AVERAGE, SHARES, TITLES
from modelcard.facts.alike import difference
from modelcard.facts.evaluation import Evaluation
from modelcard.facts.scores import Score
from recipe.evaluate.published import LEADERBOARD, benchmark_of
from recipe.evaluate.subject import Weights

Section = Literal["benchmarks", "chat", "preference", "smoke"]
CHAT = ("alpaca_eval", "mt_bench")
HELDOUT = "heldout"
WHOSE: dict[Weights, str] = {
    "adapter": "the adapters over their base", "merged": "the merged weights", "base": "the base alone",
}  # fmt: skip
ORDER = [AVERAGE, *(task for one in LEADERBOARD for task, _, _ in one.figures)]
SPACE = "\u00a0"  # a figure is not torn apart at the end of a line
Z_95 = 1.959964
"""Half of a 95% interval, in standard errors."""


@dataclass(frozen=True)
class Measured:
    """The figures of a section of a card.

    Attributes:
        weights: Whose they are: the repository's own or, where it has none, the run's other ones.
        ours: The leaderboard's in its order, then others in order of their files.
        base: The base's.
        cut: By task, how many requests of ours were longer than the model reads, and of how many.
    """

    weights: Weights
    ours: tuple[Score, ...]
    base: tuple[Score, ...]
    cut: dict[str, tuple[int, int]]

    def of_base(self, score: Score) -> Score | None:
        """Return the base's figure that one of ours can be held against: measured alike."""
        keys = ("task", "metric", "filter", "shots", "limit")
        for one in self.base:
            if all(getattr(one, key) == getattr(score, key) for key in keys) and not difference(score, one):
                return one
        return None


def measured(evaluation: Evaluation | None, kind: Weights) -> dict[Section, Measured]:
    """Return what the card of a repository shows, by section; without the sections that it has nothing of."""
    found: dict[Section, Measured] = {}
    for section in get_args(Section):
        scores = [one for one in evaluation.scores if section_of(one) == section] if evaluation else []
        tuned = sorted((one for one in scores if one.weights != "base"), key=_place)
        if tuned:
            ours = [one for one in tuned if one.weights == kind] or tuned
            base = tuple(one for one in scores if one.weights == "base")
            found[section] = Measured(ours[0].weights, tuple(ours), base, _cut(evaluation, ours))
    return found


def section_of(score: Score) -> Section:
    """Return where on a card a figure is."""
    if score.suite == "smoke":
        return "smoke"
    if score.task in CHAT:
        return "chat"
    return "preference" if score.task == HELDOUT else "benchmarks"


def title(score: Score) -> str:
    """Return what a benchmark is called."""
    return TITLES.get(score.task, score.task)


def is_headline(score: Score) -> bool:
    """Whether it is the figure of its benchmark that people compare; of a benchmark that nobody knows each is."""
    if score.task == "alpaca_eval":
        return score.metric == "win_rate"
    known = {task for one in LEADERBOARD for task, _, _ in one.figures}
    return score.task not in known or benchmark_of((score.task, score.metric, score.filter)) is not None


def metric_name(score: Score) -> str:
    """Return what a figure is called beside others of its task."""
    return score.metric if score.filter == "none" else f"{score.metric}, {score.filter}"


def in_percent(score: Score) -> tuple[float, float | None] | None:
    """Return a figure and its standard error in percent; None if it is none that is read so."""
    if section_of(score) == "preference":
        return None
    if score.metric in SHARES:
        return 100 * score.value, None if score.stderr is None else 100 * score.stderr
    if score.task == "alpaca_eval" and "win" in score.metric:  # it is so already
        return score.value, score.stderr
    return None


def figure(score: Score | None) -> str:
    """Return a figure with its standard error or its interval, as it stands in a table."""
    if score is None:
        return "-"
    value, stderr = in_percent(score) or (score.value, score.stderr)
    digits = {"chat": 2, "preference": 3}.get(section_of(score), 2 if in_percent(score) else 4)
    if section_of(score) == "preference":
        stderr = None  # its intervals are of the pairs drawn anew, and need not be as wide to both sides
    if score.interval and not in_percent(score):
        return f"{value:,.{digits}f}{SPACE}{interval(*score.interval, digits)}"
    return f"{value:,.{digits}f}" + ("" if stderr is None else f"{SPACE}±{SPACE}{stderr:,.{digits}f}")


def interval(low: float, high: float, digits: int) -> str:
    """Return the bounds of an interval."""
    return f"[{low:,.{digits}f},{SPACE}{high:,.{digits}f}]"


def _cut(evaluation: Evaluation | None, scores: Sequence[Score]) -> dict[str, tuple[int, int]]:
    counts = {one.origin: one.cut for one in evaluation.details if one.cut} if evaluation else {}
    return {score.task: counts[score.origin] for score in scores if score.origin in counts}


def _place(score: Score) -> int:
    return ORDER.index(score.task) if score.task in ORDER else len(ORDER)
