"""Whether figures may stand beside each other: of the whole benchmark, and measured alike."""

from modelcard.facts.scores import Score
from recipe.evaluate.published import (
    ALPACA_EVAL_INSTRUCTIONS,
    LEADERBOARD,
    MT_BENCH_QUESTIONS,
    ROWS_AND_REQUESTS,
)

CHAT = {"alpaca_eval": ALPACA_EVAL_INSTRUCTIONS, "mt_bench": MT_BENCH_QUESTIONS}
"""Prompts of the benchmarks whose answers are judged."""
ENOUGH = 0.95
"""Share of them that a figure has to be of: judges leave some without a verdict."""


def rows_of(score: Score) -> int | None:
    """Return how many samples its benchmark has; None of a task that is none of the leaderboard's seven."""
    for one in LEADERBOARD:
        if score.task in {task for task, _, _ in one.figures}:
            return ROWS_AND_REQUESTS[one.figures[0][0]][0]  # by today's name
    return None


def is_whole(score: Score) -> bool:
    """Whether it is of as many samples as its benchmark has, as far as that is known: files of 2023 don't say."""
    if score.task in CHAT and score.samples is not None:
        return score.samples >= ENOUGH * CHAT[score.task]
    return score.limit is None and (score.samples is None or rows_of(score) in (None, score.samples))


def difference(ours: Score, base: Score) -> str | None:
    """Return in what the base was measured otherwise, as far as both files tell; of an average any of its figures."""
    judges = [one.origin.judge for one in (ours, base)]
    told = {
        "version of the task": (ours.version, base.version),
        "configuration of the data": (ours.dataset.config, base.dataset.config),
        "revision of the data": (ours.dataset.revision, base.dataset.revision),
        "judge": tuple(judge.model if judge else None for judge in judges),
        "annotator": tuple(judge.annotator if judge else None for judge in judges),
        "number of samples": (ours.samples, base.samples) if not any(judges) else (None, None),
    }
    for what, (one, other) in told.items():
        if None not in (one, other) and one != other:
            return f"the base has another {what} ({other}, not {one})"
    if ours.origin.chat_template != base.origin.chat_template:
        return "one was measured in the chat template, and the base's or the model's was not"
    if ours.origin.of_2023 != base.origin.of_2023:
        return "one is lm-eval's of 2023, and the base's or the model's is not"
    pairs = zip(ours.figures, base.figures, strict=True)  # seven, or none
    return next((f"{one.task}: {said}" for one, other in pairs if (said := difference(one, other))), None)
