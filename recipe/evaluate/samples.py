"""Answers of base and tuned model to the same held-out prompts, to be read side by side."""

import contextlib
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pyarrow import parquet

from recipe.curate.pair import prompt_text
from recipe.disk import write_text
from recipe.evaluate.answers import Decoding, answers_to, prompts_of
from recipe.evaluate.subject import Subject
from recipe.evaluate.suite import Evaluating
from recipe.logps import let_go

FILE = "samples.jsonl"
LONGEST = 256  # tokens of an answer: to be read
COLUMNS = ["id", "source", "prompt", "chosen"]

Row = dict[str, Any]


def choose(rows: Sequence[Row], count: int, fits: Callable[[Row], bool]) -> list[Row]:
    """Return some held-out rows, of each source in turn and in order of their ids: of the same rows, the same.

    Args:
        rows: With `id` and `source`.
        count: How many; fewer if there are no more.
        fits: Whether a row can be taken.
    """
    ordered = sorted(rows, key=lambda row: (row["source"] or "", row["id"]))
    groups = [list(group) for _, group in itertools.groupby(ordered, key=lambda row: row["source"])]
    in_turn = (row for turn in itertools.zip_longest(*groups) for row in turn if row is not None)
    return list(itertools.islice(filter(fits, in_turn), count))


def write_samples(evaluating: Evaluating, data: Path) -> dict[str, int]:
    """Write `samples.jsonl`; return how many prompts it has, and how many answers are cut.

    A row has `id`, `source`, `prompt` (as one text), `chosen`, the answers of `base` and `tuned`, all greedy, and
    whether these were cut at the longest length, `base_cut` and `tuned_cut`.

    Args:
        evaluating: The adapter or the merged weights.
        data: The held-out pairs.
    """
    evaluation = evaluating.run.recipe.evaluation
    decoding = Decoding(
        max_new_tokens=min(evaluation.answer_tokens, LONGEST), batch_size=evaluation.evaluate_batch_size
    )
    model, tokenizer = evaluating.subject.load()
    context = getattr(model.config, "max_position_embeddings", None)
    rows = choose(
        parquet.read_table(data, columns=COLUMNS).to_pylist(),
        evaluation.sample_answers,
        lambda row: context is None or len(prompts_of(tokenizer, [row["prompt"]])[0]) < context,
    )
    conversations = [row["prompt"] for row in rows]
    cut: dict[str, set[int]] = {"base": set(), "tuned": set()}
    with evaluating.reporter.bar("answers side by side", 2 * len(rows)) as bar:
        tuned = answers_to(model, tokenizer, conversations, decoding, bar=bar, cut=cut["tuned"].add)
        if evaluating.subject.weights == "merged":
            del model
            let_go()
            model, _ = Subject(evaluating.run, "base").load()
        with getattr(model, "disable_adapter", contextlib.nullcontext)():
            base = answers_to(model, tokenizer, conversations, decoding, bar=bar, cut=cut["base"].add)
    lines = [
        {
            **row,
            "prompt": prompt_text(row["prompt"]),
            "base": of_base,
            "tuned": of_tuned,
            **{f"{side}_cut": place in places for side, places in cut.items()},
        }
        for place, (row, of_base, of_tuned) in enumerate(zip(rows, base, tuned, strict=True))
    ]
    write_text(
        evaluating.out / FILE,
        "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines),
    )
    return {"prompts": len(rows), "cut": sum(map(len, cut.values()))}
