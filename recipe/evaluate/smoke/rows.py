"""The rows of the smoke tasks: made on the spot, the same on any machine, and in no training set of ours."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

from recipe.builtin.feedback import make_feedback
from recipe.builtin.styles import STYLES
from recipe.builtin.tasks import Task, draw_tasks

SEED = 2023  # any but the embedded feedback's
DRAWN = 900
REPLIES, ANSWERS = 48, 16  # questions of each task: few, because every run of the main job asks them
HELPFUL = tuple(opening for text in STYLES["full"].texts if (opening := text.split("{sentence}")[0].strip()))
NEAR = 4  # letters that two openings may differ by
UNHELPFUL = ("evasive", "off_topic", "rambling", "rude")
ASKED_FOR_WORDS = ("capital", "opposite", "plural", "thank")  # kinds whose right answer is a word or two
THANKS = "Thanks for "  # what an answer of the kind `thank` begins with, and need not

Row = dict[str, Any]


def reply_rows() -> list[Row]:
    """Return questions with three ways to begin an answer, and the place of the helpful one.

    Of the three texts the helpful one is as often the shortest as the longest, and by a few letters: who prefers short
    texts, as a model does that has learnt nothing, finds one in three.
    """
    rng = Random(SEED)
    rows = []
    for number, task in enumerate(_unseen()[:REPLIES]):
        best, shorter = HELPFUL[number % 2], number // 2 % 3
        wrong = [
            rng.choice(_openings(style, len(best), longer=place >= shorter))
            for place, style in enumerate(rng.sample(UNHELPFUL, 2))
        ]
        place = rng.randrange(3)
        rows.append(
            {"question": task.instruction, "replies": [*wrong[:place], best, *wrong[place:]], "best": place}
        )
    return rows


def answer_rows() -> list[Row]:
    """Return questions with the words that a right answer has."""
    by_kind = [[task for task in _unseen() if task.kind == kind] for kind in ASKED_FOR_WORDS]
    each = ANSWERS // len(by_kind)
    tasks = [task for place in zip(*(tasks[:each] for tasks in by_kind), strict=True) for task in place]
    return [{"question": task.instruction, "answer": task.answer.removeprefix(THANKS)} for task in tasks]


def as_jsonl(rows: Sequence[Row]) -> str:
    """Return rows as the lines of a file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@cache
def _unseen() -> list[Task]:
    """Return tasks whose instructions the embedded feedback has not."""
    seen = {str(row["instruction"]) for row in make_feedback()}
    return [task for task in draw_tasks(DRAWN, Random(SEED)) if task.instruction not in seen]


def _openings(style: str, length: int, *, longer: bool) -> list[str]:
    """Return the first words of a style's texts that are a few letters longer, or shorter, than so many."""
    words = [text.split() for text in STYLES[style].texts]
    openings = [" ".join(each[:count]) for each in words for count in range(1, len(each) + 1)]
    return [text for text in openings if 1 <= (len(text) - length) * (1 if longer else -1) <= NEAR]


ROWS: Mapping[str, Callable[[], list[Row]]] = {"smoke_reply": reply_rows, "smoke_answer": answer_rows}
