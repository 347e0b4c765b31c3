"""Figures as the Hub's `model-index` has them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index

from modelcard.evaluation.measured import metric_name, section_of, title
from modelcard.facts.scores import Score
from modelcard.words import joined
from recipe.evaluate.subject import Weights


def model_index(
    model_name: str, scores: Sequence[Score], kind: Weights, statement: str | None
) -> list[dict[str, Any]]:
    """Return the metadata of figures; those of the base are no part of it.

    Args:
        model_name: Of the release.
        scores: The figures.
        kind: Of the repository.
        statement: Where on the Hub it is said how this run came about: the source of what it measured itself.
    """
    results = [_result(score, kind, statement) for score in scores if score.weights != "base"]
    # What shares a data set is one entry there, under one name.
    names: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for result in results:
        if result.dataset_name not in names[result.unique_identifier]:
            names[result.unique_identifier].append(result.dataset_name)
    named = [replace(result, dataset_name=joined(names[result.unique_identifier])) for result in results]
    return eval_results_to_model_index(model_name, named)


def _result(score: Score, kind: Weights, statement: str | None) -> EvalResult:
    data, origin = score.dataset, score.origin
    source = (origin.by.name, origin.by.url) if origin.by.url else ("this run", statement)
    arguments = {
        "num_few_shot": score.shots if section_of(score) in ("benchmarks", "smoke") else None,
        "task": score.task,
        "version": score.version,
        "samples": score.samples,
        "stderr": score.stderr,
        "interval_95": list(score.interval) if score.interval else None,
        "limit": score.limit,
        "weights": score.weights if score.weights != kind else None,
        "chat_template": origin.chat_template or None,
        "judge": origin.judge.model if origin.judge else None,
        "judged": origin.judge.last if origin.judge else None,
    }
    return EvalResult(
        task_type="text-generation",
        task_name="Text generation",
        # Where it is none of the Hub's, what it is called here; its revision tells which it was.
        dataset_type=data.path if data.path and data.on_the_hub else score.task,
        dataset_name=title(score),
        dataset_config=data.config,
        dataset_split=data.split,
        dataset_revision=data.revision,
        metric_type=score.metric,
        metric_name=f"{score.task}: {metric_name(score)}",
        metric_value=score.value,
        metric_args={key: value for key, value in arguments.items() if value is not None},
        source_name=source[0] if source[1] else None,
        source_url=source[1],
    )
