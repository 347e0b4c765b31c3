"""The rows of the smoke tasks: made on the spot, the same on any machine, and in no training set of ours."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

from recipe.builtin.feedback import make_feedback
from recipe.builtin.styles import STYLES
from recipe.builtin.tasks import Task, draw_tasks

SEED = 2023  # any but the embedded feedback's
DRAWN = 900
REPLIES, ANSWERS = 24, 16  # questions of each task: few, because every run of the main job asks them
UNHELPFUL = ("evasive", "off_topic", "rambling", "rude")
ASKED_FOR_WORDS = ("capital", "opposite", "plural", "thank")  # kinds whose right answer is a word or two
THANKS = "Thanks for "  # what an answer of the kind `thank` begins with, and need not

Row = dict[str, Any]


def reply_rows() -> list[Row]:
    """Return questions with three ways to begin an answer, and the place of the helpful one."""
    rng = Random(SEED)
    helpful = [start for text in STYLES["full"].texts if (start := text.split("{sentence}")[0].strip())]
    rows = []
    for task in _unseen()[:REPLIES]:
        wrong = [_first_sentence(rng.choice(STYLES[style].texts)) for style in rng.sample(UNHELPFUL, 2)]
        best, place = rng.choice(helpful), rng.randrange(3)
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


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?]) ", text, maxsplit=1)[0]


ROWS: Mapping[str, Callable[[], list[Row]]] = {"smoke_reply": reply_rows, "smoke_answer": answer_rows}
