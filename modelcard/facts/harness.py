"""lm-evaluation-harness's result files, as it writes them today and wrote them in 2023.

Today a figure is `results.TASK."METRIC,FILTER"`, in 2023 it was `results.TASK.METRIC`; its standard error lies beside
it. Of a task that is divided the whole is shown where the file has a figure of it. MMLU's 57 parts of 2023, which had
none, are averaged as the leaderboard did.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from modelcard.facts.reading import MEASURE, Part, Reading, is_finite, is_number
from modelcard.facts.scores import Dataset, Origin, Score
from recipe.errors import UserError
from recipe.evaluate.published import MMLU_2023

Figures = dict[tuple[str, str], tuple[float, float | None]]
DATA = ("path", "config", "split", "revision")


def read_scores(content: Part, origin: Origin) -> Iterator[Score]:
    """Yield the figures of a result file.

    Args:
        content: Of the file.
        origin: What it says of all of its figures.

    Raises:
        UserError: A figure is not finite, or what the file says of its tasks is not as it is written.
    """
    _refuse_odd(content, origin.file)
    results: dict[str, Part] = content["results"]
    today = is_of_today(content)
    parts = {task: _leaves(content, task) for task in _groups(content)}
    figures = {task: dict(_figures(found, today, origin.file, task)) for task, found in results.items()}
    hidden = {part for task in parts if figures.get(task) for part in _below(content, task)}
    of_mmlu = [task for task in results if task.startswith(f"{MMLU_2023}-")] if not today else []
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
                interval=_interval(content, task, f"{metric},{by}"),
                samples=_samples(content, members),
                shots=_alike([_shots(content, one) for one in (task, *members)]),
                version=_version(content, task),
                higher_is_better=_part(content, "higher_is_better", task).get(metric),
                dataset=_dataset(content, task, members),
                origin=origin,
            )
    if of_mmlu:
        yield from _mmlu(content, {task: figures[task] for task in of_mmlu}, origin)


def _mmlu(content: Part, figures: dict[str, Figures], origin: Origin) -> Iterator[Score]:
    """Yield the unweighted means over MMLU's parts, of the metrics that all of them have."""
    shared = set.intersection(*(set(found) for found in figures.values()))
    for metric, by in sorted(shared):
        values = [found[metric, by][0] for found in figures.values()]
        yield Score(
            task=MMLU_2023,
            parts=len(values),
            holds=_holds(content, list(figures)),
            metric=metric,
            filter=by,
            value=math.fsum(values) / len(values),
            stderr=None,
            interval=None,
            samples=_samples(content, list(figures)),
            shots=_alike([_shots(content, task) for task in figures]),
            version=_alike([_version(content, task) for task in figures]),
            higher_is_better=None,
            dataset=Dataset("hendrycks_test"),
            origin=origin,
        )


def _figures(
    found: Part, today: bool, file: str, task: str
) -> Iterator[tuple[tuple[str, str], tuple[float, float | None]]]:
    for key, value in found.items():
        metric, comma, by = key.partition(",")
        if bool(comma) != today or metric.endswith("_stderr") or not is_number(value):
            continue
        if not is_finite(value):
            said = value if isinstance(value, float) else "too large a number"
            raise UserError(f"{file}: {key} of {task} is {said}; evaluate again, or remove it")
        stderr = found.get(f"{metric}_stderr{comma}{by}")
        if not is_finite(stderr):  # "N/A", as it is of one sample
            stderr = None
        yield (metric, by or "none"), (value, stderr)


def is_of_today(content: Part) -> bool:
    """Whether a result file is of lm-eval's 0.4, which has a filter beside each metric."""
    return any("," in key for found in content["results"].values() for key in found)


def _part(content: Part, name: str, task: str) -> Part:
    found = content.get(name)
    inner = found.get(task) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else {}


def _groups(content: Part) -> list[str]:
    found = content.get("group_subtasks")
    return [task for task in found if found[task]] if isinstance(found, dict) else []


def _refuse_odd(content: Part, file: str) -> None:
    """Refuse a file whose groups, or whose data by Notus's word, are none: they are taken as they are below."""
    groups, data = content.get("group_subtasks"), _about(content).get("data")
    for task, parts in groups.items() if isinstance(groups, dict) else ():
        if parts and not (isinstance(parts, list) and all(isinstance(part, str) for part in parts)):
            raise UserError(f"{file}: group_subtasks of {task} is not as lm-eval writes it; {MEASURE}")
    if data is not None:
        said = Reading(file, "its data", data)
        for task in data:
            of_task = said.inner(task)
            for key in DATA:
                of_task.text_or_none(key)


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
    found = [_part(content, "configs", task).get("dataset_path") for task in tasks]
    found += [_part(_about(content), "data", task).get("path") for task in tasks]
    return tuple(dict.fromkeys([*tasks, *(path for path in found if isinstance(path, str))]))


def _alike(values: list[Any]) -> Any:
    """Return the value that all have that have one; None if they differ."""
    found = {value for value in values if value is not None}
    return found.pop() if len(found) == 1 else None


def _shots(content: Part, task: str) -> int | None:
    shots, config = content.get("n-shot"), content.get("config")
    of_task = shots.get(task) if isinstance(shots, dict) else None
    of_all = config.get("num_fewshot") if isinstance(config, dict) else None
    for value in (of_task, _part(content, "configs", task).get("num_fewshot"), of_all):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _version(content: Part, task: str) -> str | None:
    versions = content.get("versions")
    version = versions.get(task) if isinstance(versions, dict) else None
    return version if version is None else re.sub(r"\.0$", "", str(version))


def _samples(content: Part, tasks: list[str]) -> int | None:
    counts = [_part(content, "n-samples", task).get("effective") for task in tasks]
    known = [count for count in counts if isinstance(count, int)]
    return sum(known) if len(known) == len(tasks) else None


def _interval(content: Part, task: str, figure: str) -> tuple[float, float] | None:
    found = _part(_about(content), "intervals", task).get(figure)
    if not isinstance(found, list) or len(found) != 2 or not all(map(is_finite, found)):
        return None
    return found[0], found[1]


def _dataset(content: Part, task: str, members: list[str]) -> Dataset:
    """Return what the file's `notus` says of a task's data, or lm-eval's configuration; of a group what is alike."""
    said = _part(_about(content), "data", task)
    parts = (
        [said]
        if said
        else [_part(_about(content), "data", one) or _configured(content, one) for one in members]
    )
    return Dataset(
        *(_alike([value for part in parts if isinstance(value := part.get(key), str)]) for key in DATA)
    )


def _configured(content: Part, task: str) -> Part:
    config = _part(content, "configs", task)
    loading = config.get("dataset_kwargs")
    return {
        "path": config.get("dataset_path"),
        "config": config.get("dataset_name"),
        "split": config.get("test_split") or config.get("validation_split"),
        "revision": loading.get("revision") if isinstance(loading, dict) else None,
    }


def _about(content: Part) -> Part:
    found = content.get("notus")
    return found if isinstance(found, dict) else {}
