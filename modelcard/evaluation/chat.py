"""What judges said of answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelcard.evaluation.measured import CHAT, Measured, title
from modelcard.evaluation.table import BASE, OURS, Row, Shown, Table, compared, shown
from modelcard.facts.details import Category, Details
from modelcard.facts.original import Published
from modelcard.facts.scores import Judge, Score
from modelcard.words import joined, plural
from recipe.evaluate.subject import Weights

METRICS = {
    ("alpaca_eval", "win_rate"): "win rate, %",
    ("alpaca_eval", "length_controlled_winrate"): "win rate, length-controlled, %",
    ("mt_bench", "score"): "score, 1 to 10",
    ("mt_bench", "first_turn"): "first turn",
    ("mt_bench", "second_turn"): "second turn",
}

COUNTED = {"alpaca_eval": "answer", "mt_bench": "question"}


@dataclass(frozen=True)
class Chat:
    """AlpacaEval and MT-Bench.

    Attributes:
        shown: The figures.
        judges: Of what, by whom, how and when, in a phrase each.
        categories: MT-Bench's, if the file has them.
        reference: Whose answers AlpacaEval's judge compared with.
    """

    shown: Shown
    judges: tuple[str, ...]
    categories: Table
    reference: str | None


def chat(found: Measured, kind: Weights, beside: Published | None, details: Sequence[Details]) -> Chat:
    """Return what judges said, as the card of a repository has it."""
    known = [score for score in found.ours if (score.task, score.metric) in METRICS]
    known.sort(key=lambda score: (CHAT.index(score.task), list(METRICS).index((score.task, score.metric))))
    table = compared(
        known,
        found,
        {
            "benchmark": lambda score: title(score) + _count(score),
            "metric": lambda score: METRICS[score.task, score.metric],
        },
        beside,
    )
    judges: dict[Judge, list[str]] = {}
    for score in (*known, *found.base):
        if judge := score.origin.judge:
            names = judges.setdefault(judge, [])
            names += [title(score)] if title(score) not in names else []
    return Chat(
        shown=shown(found, kind, table),
        judges=tuple(f"{joined(names)} by {_judge(judge)}" for judge, names in judges.items()),
        categories=_categories(found, details),
        reference=next(
            (one.reference for one in details if one.reference and one.origin.weights == found.weights), None
        ),
    )


def _count(score: Score) -> str:
    """Return of how many it is; once for each benchmark."""
    if score.samples is None or score.metric in {"first_turn", "second_turn"}:
        return ""
    return f", {plural(score.samples, COUNTED[score.task])}"


def _judge(judge: Judge) -> str:
    named = joined([f"`{name}`" for name in judge.answered_as if name != judge.model])
    days = [day for day in dict.fromkeys((judge.first, judge.last)) if day]
    parts = [
        f"`{judge.model}`" + (f" (which answered as {named})" if named else ""),
        f" at `{judge.endpoint}`" if judge.endpoint else "",
        f" by the annotator `{judge.annotator}`" if judge.annotator not in {None, judge.model} else "",
        f", {' to '.join(days)}" if days else "",
        f", {plural(judge.without_verdict, 'judgement')} without a verdict" if judge.without_verdict else "",
    ]
    return "".join(parts)


def _categories(found: Measured, details: Sequence[Details]) -> Table:
    ours, base = (_by_name(details, weights) for weights in (found.weights, "base"))
    columns = [ours, base] if base else [ours]
    rows = tuple(
        Row(
            (name, f"{category.questions}"),
            tuple(f"{column[name].score:.2f}" if name in column else "-" for column in columns),
        )
        for name, category in ours.items()
    )
    return Table(("MT-Bench by category", "questions"), (OURS, BASE)[: len(columns)], rows)


def _by_name(details: Sequence[Details], weights: Weights) -> dict[str, Category]:
    return {
        category.name: category
        for about in details
        if about.origin.weights == weights
        for category in about.categories
    }
