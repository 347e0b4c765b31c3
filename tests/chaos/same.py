"""Whether two runs are equal in all but their times; and what a run has left that should be gone."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recipe.disk import file_sha256
from recipe.schema import canonical_sha256

# What takes its time, in a log, in TensorBoard (there after `train/` or `eval/`) and in metrics.json.
TIMES = {
    "pairs_per_second",
    "peak_memory_bytes",
    "reference_pairs_per_second",
    "runtime",
    "seconds",
    "samples_per_second",
    "share_of_peak",
    "steps_per_second",
    "tokens_per_second",
}
SPOKEN_TIMES = {"speed", "peak memory"}
ENTRY_TIMES = {"seconds", "started"}
LOG, METRICS, BOARD = "training/log.jsonl", "training/metrics.json", "training/tensorboard/"
RESULTS = "eval/"


@dataclass(frozen=True)
class Facts:
    """All of a run folder that must not depend on how often it was killed.

    Attributes:
        files: sha256 by path, of those whose bytes are to be equal.
        log: What was logged, a record each.
        metrics: The figures.
        scalars: TensorBoard's, as (step, value), by tag.
        manifest: What it says.
    """

    files: Mapping[str, str]
    log: list[dict[str, Any]]
    metrics: Mapping[str, Any]
    scalars: Mapping[str, list[tuple[int, float]]]
    manifest: Mapping[str, Any]


def facts_of(run: Path) -> Facts:
    """Return the facts of a run folder."""
    files = {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.is_file()}
    differs = {"manifest.json", ".lock", LOG, METRICS, "release.json"}
    log, metrics = run / LOG, run / METRICS
    return Facts(
        {
            name: _result_sha256(path)
            if _is_result(name)
            else _content_sha256(path)
            if name.startswith("reference/")
            else file_sha256(path)
            for name, path in sorted(files.items())
            if name not in differs and not name.startswith(BOARD)
        },
        [_timeless(json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]
        if log.is_file()
        else [],
        _timeless(json.loads(metrics.read_text(encoding="utf-8"))) if metrics.is_file() else {},
        scalars_of(run / BOARD),
        _manifest(json.loads((run / "manifest.json").read_text(encoding="utf-8"))),
    )


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return TensorBoard's scalars, all that its files hold, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    if not folder.is_dir():
        return {}
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}, purge_orphaned_data=False).Reload()
    return {
        tag: [(one.step, one.value) for one in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
        if not _is_time(tag)
    }


def differences(run: Path, whole: Facts) -> list[str]:
    """Return what of a run is not as in the undisturbed one, a line each."""
    found = facts_of(run)
    wrong = list(_unequal(found.files, whole.files, "files"))
    wrong += _log_differences(found.log, whole.log)
    wrong += list(_unequal(found.metrics, whole.metrics, METRICS))
    wrong += _board_differences(found.scalars, whole.scalars)
    wrong += list(_unequal(found.manifest, whole.manifest, "manifest.json"))
    return wrong


def leftovers(run: Path) -> list[str]:
    """Return what a run that is done has left, a line each: files half-written, checkpoints, its lock."""
    wrong = [
        f"{path.relative_to(run)} is left"
        for path in sorted(run.rglob("*"))
        if ".partial" in path.name or path.relative_to(run).as_posix() == "checkpoints"
    ]
    try:
        with FileLock(run / ".lock", timeout=0):
            pass
    except Timeout:
        wrong.append("the lock is held")
    return wrong


def _content_sha256(path: Path) -> str:
    """Return a hash of a file's content: safetensors' metadata come in another order in each process."""
    from safetensors import safe_open

    if path.suffix != ".safetensors":
        return file_sha256(path)
    with safe_open(path, "np") as file:
        content = {name: file.get_tensor(name).tobytes().hex() for name in sorted(file.keys())}
        return canonical_sha256([file.metadata(), content])


def _is_result(name: str) -> bool:
    return name.startswith(RESULTS) and name.endswith(".json")


def _result_sha256(path: Path) -> str:
    """Return a hash of an evaluation's result without its times."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("date")
    content["notus"]["details"].pop("seconds", None)
    return canonical_sha256(content)


def _is_time(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.removeprefix("train_").removeprefix("eval_") in TIMES


def _timeless(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not _is_time(name)}


def _manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest without times, and without the hashes of files that hold some."""
    stages = {}
    for name, entry in manifest.get("stages", {}).items():
        outputs = {
            path: {key: value for key, value in facts.items() if key != "mtime_ns"}
            if path not in {LOG, METRICS} and not _is_result(path)
            else "there"
            for path, facts in entry["outputs"].items()
            if not path.startswith(BOARD)
        }
        said = {label: line for label, line in entry["said"].items() if label not in SPOKEN_TIMES}
        kept = {key: value for key, value in entry.items() if key not in ENTRY_TIMES}
        stages[name] = kept | {"outputs": outputs, "said": said}
        stages[name]["inputs"] = {
            path: "there" if path in {LOG, METRICS} else digest
            for path, digest in entry["inputs"].items()
            if not path.startswith(BOARD)
        }
    return manifest | {"stages": stages}


def _log_differences(found: list[dict[str, Any]], whole: list[dict[str, Any]]) -> list[str]:
    if found == whole:
        return []
    steps = [record.get("step") for record in found]
    wanted = [record.get("step") for record in whole]
    if steps != wanted:
        missing = sorted({str(step) for step in wanted} - {str(step) for step in steps}, key=int)
        double = sorted({str(step) for step in steps if steps.count(step) > wanted.count(step)}, key=int)
        return [
            f"{LOG}: other steps are logged (missing: {', '.join(missing[:9]) or 'none'}; "
            f"too often: {', '.join(double[:9]) or 'none'})"
        ]
    place = next(place for place, one in enumerate(found) if one != whole[place])
    return list(_unequal(found[place], whole[place], f"{LOG}: step {steps[place]}"))


def _board_differences(
    found: Mapping[str, list[tuple[int, float]]], whole: Mapping[str, list[tuple[int, float]]]
) -> list[str]:
    wrong = []
    for tag in sorted(found.keys() | whole.keys()):
        here, there = found.get(tag, []), whole.get(tag, [])
        steps, wanted = [step for step, _ in here], [step for step, _ in there]
        if steps != wanted:
            gaps = sorted(set(wanted) - set(steps))
            double = sorted({step for step in steps if steps.count(step) > wanted.count(step)})
            wrong.append(f"TensorBoard, {tag}: gaps at {gaps[:9]}, too often {double[:9]}")
        elif differing := [step for (step, value), (_, was) in zip(here, there, strict=True) if value != was]:
            wrong.append(f"TensorBoard, {tag}: other values at {differing[:9]}")
    return wrong[:3] + ([f"and {len(wrong) - 3} more tags of TensorBoard"] if len(wrong) > 3 else [])


def _unequal(found: object, whole: object, where: str) -> Iterator[str]:
    if isinstance(found, Mapping) and isinstance(whole, Mapping):
        for key in sorted(found.keys() | whole.keys()):
            if key not in found or key not in whole:
                yield f"{where}: {key} is {'missing' if key in whole else 'not in the undisturbed run'}"
            else:
                yield from _unequal(found[key], whole[key], f"{where}: {key}")
    elif found != whole and not (_is_nan(found) and _is_nan(whole)):
        yield f"{where} is {found!r}, was {whole!r}"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
