"""Benchmark figures from the JSON files in `eval/`: whose they are, and that no two contradict each other."""

import json
from dataclasses import dataclass
from pathlib import Path

from modelcard.facts.harness import Part, Score, read_scores
from recipe.errors import UserError
from recipe.evaluate.whose import part, refuse_older, whose
from recipe.run import Run

FOLDER = "eval"


@dataclass(frozen=True)
class Evaluation:
    """All figures of a run."""

    scores: tuple[Score, ...]
    limited: tuple[str, ...]
    """What was measured on some of its samples only: `FILE (LIMIT)`."""
    harness: tuple[str, ...]
    """The versions that the files say they were made by, if they do."""


def evaluation_files(run: Run) -> list[Path]:
    """Return the result files of a run, in any folder below `eval/`, in order of their paths."""
    return sorted(run.path(FOLDER).rglob("*.json"))


def read_evaluation(run: Run) -> Evaluation | None:
    """Read every result file; None without any.

    Raises:
        UserError: A file is none of the harness's, of another model, or older than the weights; or two differ in the
            same figure.
    """
    scores: dict[tuple[object, ...], Score] = {}
    limited, harness = [], set()
    for path in evaluation_files(run):
        where = path.relative_to(run.folder).as_posix()
        content = _read(path, where)
        config = part(content, "config")
        weights = whose(run, content, where)
        refuse_older(run, content.get("date"), where)
        if config.get("limit") is not None:
            limited.append(f"`{path.relative_to(run.path(FOLDER)).as_posix()}` ({config['limit']})")
        if made_by := content.get("lm_eval_version") or content.get("git_hash"):
            harness.add(str(made_by))
        for score in read_scores(content, config, weights, where):
            key = (score.weights, score.task, score.metric, score.filter, score.shots)
            other = scores.setdefault(key, score)
            if other.value != score.value:
                raise UserError(
                    f"{where}: another {score.metric} of {score.task} than in {other.file}; remove the one "
                    "that does not count"
                )
    if not scores:
        return None
    return Evaluation(tuple(scores.values()), tuple(limited), tuple(sorted(harness)))


def _read(path: Path, where: str) -> Part:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{where}: not JSON ({error}); remove it, or evaluate again") from None
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(found, dict) for found in results.values()):
        raise UserError(f"{where}: no results of lm-evaluation-harness; remove it from the run folder")
    found: Part = content
    return found
