"""The evaluation as a card has it, section by section, and what it is read beside."""

from dataclasses import dataclass

from modelcard.evaluation.benchmarks import AVERAGE
from modelcard.evaluation.chat import Chat, chat
from modelcard.evaluation.measured import Measured, in_percent, is_headline, measured
from modelcard.evaluation.pairs import Pairs, pairs
from modelcard.evaluation.table import (
    Row,
    Shown,
    Table,
    compared,
    metric,
    name,
    published_name,
    shots,
    shown,
)
from modelcard.facts import Facts
from modelcard.facts.original import Published
from modelcard.facts.scores import Score
from recipe.evaluate.published import LEADERBOARD
from recipe.evaluate.subject import Weights

COLUMNS = {"benchmark": name, "shots": shots, "metric": metric}


@dataclass(frozen=True)
class Benchmarks:
    """lm-eval's tasks.

    Attributes:
        shown: The figures.
        seven: Whether they are the leaderboard's, and no others.
        average: Whether the average of the seven is among them.
        versions: Of the leaderboard's tasks, as far as the files say.
        of_2023: Whether all of them are of the leaderboard's time.
        by_question: Whether MMLU's is the mean over questions, as it is today.
        as_they_are: Whether some are not in percent.
        data: What they were measured on, a line each.
    """

    shown: Shown
    seven: bool
    average: bool
    versions: tuple[str, ...]
    of_2023: bool
    by_question: bool
    as_they_are: bool
    data: tuple[str, ...]


@dataclass(frozen=True)
class Tables:
    """All of it; None is not there."""

    benchmarks: Benchmarks | None
    chat: Chat | None
    pairs: Pairs | None
    smoke: Shown | None
    beside: Published | None
    rest: Table | None
    """What was published of benchmarks that are not measured here, where this run repeats the original."""

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return any((self.benchmarks, self.chat, self.pairs, self.smoke, self.rest))


def tables(facts: Facts, kind: Weights) -> Tables:
    """Return the evaluation as the card of a repository has it."""
    found, beside = measured(facts.evaluation, kind), facts.beside
    details = facts.evaluation.details if facts.evaluation else ()
    of_smoke = found.get("smoke")
    task = {"task": lambda score: f"`{score.task}`", "shots": shots, "metric": metric}
    return Tables(
        benchmarks=_benchmarks(found["benchmarks"], kind, beside) if "benchmarks" in found else None,
        chat=chat(found["chat"], kind, beside, details) if "chat" in found else None,
        pairs=pairs(found["preference"], kind, details) if "preference" in found else None,
        smoke=shown(of_smoke, kind, compared(of_smoke.ours, of_smoke, task)) if of_smoke else None,
        beside=beside,
        rest=_rest(beside, [score for one in found.values() for score in one.ours])
        if beside and facts.original
        else None,
    )


def _benchmarks(found: Measured, kind: Weights, beside: Published | None) -> Benchmarks:
    first = [score for score in found.ours if is_headline(score)]
    others = [score for score in found.ours if not is_headline(score)]
    known = {task for one in LEADERBOARD for task, _, _ in one.figures} | {AVERAGE}
    tasks = {score.task: score for score in found.ours if score.task != AVERAGE}
    return Benchmarks(
        shown=shown(found, kind, compared(first, found, COLUMNS, beside), compared(others, found, COLUMNS)),
        seven=set(tasks) <= known,
        average=any(score.task == AVERAGE for score in first),
        versions=tuple(f"`{task}` {score.version}" for task, score in tasks.items() if score.version),
        of_2023=all(score.origin.of_2023 for score in first),
        by_question=any(score.task == "mmlu" for score in first),
        as_they_are=any(in_percent(score) is None for score in found.ours),
        data=tuple(filter(None, map(_data, tasks.values()))),
    )


def _data(score: Score) -> str | None:
    """Return what a task was measured on, if its file says at which revision."""
    data = score.dataset
    if data.path is None or data.revision is None:
        return None
    config = f" ({data.config})" if data.config else ""
    split = f", {data.split}" if data.split else ""
    return f"`{score.task}`: `{data.path}`{config}{split}, at `{data.revision}`"


def _rest(beside: Published, scores: list[Score]) -> Table:
    """Return what was published of benchmarks that are not measured here."""
    here = {published_name(score) for score in scores}
    rows = [
        Row(
            (one + (f" ({beside.notes[one]})" if one in beside.notes else ""),),
            tuple(f"{value:.2f}" for value in values),
        )
        for one, values in beside.benchmarks.items()
        if one not in here
    ]
    heads = tuple(model.split("/")[-1] for model in (beside.model, beside.control))
    return Table(("benchmark",), heads, tuple(rows))
