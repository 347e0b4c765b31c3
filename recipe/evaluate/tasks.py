"""A benchmark as lm-eval is asked for it: its tasks, loaded over the rows that are theirs here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe.disk import write_text
from recipe.errors import UserError
from recipe.evaluate.catalogue import Catalogue, Config, manager
from recipe.evaluate.sources import Source, evaluated_split, fewshot_split


@dataclass(frozen=True)
class Benchmark:
    """A task, or a group of tasks that has figures of its own, and how it is asked.

    Attributes:
        name: As lm-eval has it.
        shots: Examples in a prompt; None: as the task says.
        metric: The one that it is known by, `METRIC` or `METRIC,FILTER`; None: its first.
    """

    name: str
    shots: int | None = None
    metric: str | None = None


@dataclass(frozen=True)
class Asked:
    """A benchmark, and where its rows are.

    Attributes:
        benchmark: Which.
        leaves: Its tasks' configurations.
        sources: Their rows.
    """

    benchmark: Benchmark
    leaves: Mapping[str, Config]
    sources: Mapping[str, Source]


def load_tasks(catalogue: Catalogue, asked: Asked, scratch: Path) -> Any:
    """Return a benchmark's tasks as lm-eval loads them.

    Args:
        catalogue: Knows where they are defined.
        asked: The benchmark.
        scratch: A folder to work in.

    Raises:
        UserError: The rows don't fit a task, or are too few for its examples.
    """
    import yaml

    folder = scratch / f"{asked.benchmark.name}.tasks"
    folder.mkdir(parents=True, exist_ok=True)
    for leaf, source in asked.sources.items():
        over = {"include": str(catalogue.file(leaf)), "task": leaf, **source.over(scratch / "rows")}
        if (shots := shots_of(asked.leaves[leaf], asked.benchmark)) != asked.leaves[leaf].get("num_fewshot"):
            over["num_fewshot"] = shots
        write_text(folder / f"{leaf}.yaml", yaml.safe_dump(over))
    known = manager(catalogue.folders, folder)
    where = ", ".join(sorted({source.path for source in asked.sources.values()}))
    tasks = _fitting(asked.benchmark.name, where, lambda: known.load([asked.benchmark.name]))
    for leaf, task in tasks["tasks"].items():
        _refuse_rows(leaf, task, asked)
    return tasks


def shots_of(config: Config, benchmark: Benchmark) -> int:
    """Return how many examples a task's prompts have; one that is made for none keeps to that."""
    own = config.get("num_fewshot")
    return int(own or 0) if benchmark.shots is None or own == 0 else benchmark.shots


def count_requests(tasks: Any, limit: int | None) -> int:
    """Return how many requests lm-eval makes of tasks: one a choice, or one a prompt that is answered with text."""
    count = 0
    for task in tasks["tasks"].values():
        rows = task.eval_docs
        rows = rows.select(range(min(limit, len(rows)))) if limit else rows
        if task.OUTPUT_TYPE == "multiple_choice":
            each = 2 if "acc_mutual_info" in task.aggregation() else 1
            count += each * sum(len(task.doc_to_choice(row)) for row in rows)
        else:
            count += len(rows) * task.config.repeats
    return count


def _refuse_rows(leaf: str, task: Any, asked: Asked) -> None:
    """Refuse rows that lm-eval would stumble over after hours."""
    config, source = asked.leaves[leaf], asked.sources[leaf]
    shots = shots_of(config, asked.benchmark)
    needed = shots + (fewshot_split(config) == evaluated_split(config))  # a row is no example for itself
    if shots and hasattr(task, "sampler") and len(task.sampler.df) < needed:
        raise UserError(
            f"{source.path}: {len(task.sampler.df)} rows to take examples from, and {leaf} needs {needed}; put more "
            "there"
        )
    if source.path.startswith("local:"):
        readings = [task.doc_to_text, task.doc_to_target]
        readings += [task.doc_to_choice] if task.config.doc_to_choice is not None else []
        _fitting(leaf, source.path, lambda: [[read(row) for read in readings] for row in task.eval_docs])


def _fitting(task: str, where: str, work: Callable[[], Any]) -> Any:
    """Return what `work` returns; what it stumbles over, in rows that are not as a task's have to be, is the user's."""
    import jinja2
    from datasets.exceptions import DatasetGenerationError, DatasetsError

    odd = (jinja2.TemplateError, DatasetsError, KeyError, IndexError, ValueError, TypeError, AttributeError)
    try:
        return work()
    except odd as error:
        why = error.__cause__ if isinstance(error, DatasetGenerationError) and error.__cause__ else error
        said = (str(why).strip().splitlines() or [""])[0]
        raise UserError(
            f"{where}: rows that {task} can't use ({type(why).__name__}: {said}); they have to be as in the data set "
            "that they stand for"
        ) from error
