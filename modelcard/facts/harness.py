"""lm-evaluation-harness's result files, as it writes them today and wrote them in 2023.

Today a figure is `results.TASK."METRIC,FILTER"`, in 2023 it was `results.TASK.METRIC`; its standard error lies beside
it. Of a task that is divided the whole is shown where the file has a figure of it. MMLU's 57 parts of 2023, which had
none, are averaged as the leaderboard did.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from recipe.errors import UserError
from recipe.evaluate.subject import Weights

Part = dict[str, Any]
Figures = dict[tuple[str, str], tuple[float, float | None]]
MMLU_2023 = "hendrycksTest-"


@dataclass(frozen=True)
class Score:
    """One figure.

    Attributes:
        task: As the harness calls it.
        parts: How many tasks it is the mean of; 0: it is one task's, or the harness's own of a group.
        holds: The tasks that it is made of, and their data sets' paths.
        metric: Its name.
        filter: How an answer was read, `none` where there is one way only.
        value: As the file has it.
        stderr: None where the file has none.
        shots: Examples in the prompt; None where the file does not say.
        version: Of the task.
        higher_is_better: None where the file does not say.
        dataset: Path, configuration and split; None each where the file does not say.
        limit: Samples of each task, or the share of them, that were taken; None: all.
        weights: Which of this run's were measured.
        file: Where it lies in the run folder.
    """

    task: str
    parts: int
    holds: tuple[str, ...]
    metric: str
    filter: str
    value: float
    stderr: float | None
    shots: int | None
    version: str | None
    higher_is_better: bool | None
    dataset: tuple[str | None, str | None, str | None]
    limit: float | None
    weights: Weights
    file: str


def read_scores(content: Part, config: Part, weights: Weights, file: str) -> Iterator[Score]:
    """Yield the figures of a result file.

    Args:
        content: Of the file.
        config: Its `config`.
        weights: Which were measured.
        file: Where it lies in the run folder.

    Raises:
        UserError: A figure is not finite.
    """
    results: dict[str, Part] = content["results"]
    today = any("," in key for found in results.values() for key in found)
    parts = {task: _leaves(content, task) for task in _groups(content)}
    figures = {task: dict(_figures(found, today, file, task)) for task, found in results.items()}
    hidden = {part for task in parts if figures.get(task) for part in _below(content, task)}
    of_mmlu = [task for task in results if task.startswith(MMLU_2023)] if not today else []
    hidden |= set(of_mmlu)
    for task, of_task in figures.items():
        if task in hidden:
            continue
        members = parts.get(task, [task])
        for (metric, by), (value, stderr) in of_task.items():
            yield Score(
                task=task,
                parts=0,
                holds=_holds(content, members),
                metric=metric,
                filter=by,
                value=value,
                stderr=stderr,
                shots=_alike([_shots(content, config, one) for one in (task, *members)]),
                version=_version(content, task),
                higher_is_better=_part(content, "higher_is_better", task).get(metric),
                dataset=_dataset(content, members, whole=task in parts),
                limit=config.get("limit"),
                weights=weights,
                file=file,
            )
    if of_mmlu:
        yield from _mmlu(content, config, {task: figures[task] for task in of_mmlu}, weights, file)


def _mmlu(
    content: Part, config: Part, figures: dict[str, Figures], weights: Weights, file: str
) -> Iterator[Score]:
    """Yield the unweighted means over MMLU's parts, of the metrics that all of them have."""
    shared = set.intersection(*(set(found) for found in figures.values()))
    for metric, by in sorted(shared):
        values = [found[metric, by][0] for found in figures.values()]
        yield Score(
            task="hendrycksTest",
            parts=len(values),
            holds=_holds(content, list(figures)),
            metric=metric,
            filter=by,
            value=math.fsum(values) / len(values),
            stderr=None,
            shots=_alike([_shots(content, config, task) for task in figures]),
            version=_alike([_version(content, task) for task in figures]),
            higher_is_better=None,
            dataset=("hendrycks_test", None, None),
            limit=config.get("limit"),
            weights=weights,
            file=file,
        )


def _figures(
    found: Part, today: bool, file: str, task: str
) -> Iterator[tuple[tuple[str, str], tuple[float, float | None]]]:
    for key, value in found.items():
        metric, comma, by = key.partition(",")
        if bool(comma) != today or metric.endswith("_stderr") or not is_number(value):
            continue
        if not math.isfinite(value):
            raise UserError(f"{file}: {key} of {task} is {value}; evaluate again, or remove it")
        stderr = found.get(f"{metric}_stderr{comma}{by}")
        if not is_number(stderr) or not math.isfinite(stderr):  # "N/A", as it is of one sample
            stderr = None
        yield (metric, by or "none"), (value, stderr)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of JSON's is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _part(content: Part, name: str, task: str) -> Part:
    found = content.get(name)
    inner = found.get(task) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else {}


def _groups(content: Part) -> list[str]:
    found = content.get("group_subtasks")
    return [task for task, parts in found.items() if parts] if isinstance(found, dict) else []


def _below(content: Part, task: str, seen: tuple[str, ...] = ()) -> list[str]:
    """Return the groups and tasks that a group is made of, on all levels."""
    found = []
    for part in content["group_subtasks"].get(task) or []:
        if part not in seen:
            found += [part, *_below(content, part, (*seen, task))]
    return found


def _leaves(content: Part, task: str) -> list[str]:
    return [part for part in _below(content, task) if not content["group_subtasks"].get(part)]


def _holds(content: Part, tasks: list[str]) -> tuple[str, ...]:
    paths = [_part(content, "configs", task).get("dataset_path") for task in tasks]
    return tuple(dict.fromkeys([*tasks, *(path for path in paths if isinstance(path, str))]))


def _alike(values: list[Any]) -> Any:
    """Return the value that all have that have one; None if they differ."""
    found = {value for value in values if value is not None}
    return found.pop() if len(found) == 1 else None


def _shots(content: Part, config: Part, task: str) -> int | None:
    shots = content.get("n-shot")
    of_task = shots.get(task) if isinstance(shots, dict) else None
    for value in (of_task, _part(content, "configs", task).get("num_fewshot"), config.get("num_fewshot")):
        if isinstance(value, int):
            return value
    return None


def _version(content: Part, task: str) -> str | None:
    versions = content.get("versions")
    version = versions.get(task) if isinstance(versions, dict) else None
    return version if version is None else re.sub(r"\.0$", "", str(version))


def _dataset(content: Part, tasks: list[str], *, whole: bool) -> tuple[str | None, str | None, str | None]:
    configs = [_part(content, "configs", task) for task in tasks]
    path = _alike([config.get("dataset_path") for config in configs])
    name = None if whole else _alike([config.get("dataset_name") for config in configs])
    split = _alike([config.get("test_split") or config.get("validation_split") for config in configs])
    return path, name, split
