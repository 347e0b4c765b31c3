"""lm-evaluation-harness's results: of today (0.4), of 2023 (0.3), and as the Open LLM Leaderboard of 2023 had them.

Figures stay as they are, under the tasks' names of their time: 2023's `truthfulqa_mc` has metrics that two tasks have
today, and its `gsm8k` read answers otherwise. Only the form becomes today's: `METRIC,FILTER`, with the filter `none`
where there was none; the leaderboard's `harness|arc:challenge|25` is the task `arc_challenge` with 25 examples.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipe.errors import UserError
from recipe.evaluate.imports.found import Asked, Found, Source, is_finite, is_number
from recipe.evaluate.imports.named import as_called
from recipe.evaluate.published import MMLU_2023, MMLU_SUBJECTS
from recipe.evaluate.result import FORMAT, Content
from recipe.evaluate.subject import Subject, Weights
from recipe.evaluate.whose import TUNED, arguments_of, models_named, part, refuse_older, whose

BY = {"name": "lm-evaluation-harness", "url": "https://github.com/EleutherAI/lm-evaluation-harness"}
OF_LEADERBOARD = re.compile(r"harness\|(?P<task>[^|]+)\|(?P<shots>\d+)(?:\|\d+)?")
LEFT_OUT = "all"  # the leaderboard's mean over everything that a file has, whatever it is
# What a result file of today says beside its figures and its configurations, but of the machine.
KEPT = (
    "groups", "group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples", "task_hashes", "chat_template",
    "chat_template_sha", "fewshot_as_multiturn", "system_instruction", "git_hash", "lm_eval_version",
    "transformers_version",
)  # fmt: skip
OF_CONFIG = (
    "task", "dataset_path", "dataset_name", "dataset_kwargs", "test_split", "validation_split", "fewshot_split",
    "num_fewshot", "output_type", "metric_list", "generation_kwargs", "repeats", "metadata",
)  # fmt: skip
NAMES = ("pretrained", "peft", "delta", "model", "model_name", "path", "tokenizer")  # in `model_args`
MEND = "name a file of this run's, or see --weights and --as"


def is_one(content: Any) -> bool:
    """Whether a file is of this kind."""
    found = content.get("results") if isinstance(content, dict) else None
    return isinstance(found, dict) and bool(found) and all(isinstance(one, dict) for one in found.values())


def take(source: Source, asked: Asked) -> Found:
    """Return what such a file holds.

    Raises:
        UserError: It is another model's, or older than the weights, or a figure is not one.
    """
    content: Content = source.content
    if part(content, "notus"):
        return _of_notus(source, asked)
    weights = _weights(asked, content, str(source))
    if weights != "base":
        date = content.get("date")
        refuse_older(asked.run, date if is_number(date) else source.date, str(source), mend="evaluate again")
    was, today = _as_today(content, str(source))
    results = {task: _finite(found, task, str(source)) for task, found in today["results"].items()}
    if not list(figures_of({"results": results})):
        raise UserError(f"{source}: results without a figure; evaluate again")
    config = _plain(dict(part(content, "config") or part(content, "config_general")))
    return Found(
        suite="leaderboard",
        weights=weights,
        was=was,
        content={
            **today,
            "results": results,
            "date": content["date"] if is_number(content.get("date")) else None,
            "config": config
            | {"model_args": _model_args(asked, weights, config), "limit": _limit(today, config)},
        },
        by=BY | _version(content),
        details={"left_out": [LEFT_OUT]} if LEFT_OUT in content["results"] else {},
    )


def _weights(asked: Asked, content: Content, where: str) -> Weights:
    if asked.called is not None:
        return as_called(asked, asked.called, models_named(content)[0], where)
    among = TUNED if asked.weights is None else (asked.weights,)
    return whose(asked.run, content, where, among, mend=MEND)


def _as_today(content: Content, where: str) -> tuple[str, Content]:
    """Return what a file was, and it as lm-eval 0.4 would have it, with what says what was measured."""
    results: dict[str, Content] = content["results"]
    if any("," in key for found in results.values() for key in found):
        kept = {key: content[key] for key in KEPT if key in content}
        configs = {
            task: {key: config[key] for key in OF_CONFIG if key in config}
            for task, config in part(content, "configs").items()
            if isinstance(config, dict)
        }
        groups = kept.get("group_subtasks") or _groups_by_alias(results)
        beside = _plain({**kept, "configs": configs, "group_subtasks": groups})
        return "lm-eval 0.4", {"results": results, **beside}
    if any("|" in name for name in results):
        was, names = "Open LLM Leaderboard of 2023", {name: _of_leaderboard(name, where) for name in results}
    else:
        shots = part(content, "config").get("num_fewshot")
        was, names = "lm-eval 0.3", {name: (name, shots) for name in results}
    names.pop(LEFT_OUT, None)
    renamed: dict[str, Content] = {}
    for name, (task, _) in names.items():
        if task in renamed:
            raise UserError(f"{where}: holds {task} twice, with other shots; keep one of them")
        renamed[task] = {f"{key},none": value for key, value in results[name].items()}
    versions = part(content, "versions")
    today = {
        "results": renamed,
        "versions": {task: versions[name] for name, (task, _) in names.items() if name in versions},
        "n-shot": {task: shots for task, shots in names.values() if isinstance(shots, int)},
    }
    return was, today | _with_mmlu(today)


def _of_leaderboard(name: str, where: str) -> tuple[str, int | None]:
    """Return task and examples of one of the leaderboard's names."""
    found = OF_LEADERBOARD.fullmatch(name)
    if found is None and name != LEFT_OUT:
        raise UserError(
            f"{where}: {name} is none of the Open LLM Leaderboard's tasks of 2023; name lm-eval's own file"
        )
    return (found["task"].replace(":", "_"), int(found["shots"])) if found else (name, None)


def _with_mmlu(today: Content) -> Content:
    """Return MMLU's mean over all of its parts, as the leaderboard had it; nothing where some are missing."""
    parts = sorted(task for task in today["results"] if task.startswith(f"{MMLU_2023}-"))
    if len(parts) != MMLU_SUBJECTS:
        return {}
    found = [today["results"][task] for task in parts]
    metrics = [
        key for key in found[0] if "_stderr," not in key and all(is_finite(one.get(key)) for one in found)
    ]
    means = {key: math.fsum(one[key] for one in found) / MMLU_SUBJECTS for key in metrics}
    merged: Content = {"results": today["results"] | {MMLU_2023: means}, "group_subtasks": {MMLU_2023: parts}}
    for name in ("versions", "n-shot"):
        of_parts = {today[name].get(task) for task in parts}
        if len(of_parts) == 1 and None not in of_parts:
            merged[name] = today[name] | {MMLU_2023: of_parts.pop()}
    return merged


def _groups_by_alias(results: dict[str, Content]) -> dict[str, list[str]]:
    """Return the groups that 0.4's first versions had told by the spaces before an alias only: below what is before."""
    groups: dict[str, list[str]] = {}
    above: list[tuple[int, str]] = []
    for task, found in results.items():
        alias = str(found.get("alias", task))
        depth = len(alias) - len(alias.lstrip(" "))
        while above and above[-1][0] >= depth:
            above.pop()
        if above:
            groups.setdefault(above[-1][1], []).append(task)
        above.append((depth, task))
    return groups


def _finite(found: Content, task: str, where: str) -> Content:
    """Return a task's figures, with no standard error where it is none."""
    checked = {}
    for key, value in found.items():
        if "_stderr" in key:
            checked[key] = value if is_finite(value) else "N/A"
            continue
        if is_number(value) and not is_finite(value):
            raise UserError(f"{where}: {key.removesuffix(',none')} of {task} is {value}; evaluate again")
        checked[key] = value
    return checked


def _limit(today: Content, config: Content) -> float | None:
    """Return the samples of each task that were taken, if not all."""
    limit: float | None = config.get("limit", config.get("max_samples"))
    counts = [one for one in part(today, "n-samples").values() if isinstance(one, dict)]
    fewer = [one["effective"] for one in counts if one.get("effective", 0) < one.get("original", 0)]
    return limit if limit is not None or not fewer else min(fewer)


def _version(content: Content) -> dict[str, str]:
    general = part(content, "config_general")
    version = content.get("lm_eval_version") or content.get("git_hash") or general.get("lighteval_sha")
    return {"version": str(version)} if version else {}


def _model_args(asked: Asked, weights: Weights, config: Content) -> str:
    """Return the model's arguments, with the published names in the place of those of the file."""
    own = arguments_of({"model_args": Subject(asked.run, weights).arguments})
    others = {key: value for key, value in arguments_of(config).items() if key not in NAMES}
    return ",".join(f"{key}={value}" for key, value in (own | others).items())


def _plain(value: Any) -> Any:
    """Return a value of JSON's without places of a machine, and with no number that JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str) and value.startswith("/"):
        return f"local:{Path(value).name}"
    return str(value) if is_number(value) and not is_finite(value) else value


def _of_notus(source: Source, asked: Asked) -> Found:
    """Return a file that Notus wrote, in another folder of the same run, say."""
    content: Content = source.content
    about = part(content, "notus")
    weights: Weights = about.get("weights", "adapter")
    if about.get("format") != FORMAT:
        raise UserError(
            f"{source}: format {about.get('format')}, and not {FORMAT}: another Notus wrote it; evaluate again"
        )
    if about.get("of") != Subject(asked.run, weights).identity:
        raise UserError(
            f"{source}: of other weights than this run's (recipe {about.get('recipe')}); name a file of this run's"
        )
    if asked.weights not in {None, weights}:
        raise UserError(
            f"{source}: of this run's {weights}, and not of its {asked.weights}; leave --weights out"
        )
    results = {task: _finite(found, task, str(source)) for task, found in content["results"].items()}
    return Found(
        suite=about["suite"],
        weights=weights,
        was="Notus",
        content={key: value for key, value in content.items() if key != "notus"} | {"results": results},
        by=about["by"],
        data=about.get("data") or {},
        judge=about.get("judge"),
        details=about.get("details") or {},
        intervals=about.get("intervals") or {},
    )


def figures_of(content: Content) -> Iterator[tuple[tuple[str, str, object], float]]:
    """Yield the figures of a result file of today: task, `METRIC,FILTER`, examples, and the value."""
    for task, found in content["results"].items():
        for key, value in found.items():
            if "," in key and "_stderr," not in key and is_number(value):
                yield (task, key, part(content, "n-shot").get(task)), value
