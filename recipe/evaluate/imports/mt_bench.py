"""FastChat's judgements of MT-Bench, single answers graded from 1 to 10, with the means that its `show_result` has.

Their standard errors are over questions, as two turns of one are not two questions.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import fmean, stdev
from typing import Any

from recipe.errors import UserError
from recipe.evaluate.imports.found import Asked, Found, Source, is_finite, is_number
from recipe.evaluate.imports.named import pick
from recipe.evaluate.published import MT_BENCH_QUESTIONS
from recipe.evaluate.result import figures
from recipe.evaluate.whose import refuse_older

TASK = "mt_bench"
BY = {"name": "FastChat", "url": "https://github.com/lm-sys/FastChat"}
FIRST = 81  # the id of the first question
OF_CATEGORY = 10
CATEGORIES = (
    "writing",
    "roleplay",
    "reasoning",
    "math",
    "coding",
    "extraction",
    "stem",
    "humanities",
)  # in this order
NO_SCORE = -1  # where the judge's answer had none
KEYS = {"question_id", "model", "judge", "score", "turn"}

Row = dict[str, Any]


def is_one(content: Any) -> bool:
    """Whether a file is of this kind."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(row, dict) and row.keys() >= KEYS for row in content)
    )


def take(source: Source, asked: Asked) -> Found:
    """Return the mean scores of the run's model.

    Raises:
        UserError: They are another model's, a judgement is there twice or of no known question, or none has a score.
    """
    every: list[Row] = source.content
    name, weights = pick(asked, [str(row["model"]) for row in every], str(source))
    rows = [row for row in every if row["model"] == name]
    _refuse_unsound(rows, source)
    judges = {row["judge"][0] if isinstance(row["judge"], list) else str(row["judge"]) for row in rows}
    if len(judges) > 1:
        raise UserError(f"{source}: of several judges: {', '.join(sorted(judges))}; keep the rows of one")
    times = sorted(row["tstamp"] for row in rows if is_number(row.get("tstamp")))
    if weights != "base":
        refuse_older(asked.run, times[-1] if times else None, str(source), mend="judge again")
    scored = [row for row in rows if row["score"] != NO_SCORE]
    turns = {turn: [row for row in scored if row["turn"] == turn] for turn in (1, 2)}
    if not all(turns.values()):
        raise UserError(f"{source}: {name} has no score of one of the two turns; judge again")
    parts = {"score": scored, "first_turn": turns[1], "second_turn": turns[2]}
    questions = len({row["question_id"] for row in scored})
    content = figures(
        TASK, {name: (_mean(part), _stderr(part)) for name, part in parts.items()}, samples=questions
    )
    (judge,) = judges
    return Found(
        suite="chat",
        weights=weights,
        was="FastChat's judgements",
        content=content
        | {
            "config": {"limit": questions if questions < MT_BENCH_QUESTIONS else None},
            "date": times[-1] if times else None,
        },
        by=BY,
        data={TASK: {"path": "lm-sys/FastChat", "config": TASK, "split": "question", "revision": None}},
        judge={
            "model": judge,
            "endpoint": None,
            "annotator": "single-v1",
            "from": _day(times[0]) if times else None,
            "to": _day(times[-1]) if times else None,
            "judgements": len(rows),
            "without_verdict": len(rows) - len(scored),
        },
        details={"called": name, "by_category": _by_category(scored)},
    )


def _refuse_unsound(rows: Sequence[Row], source: Source) -> None:
    seen = set()
    for row in rows:
        question, turn, score = (row[key] for key in ("question_id", "turn", "score"))
        where = f"{source}: question {question}, turn {turn}"
        if not (isinstance(question, int) and 0 <= question - FIRST < MT_BENCH_QUESTIONS and turn in {1, 2}):
            raise UserError(f"{where} is none of MT-Bench's; name its judgements")
        if not is_finite(score) or not (score == NO_SCORE or 1 <= score <= 10):
            raise UserError(f"{where} has the score {score}; judge again")
        if (question, turn) in seen:
            raise UserError(f"{where} is judged twice; keep one of them")
        seen.add((question, turn))


def _mean(rows: Sequence[Row]) -> float:
    return fmean(row["score"] for row in rows)


def _stderr(rows: Sequence[Row]) -> float | None:
    by_question: dict[int, list[float]] = {}
    for row in rows:
        by_question.setdefault(row["question_id"], []).append(row["score"])
    means = [fmean(scores) for scores in by_question.values()]
    return stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None


def _by_category(rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = []
    for place, category in enumerate(CATEGORIES):
        here = [row for row in rows if (row["question_id"] - FIRST) // OF_CATEGORY == place]
        if here:
            questions = len({row["question_id"] for row in here})
            found.append({"category": category, "questions": questions, "score": _mean(here)})
    return found


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
