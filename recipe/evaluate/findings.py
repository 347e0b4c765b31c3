"""What lm-eval found, as it is written down: numbers and text that are the same on any machine."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipe.evaluate.catalogue import Config, shipped
from recipe.evaluate.result import Content
from recipe.evaluate.sources import Source
from recipe.evaluate.tasks import Benchmark
from recipe.progress import Reporter

SAMPLES = 100  # of each task and filter that are kept beside its figures
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
OF_THE_ROWS = ("dataset_path", "dataset_name", "dataset_kwargs", "fewshot_split")


def headline(content: Content, benchmark: Benchmark) -> str:
    """Return the figure that a benchmark is known by, with its standard error."""
    figures = content["results"].get(benchmark.name)
    if figures is None:  # a tag: its tasks, and no figure of their own
        return f"{len(content['results'])} tasks"
    metric = main_metric(figures, benchmark)
    if metric is None:
        return "no figure"
    name, _, filtered = metric.partition(",")
    stderr = figures.get(f"{name}_stderr,{filtered}")
    shown = name if filtered == "none" else f"{name} ({filtered})"
    return f"{shown} {figures[metric]:.4f}" + (f" ± {stderr:.4f}" if isinstance(stderr, float) else "")


def main_metric(figures: Mapping[str, Any], benchmark: Benchmark) -> str | None:
    """Return the key of the figure that a benchmark is known by; None if there is none."""
    keys = [key for key in figures if "," in key and "_stderr," not in key]
    if benchmark.metric is None:
        return keys[0] if keys else None
    wanted = benchmark.metric if "," in benchmark.metric else f"{benchmark.metric},none"
    return wanted if wanted in keys else None


def task_hash(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return lm-eval's hash of a task's samples: rows, prompts and targets."""
    from lm_eval.utils import hash_string

    return str(
        hash_string("".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in rows))
    )


def few(leaf: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a task's first samples, without the texts of rows and prompts: they are the data set's."""
    kept = []
    for row in rows:
        if row["doc_id"] < SAMPLES:
            names = (
                "doc_id",
                "filter",
                "filtered_resps",
                "doc_hash",
                "prompt_hash",
                "target_hash",
                *row["metrics"],
            )
            kept.append({"task": leaf, **{name: row[name] for name in names}})
    return kept


def numbers(results: Mapping[str, Mapping[str, Any]], reporter: Reporter) -> dict[str, dict[str, Any]]:
    """Return each task's figures without those that are no number, and warn of them."""
    found: dict[str, dict[str, Any]] = {}
    for task, figures in results.items():
        odd = [key for key, value in figures.items() if isinstance(value, float) and not math.isfinite(value)]
        for key in odd:
            reporter.warn(f"{task}: {key} is {figures[key]}, and left out")
        found[task] = {key: value for key, value in figures.items() if key not in odd}
    return found


def public_config(found: Config, own: Config, source: Source, file: Path) -> Config:
    """Return a task's configuration as it is anywhere: with the data set's name, and no place on this machine.

    Args:
        found: As lm-eval says that it was.
        own: As the task has it.
        source: Its rows.
        file: Where it is defined.
    """
    config = {key: value for key, value in found.items() if key not in OF_THE_ROWS}
    config |= {key: own[key] for key in OF_THE_ROWS if own.get(key) is not None}
    if source.revision and not source.revision.startswith("sha256:"):
        config["dataset_kwargs"] = {**config.get("dataset_kwargs", {}), "revision": source.revision}
    config["metadata"] = {**(found.get("metadata") or {}), "config_source": place_of(file)}
    if source.fewshot and isinstance(examples := found.get("fewshot_config"), dict):
        config["fewshot_config"] = {**examples, "split": own.get("fewshot_split")}
    return config


def plain(value: Any) -> Any:
    """Return a value as JSON has it: functions by their names, numpy's numbers as Python's, no address in memory."""
    from lm_eval.utils import handle_non_serializable

    def default(odd: Any) -> Any:
        if callable(odd):
            return f"{getattr(odd, '__module__', '')}.{getattr(odd, '__qualname__', type(odd).__name__)}"
        found = handle_non_serializable(odd)
        return ADDRESS.sub("", found) if isinstance(found, str) else found

    return json.loads(json.dumps(value, default=default))


def place_of(file: Path) -> str:
    """Return where a task is defined, from the top of its package on."""
    for top in (shipped().parent.parent, Path(__file__).parents[2]):
        if file.is_relative_to(top):
            return file.relative_to(top).as_posix()
    return file.name
