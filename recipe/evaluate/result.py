"""A result file: lm-evaluation-harness's own format, whoever measured, and beside it what it is a result of.

That is one object more, `notus`: the weights and their sha256, the data, the judge, the intervals. `eval/` of a run
folder has such files only; what lies beside them, answers and judgements, ends in `.jsonl` or `.parquet`.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipe.disk import write_json
from recipe.evaluate.suite import Evaluating

FORMAT = "notus-evaluation-1"
FOLDER, IMPORTED = "eval", "imported"

Content = dict[str, Any]


def figures(
    task: str,
    values: Mapping[str, tuple[float, float | None]],
    *,
    samples: int,
    version: str | int = 1,
    higher_is_better: Mapping[str, bool] | None = None,
) -> Content:
    """Return figures of a task that is none of lm-eval's, as lm-eval would write them.

    Args:
        task: Its name.
        values: Value and standard error by metric.
        samples: Of how many they are.
        version: Of the task: raised with a change of what is computed.
        higher_is_better: By metric; those that are not named are better if higher.
    """
    results: dict[str, Any] = {"alias": task}
    for metric, (value, stderr) in values.items():
        results[f"{metric},none"] = value
        results[f"{metric}_stderr,none"] = "N/A" if stderr is None else stderr
    better = {metric: (higher_is_better or {}).get(metric, True) for metric in values}
    return {
        "results": {task: results},
        "group_subtasks": {task: []},
        "configs": {task: {"task": task}},
        "versions": {task: version},
        "n-shot": {task: 0},
        "higher_is_better": {task: better},
        "n-samples": {task: {"original": samples, "effective": samples}},
    }


def same(a: float, b: float) -> bool:
    """Whether two values of a figure are one, but for how a sum of them rounded."""
    return math.isclose(a, b, rel_tol=1e-9)


def write_result(
    folder: Path,
    name: str,
    content: Content,
    evaluating: Evaluating,
    *,
    by: Mapping[str, str],
    data: Mapping[str, Any] | None = None,
    intervals: Mapping[str, Any] | None = None,
    judge: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    imported: Mapping[str, Any] | None = None,
) -> Path:
    """Write `NAME.json` into a folder, whole or not at all; return its path.

    Args:
        folder: Where to.
        name: Of the file, without `.json`.
        content: As lm-eval has it. `config` and `date` are added where they are missing.
        evaluating: What was measured.
        by: Who measured: `name`, `version` and `url`.
        data: By task: `path`, `config`, `split` and `revision`.
        intervals: By task and `METRIC,FILTER`: the bounds of 95%.
        judge: Who judged, and when.
        details: What else the suite found.
        imported: The file that it comes from, if Notus did not measure: `file`, `sha256`, and what it `was`.
    """
    subject, recipe = evaluating.subject, evaluating.run.recipe
    config = {
        "model": "hf",
        "model_args": subject.arguments,
        "limit": recipe.evaluation.evaluate_limit,
        **content.get("config", {}),
    }
    about = {
        "format": FORMAT,
        "suite": evaluating.suite,
        "weights": subject.weights,
        "of": subject.identity,
        "recipe": recipe.name,
        "science": recipe.science_sha256,
        "by": dict(by),
        "data": dict(data or {}),
        "intervals": dict(intervals or {}),
        "limit": config["limit"],
        "details": dict(details or {}),
        **({"judge": dict(judge)} if judge else {}),
        **({"imported": dict(imported)} if imported else {}),
    }
    path = folder / f"{name}.json"
    write_json(path, {"date": time.time(), **content, "config": config, "notus": about})
    return path
