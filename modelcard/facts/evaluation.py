"""Benchmark figures from the JSON files in `eval/`: whose they are, and that no two contradict each other."""

import json
from dataclasses import dataclass
from pathlib import Path

from modelcard.facts.average import leaderboard_averages
from modelcard.facts.details import Details, read_details
from modelcard.facts.harness import read_scores
from modelcard.facts.origin import by_hand, told
from modelcard.facts.reading import Part
from modelcard.facts.scores import Score
from recipe.errors import UserError
from recipe.evaluate.result import FOLDER, same
from recipe.evaluate.whose import part, refuse_older, whose
from recipe.run import Run


@dataclass(frozen=True)
class Evaluation:
    """All figures of a run."""

    scores: tuple[Score, ...]
    """Those of the files in order of their paths, and the leaderboard's averages of them."""
    details: tuple[Details, ...]
    """What files say beside figures."""


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
    details = []
    for path in evaluation_files(run):
        where = path.relative_to(run.folder).as_posix()
        content = _read(path, where)
        config = part(content, "config")
        if isinstance(content.get("notus"), dict):
            origin = told(run, content, config, where)
        else:
            origin = by_hand(content, config, whose(run, content, where), where)
            refuse_older(run, content.get("date"), where)
        for score in read_scores(content, origin):
            key = (score.weights, score.task, score.metric, score.filter, score.shots)
            other = scores.setdefault(key, score)
            if not same(other.value, score.value):
                raise UserError(
                    f"{where}: another {score.metric} of {score.task} than in {other.file}; remove the one "
                    "that does not count"
                )
        if found := read_details(content, origin, path):
            details.append(found)
    if not scores:
        return None
    every = list(scores.values())
    return Evaluation((*every, *leaderboard_averages(every)), tuple(details))


def _read(path: Path, where: str) -> Part:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or endless
        raise UserError(f"{where}: not JSON ({error}); remove it, or evaluate again") from None
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(found, dict) for found in results.values()):
        raise UserError(f"{where}: no results of lm-evaluation-harness; remove it from the run folder")
    found: Part = content
    return found
