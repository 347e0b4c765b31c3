"""MT-Bench: questions of two turns, each answer graded from 1 to 10 by FastChat's protocol.

As there, an answer is sampled at the temperature of its category; the second turn follows the model's own first answer;
the judge is asked about each turn at temperature 0, by a prompt that holds a reference answer for math, reasoning and
coding; its grade stands in double brackets, or else in single ones; and figures are means over all that was graded.
Here a grade beyond 1 to 10 is none, and an answer without one is asked for once more and then counted.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recipe.evaluate.answers import Decoding
from recipe.evaluate.chat.client import Choice, Request, text_of
from recipe.evaluate.chat.fastchat import Benchmark, Question
from recipe.evaluate.chat.judge import Judged
from recipe.evaluate.kept_answers import KeptAnswers

TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
TEMPERATURES |= dict.fromkeys(("extraction", "math", "coding", "reasoning"), 0.0)
PARAMETERS = {"temperature": 0, "max_tokens": 2048}
GRADE = re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]")
SCALE = 1.0, 10.0
STAND_IN = 1500  # characters that an answer has while nobody knows it

Answers = Sequence[tuple[str, ...]]
"""The answers to each question, a turn each."""


@dataclass(frozen=True)
class Graded:
    """One turn of a question, graded.

    Attributes:
        question: Which.
        turn: 1 or 2.
        score: None where the judge gave no grade.
        judged: What it said.
    """

    question: Question
    turn: int
    score: float | None
    judged: Judged[float]


def conversations(questions: Sequence[Question], answers: Answers) -> list[list[dict[str, str]]]:
    """Return each question's conversation up to the user's next turn, after some answers."""
    found = []
    for question, said in zip(questions, answers, strict=True):
        messages = []
        for turn, answer in zip(question.turns, said, strict=False):
            messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": answer}]
        found.append([*messages, {"role": "user", "content": question.turns[len(said)]}])
    return found


def write_answers(questions: Sequence[Question], kept: KeptAnswers, decoding: Decoding) -> Answers:
    """Return the model's answers, a turn after the other, those that are missing written now."""
    answers: list[tuple[str, ...]] = [()] * len(questions)
    for turn in (1, 2):
        for temperature, places in _by_temperature(questions, decoding, turn).items():
            asked = conversations([questions[one] for one in places], [answers[one] for one in places])
            found = kept.to(
                asked,
                replace(decoding, temperature=temperature),
                f"MT-Bench, turn {turn}, temperature {temperature:g}",
            )
            for place, answer in zip(places, found, strict=True):
                answers[place] = (*answers[place], answer)
    return answers


def known_answers(questions: Sequence[Question], kept: KeptAnswers, decoding: Decoding) -> Answers:
    """Return the model's answers as far as they are written, and something of usual length for the others."""
    answers: list[tuple[str, ...]] = [()] * len(questions)
    for turn in (1, 2):
        for temperature, places in _by_temperature(questions, decoding, turn).items():
            asked = conversations([questions[one] for one in places], [answers[one] for one in places])
            found = kept.known(asked, replace(decoding, temperature=temperature))
            for place, answer in zip(places, found, strict=True):
                answers[place] = (*answers[place], "x" * STAND_IN if answer is None else answer)
    return answers


def requests(benchmark: Benchmark, questions: Sequence[Question], answers: Answers) -> list[Request]:
    """Return what the judge is asked: each question's first turns, and then the second ones."""
    return [
        _request(benchmark, question, said, turn)
        for turn in (1, 2)
        for question, said in zip(questions, answers, strict=True)
        if turn <= len(question.turns)
    ]


def graded(questions: Sequence[Question], judged: Sequence[Judged[float]]) -> list[Graded]:
    """Return the grades, in the order of `requests`."""
    asked = [(question, turn) for turn in (1, 2) for question in questions if turn <= len(question.turns)]
    return [
        Graded(question, turn, one.verdict, one) for (question, turn), one in zip(asked, judged, strict=True)
    ]


def grade(choice: Choice) -> float | None:
    """Return the grade that an answer of the judge's holds; None if there is none."""
    text = text_of(choice)
    for pattern in GRADE:
        if found := pattern.search(text):
            score = float(found[1])
            return score if SCALE[0] <= score <= SCALE[1] else None
    return None


def figures(grades: Sequence[Graded]) -> dict[str, tuple[float, float | None]]:
    """Return `score`, `first_turn` and `second_turn`: the mean, and its standard error over questions."""
    found = {}
    for name, turns in (("score", (1, 2)), ("first_turn", (1,)), ("second_turn", (2,))):
        by_question: dict[int | str, list[float]] = {}
        for one in grades:
            if one.turn in turns and one.score is not None:
                by_question.setdefault(one.question.id, []).append(one.score)
        every = [score for scores in by_question.values() for score in scores]
        if every:
            means = [statistics.fmean(scores) for scores in by_question.values()]
            error = statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else None
            found[name] = (statistics.fmean(every), error)
    return found


def by_category(grades: Sequence[Graded]) -> list[dict[str, Any]]:
    """Return the mean grade of each category that has one, and of how many questions."""
    found = []
    for category in dict.fromkeys(one.question.category for one in grades):
        own = [one for one in grades if one.question.category == category]
        scores = [one.score for one in own if one.score is not None]
        if scores:
            questions = len({one.question.id for one in own})
            found.append({"category": category, "questions": questions, "score": statistics.fmean(scores)})
    return found


def _request(benchmark: Benchmark, question: Question, answers: Sequence[str], turn: int) -> Request:
    grading = benchmark.gradings[bool(question.references), turn]
    if turn == 1:
        fields: Mapping[str, str] = {"question": question.turns[0], "answer": answers[0]}
    else:
        fields = {
            f"{what}_{place}": text
            for what, texts in (("question", question.turns), ("answer", answers))
            for place, text in enumerate(texts, 1)
        }
    references = {f"ref_answer_{place}": text for place, text in enumerate(question.references, 1)}
    asked = grading.template.format(**fields, **references)
    return Request(
        [{"role": "system", "content": grading.system}, {"role": "user", "content": asked}], PARAMETERS
    )


def _by_temperature(questions: Sequence[Question], decoding: Decoding, turn: int) -> dict[float, list[int]]:
    """Return the places of the questions that have such a turn, by the temperature of their answers."""
    found: dict[float, list[int]] = {}
    for place, question in enumerate(questions):
        if turn <= len(question.turns):
            own = question.temperature
            if own is None:
                own = TEMPERATURES.get(question.category, decoding.temperature)
            found.setdefault(own, []).append(place)
    return found
