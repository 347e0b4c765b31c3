"""The embedded sample of feedback: rows in UltraFeedback's raw schema, with the fault of 2023 in them.

It stands in for openbmb/UltraFeedback where there is no network. The text is our own, procedural and seeded:
none of the named models wrote any of it; their names only fill the schema. The better answers differ in a
style that a model of a million parameters can learn (a whole sentence and a reason, not a curt, evasive or
rude reply), so that what is learnt shows on prompts that were held out.

Three things of the real data are there because curation has to survive them: the fault (a completion rated
badly on every aspect, with a negative critique, and `overall_score` 10, a 1 misread), an `overall_score`
that often prefers another completion than the mean rating does, and a few warts (ratings "N/A", rows whose
four means are equal, empty responses, a literal `</s>`, emoji).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

from recipe.builtin.styles import ASPECTS, BAD_STYLES, MODELS, PRINCIPLES, RATIONALES, STYLES, TYPES
from recipe.builtin.tasks import Task, draw_tasks

DEFAULT_PROMPTS = 640
FAULT_SHARE = 0.065  # of the rows; one completion in each
NA_SHARE = 0.05  # of the rows; one honesty rating in each
EQUAL_ROWS = 6
EMPTY_ROWS = 2
MIN_PROMPTS = 16  # so that every wart finds a row of its own


@dataclass
class _Answer:
    """A completion before it is written in the raw schema; a wart edits it here."""

    text: str
    ratings: list[str]  # in the order of `ASPECTS`
    critique: str
    overall_score: float
    right: bool


def _mean(ratings: list[str]) -> float:
    """Average the ratings that are numbers, 1 to 5."""
    numbers = [int(rating) for rating in ratings if rating != "N/A"]
    return sum(numbers) / len(numbers)


def _overall_score(mean: float, rng: Random) -> float:
    """Draw a score of 1 to 10, in halves, that follows the mean rating with an error of up to 4.5 points.

    A bad completion (a mean of at most 2) never gets above 6: a 10 on a bad one is the planted fault and
    nothing else. A good one gets its 10 as rarely as in the real data.
    """
    error = rng.randint(-5, 5) / 2 + rng.randint(-4, 4) / 2
    score = max(1.0, round(2 * (1.75 * mean - 0.5)) / 2 + error)
    best = rng.choice((9.0, 9.5, 9.5, 10.0))
    return min(score, best if mean > 2.0 else 6.0)


def _fill(text: str, task: Task) -> str:
    """Put the task's words into a style's template."""
    return text.format(
        sentence=task.sentence,
        reason=task.reason,
        answer=task.answer,
        wrong=task.wrong,
        Answer=task.answer[0].upper() + task.answer[1:],
        Wrong=task.wrong[0].upper() + task.wrong[1:],
    )


def _answer(task: Task, name: str, rng: Random) -> _Answer:
    """Answer `task` in the style `name`; the annotator is now and then one off on an aspect."""
    style = STYLES[name]
    text = _fill(rng.choice(style.texts), task)
    noise = (-1, 0, 0, 0, 0, 0, 0, 1)
    ratings = [str(min(5, max(1, rating + rng.choice(noise)))) for rating in style.ratings]
    score = _overall_score(_mean(ratings), rng)
    return _Answer(text, ratings, style.critique, score, right=name in {"full", "plain", "curt"})


def _draw_styles(rng: Random) -> list[str]:
    """Four different styles in random order, at least one of them right and in whole sentences."""
    while True:
        left = {name: style.weight for name, style in STYLES.items()}
        drawn = []
        for _ in range(4):
            name = rng.choices(list(left), weights=list(left.values()))[0]
            drawn.append(name)
            del left[name]
        if "full" in drawn or "plain" in drawn:
            return drawn


def _answers(task: Task, wart: str, rng: Random) -> list[_Answer]:
    """Write the four answers of a row, its wart in one of them (in all four for `equal`)."""
    styles = _draw_styles(rng)
    place = rng.randrange(4)  # of the answer that has the wart
    if wart == "equal":
        styles = ["full"] * 4
    elif wart == "fault" and not set(styles) & set(BAD_STYLES):
        worst = min(range(4), key=lambda i: (sum(STYLES[styles[i]].ratings), i))
        styles[worst] = rng.choice(BAD_STYLES)
    if wart == "fault":
        place = next(i for i, name in enumerate(styles) if name in BAD_STYLES)
    answers = [_answer(task, name, rng) for name in styles]
    odd = answers[place]
    if wart == "fault":
        odd.ratings = [str(min(2, int(rating))) for rating in odd.ratings]
        odd.overall_score = 10.0
    elif wart == "equal":
        for shift, answer in enumerate(answers):
            answer.text = _fill(STYLES["full"].texts[shift], task)
            answer.ratings = ["5", "5", "4", "4"][shift:] + ["5", "5", "4", "4"][:shift]
    elif wart == "not_applicable":
        odd.ratings[ASPECTS.index("honesty")] = "N/A"
    elif wart == "empty":
        odd.text, odd.ratings, odd.overall_score, odd.right = "", ["1"] * 4, 1.0, False
        odd.critique = "The response is empty."
    elif wart == "eos":
        odd.text += "</s>"
    elif wart == "emoji":
        odd.text += " \U0001f60a Voil\u00e0!"
    return answers


def _annotation(aspect: str, rating: str, *, right: bool) -> dict[str, object]:
    """Write the annotator's note on an aspect; two of the aspects have a type and a second rationale."""
    note: dict[str, object] = {"Rating": rating, "Rationale": RATIONALES[rating]}
    if aspect in TYPES:
        (types_right, text_right), (types_wrong, text_wrong) = TYPES[aspect]
        note["Type"] = list(types_right if right else types_wrong)
        note["Rationale"] = text_right if right else text_wrong
        note["Rationale For Rating"] = RATIONALES[rating]
    return note


def _row(task: Task, wart: str, rng: Random) -> dict[str, object]:
    """Write one row of the raw schema."""
    models = rng.sample(MODELS, 4)
    completions = []
    for model, answer in zip(models, _answers(task, wart, rng), strict=True):
        principle = rng.choice(list(PRINCIPLES))
        completions.append(
            {
                "model": model,
                "principle": principle,
                "custom_system_prompt": PRINCIPLES[principle],
                "response": answer.text,
                "critique": answer.critique,
                "overall_score": answer.overall_score,
                "annotations": {
                    aspect: _annotation(aspect, rating, right=answer.right)
                    for aspect, rating in zip(ASPECTS, answer.ratings, strict=True)
                },
            }
        )
    return {
        "source": task.kind,
        "instruction": task.instruction,
        "models": models,
        "correct_answers": [task.answer] if task.checkable else ["None"],
        "incorrect_answers": [task.wrong] if task.checkable else ["None"],
        "completions": completions,
    }


def make_feedback(prompts: int = DEFAULT_PROMPTS, seed: int = 42) -> list[dict[str, object]]:
    """Write the sample: `prompts` rows in UltraFeedback's raw schema, four completions each.

    The same arguments give the same rows, byte for byte, on any machine: everything is drawn from
    `random.Random(seed)`, and no number is computed by a C library's mathematics.

    Raises:
        ValueError: Fewer than `MIN_PROMPTS` rows, which the fault and the warts need, or more than there
            are instructions.
    """
    if prompts < MIN_PROMPTS:
        raise ValueError(f"{prompts} prompts; the sample needs at least {MIN_PROMPTS}")
    rng = Random(seed)
    tasks = draw_tasks(prompts, rng)
    planted = {
        "fault": round(FAULT_SHARE * prompts),
        "not_applicable": round(NA_SHARE * prompts),
        "equal": min(EQUAL_ROWS, prompts // 16),
        "empty": min(EMPTY_ROWS, prompts // 16),
        "eos": 1,
        "emoji": 1,
    }
    warts = [wart for wart, count in planted.items() for _ in range(count)]
    warts += [""] * (prompts - len(warts))
    rng.shuffle(warts)
    return [_row(task, wart, rng) for task, wart in zip(tasks, warts, strict=True)]


def write_feedback(path: Path, prompts: int = DEFAULT_PROMPTS, seed: int = 42) -> list[dict[str, object]]:
    """Write `make_feedback`'s rows to `path`, one JSON object a line in UTF-8, and return them."""
    rows = make_feedback(prompts, seed)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(lines.encode())
    return rows
