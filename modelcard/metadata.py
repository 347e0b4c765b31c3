"""A card's YAML metadata, as the Hub reads it."""

from typing import Any, Literal

from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index

from modelcard.benchmarks import TITLES
from modelcard.facts import Facts
from modelcard.facts.origin import HARNESS
from modelcard.facts.scores import Score

Kind = Literal["adapter", "merged", "base"]


def metadata(facts: Facts, kind: Kind) -> dict[str, Any]:
    """Return the metadata of one of a release's repositories."""
    release = facts.recipe.release
    common: dict[str, Any] = {
        "license": release.license,
        "language": release.language,
        "pipeline_tag": "text-generation",
        "library_name": "peft" if kind == "adapter" else "transformers",
    }
    if kind == "base":
        return common
    common["base_model"] = facts.base.name
    common["base_model_relation"] = "adapter" if kind == "adapter" else "finetune"
    # The pairs themselves, if they are published, and what they were made of.
    datasets = [facts.data.published, facts.data.name if facts.data.source == "hub" else None]
    if any(datasets):
        common["datasets"] = list(dict.fromkeys(filter(None, datasets)))
    common["tags"] = list(dict.fromkeys([*release.tags, "notus"]))
    if results := [eval_result(score, kind) for score in scores_for(facts, kind)]:
        common["model-index"] = eval_results_to_model_index(release.model_name, results)
    return common


def scores_for(facts: Facts, kind: Kind) -> list[Score]:
    """Return the figures of a repository's own weights or, where there are none, of the run's other ones."""
    every = [one for one in facts.evaluation.scores if one.weights != "base"] if facts.evaluation else []
    return [score for score in every if score.weights == kind] or every


def title(score: Score) -> str:
    """Return what a benchmark is called."""
    return TITLES.get(score.task, score.task)


def metric_name(score: Score) -> str:
    """Return what a figure is called beside others of its task."""
    return score.metric if score.filter == "none" else f"{score.metric}, {score.filter}"


def eval_result(score: Score, kind: Kind) -> EvalResult:
    """Return a figure as the Hub's client has it, on the card of a repository of this kind."""
    dataset = score.dataset
    arguments = {
        "num_few_shot": score.shots,
        "task": score.task,
        "version": score.version,
        "stderr": score.stderr,
        "limit": score.limit,
        "weights": score.weights if score.weights != kind else None,
    }
    return EvalResult(
        task_type="text-generation",
        task_name="Text generation",
        dataset_type=dataset.path if dataset.path and dataset.on_the_hub else score.task,
        dataset_name=title(score),
        dataset_config=dataset.config,
        dataset_split=dataset.split,
        dataset_revision=dataset.revision,
        metric_type=score.metric,
        metric_name=f"{score.task}: {metric_name(score)}",
        metric_value=score.value,
        # Not of the data set: several tasks share one.
        metric_args={key: value for key, value in arguments.items() if value is not None},
        source_name=HARNESS[0],
        source_url=HARNESS[1],
    )
