"""Feedback like UltraFeedback's, of any size, made from a seed: the raw rows as JSONL, and the truth about them.

    python benchmarks/ultrafeedback.py OUT.jsonl [--prompts N] [--seed S] [--truth FILE]

Sizes, shares and faults are those published of openbmb/UltraFeedback (`ultrafeedback-stats.json`); the texts are made
by a rule and say nothing. The same seed gives the same bytes. Rows are made and written block by block.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))  # a clone need not be installed

from benchmarks.uf_marks import ASPECTS, NOT_RATED, PLACES, PROMPTS, Marks, draw, stats
from benchmarks.uf_texts import EDGES, ODD_CHARACTER, PHRASES, SPECIAL, Texts, lengths, log_normal, texts
from benchmarks.uf_truth import Truth
from recipe.disk import write_json
from recipe.progress import Reporter

Row = dict[str, Any]

BLOCK = 1024  # rows that are made at a time
# How much the lengths of a prompt's answers go together, and how much longer a better one is: fitted to how much longer
# chosen answers are than rejected ones.
TOGETHER, LONGER = 0.5, 0.2
RATIONALES = (
    "Rationale",
    "Rationale",
    "Rationale",
    "Rationale",
    "Rationale For Rating",
    "Rationale For Rating",
)


def main(
    out: Annotated[Path, typer.Argument(help="The JSONL file to write.")],
    prompts: Annotated[int, typer.Option(min=1, help="Rows, of four answers each.")] = PROMPTS,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives other rows.")] = 0,
    truth: Annotated[Path | None, typer.Option(help="Write what is in the rows, by row, as JSON.")] = None,
) -> None:
    """Make feedback like UltraFeedback's."""
    reporter = Reporter()
    found = write(out, prompts, seed, reporter, told=truth is not None)
    if truth is not None and found is not None:
        write_json(truth, found)


def write(
    path: Path, prompts: int, seed: int, reporter: Reporter, *, told: bool = True
) -> dict[str, Any] | None:
    """Write so many rows to `path` as JSONL. Return the truth about them, if it is to be told."""
    truth = Truth() if told else None
    aside = path.with_name(f"{path.name}.part")
    with aside.open("w", encoding="ascii") as file:
        for row in reporter.track(make(prompts, seed), f"making {path.name}", prompts):
            file.write(json.dumps(row) + "\n")
            if truth is not None:
                truth.add(row)
    aside.replace(path)
    return truth.as_dict() if truth is not None else None


def make(prompts: int, seed: int = 0) -> Iterator[Row]:
    """Yield so many rows, few of them in memory at a time."""
    marks = draw(prompts, seed)
    rng = np.random.default_rng([seed, 2])
    of_prompts = rng.integers(len(texts(seed).starts), size=prompts), rng.standard_normal(prompts)
    starts, sizes = of_prompts[0], lengths(of_prompts[1], "prompt")
    for first in range(0, prompts, BLOCK):
        block = _Block(marks, texts(seed), seed, first, min(BLOCK, prompts - first))
        for at in range(block.rows):
            number = int(marks.prompt[first + at])
            prompt = texts(seed).prompt(number, int(starts[number]), int(sizes[number]))
            yield block.row(at, prompt)


class _Block:
    """Some rows on end; whatever is drawn for them is drawn here."""

    def __init__(self, marks: Marks, made: Texts, seed: int, first: int, rows: int) -> None:
        self.marks, self.texts, self.first, self.rows = marks, made, first, rows
        rng = np.random.default_rng([seed, 3, first // BLOCK])
        part = slice(first, first + rows)
        shape = (rows, PLACES)
        quality = marks.quality[part]
        z = (
            LONGER * quality
            + TOGETHER**0.5 * rng.standard_normal((rows, 1))
            + (1 - LONGER**2 - TOGETHER) ** 0.5 * rng.standard_normal(shape)
        )
        assumed, tokens = stats()["assumed"], stats()["tokens"]
        words = len(made.starts)
        self.starts = rng.integers(words, size=shape).tolist()
        self.sizes = lengths(z, "answer").tolist()
        self.critique_starts = rng.integers(words, size=shape).tolist()
        self.critique_sizes = log_normal(
            rng, shape, tokens["critique"]["mean"] * stats()["chars_per_token"], assumed["critique_spread"]
        ).tolist()
        several = (*shape, len(RATIONALES))
        self.rationale_starts = rng.integers(words, size=several).tolist()
        self.rationale_sizes = log_normal(
            rng, several, assumed["rationale_chars"], assumed["rationale_spread"]
        ).tolist()
        self.names = list(stats()["principle_completions"])
        counts = list(stats()["principle_completions"].values())
        self.principles = rng.choice(len(counts), shape, p=np.array(counts) / sum(counts)).tolist()
        self.systems = rng.integers(len(made.systems), size=shape).tolist()
        self.types = rng.integers(1, 5, shape).tolist()
        self.means = _means(marks, part)
        self.ratings = marks.ratings[part].tolist()
        self.scores = marks.scores[part].tolist()
        self.models = marks.model[part].tolist()

    def row(self, at: int, prompt: str) -> Row:
        """Return a row in UltraFeedback's raw schema."""
        number = self.first + at
        source = self.marks.sources[self.marks.source[number]]
        completions = [self._completion(at, place) for place in range(int(self.marks.kept[number]))]
        row = {
            "source": source,
            "instruction": prompt,
            "models": [self.marks.models[model] for model in self.models[at]],
            "completions": completions,
            "correct_answers": ["None"],
            "incorrect_answers": ["None"],
        }
        if source in ("truthful_qa", "false_qa"):
            for place, name in enumerate(("correct_answers", "incorrect_answers")):
                row[name] = [
                    self.texts.passage(start, 60) for start in self.critique_starts[at][place : place + 2]
                ]
        for what, place in self.marks.edits.get(number, ()):
            _edit(row, what, place, number)
        return row

    def _completion(self, at: int, place: int) -> Row:
        passage = self.texts.passage
        starts, sizes = self.rationale_starts[at][place], self.rationale_sizes[at][place]
        said = [passage(start, size) for start, size in zip(starts, sizes, strict=True)]
        numbers = ["N/A" if one == NOT_RATED else str(one) for one in self.ratings[at][place]]
        annotations: dict[str, Row] = {}
        for one, aspect in enumerate(ASPECTS):
            if aspect in ("truthfulness", "helpfulness"):
                kind = ["None"] if numbers[one] == "5" else [str(self.types[at][place])]
                annotations[aspect] = {
                    "Type": kind,
                    "Rationale": said[one],
                    "Rating": numbers[one],
                    "Rationale For Rating": said[one + 2],
                }
            else:
                annotations[aspect] = {"Rating": numbers[one], "Rationale": said[one]}
        mean = self.means[at][place]
        phrases = PHRASES["bad" if mean <= 2 else "middling" if mean <= 4 else "good"]
        critique = passage(self.critique_starts[at][place], self.critique_sizes[at][place])
        return {
            "annotations": annotations,
            "custom_system_prompt": self.texts.systems[self.systems[at][place]],
            "model": self.marks.models[self.models[at][place]],
            "principle": self.names[self.principles[at][place]],
            "response": self.texts.answer(self.starts[at][place], self.sizes[at][place]),
            "critique": f"{phrases[at % len(phrases)]}. {critique}",
            "overall_score": self.scores[at][place],
        }


def _means(marks: Marks, part: slice) -> list[list[float]]:
    ratings = marks.ratings[part].astype(np.int16)
    rated = ratings != NOT_RATED
    means: list[list[float]] = ((ratings * rated).sum(2) / rated.sum(2)).tolist()
    return means


def _edit(row: Row, what: str, place: int, number: int) -> None:
    """Plant a fault in a text."""
    holder, key = (row, "instruction") if place < 0 else (row["completions"][place], "response")
    text = holder[key]
    if what == "same_response":
        holder[key] = row["completions"][0]["response"]
    elif what == "empty_response":
        holder[key] = "" if number % 12 else " \n"
    elif what == "edge_whitespace":
        edge = EDGES[number % len(EDGES)]
        holder[key] = edge + text if number % 3 else text + edge
    elif what == "replacement_character":
        holder[key] = f"{text[: len(text) // 2]}{ODD_CHARACTER}{text[len(text) // 2 :]}"
    elif what == "special_token":
        token = SPECIAL[number % len(SPECIAL)]
        holder[key] = f"{text[: len(text) // 2]}{token}{text[len(text) // 2 :]}"
    else:
        raise ValueError(what)


if __name__ == "__main__":
    typer.run(main)
