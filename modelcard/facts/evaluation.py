"""Benchmark figures from the JSON files in `eval/`: whose they are, and that no two contradict each other."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from modelcard.facts.average import leaderboard_averages
from modelcard.facts.details import Details, read_details
from modelcard.facts.harness import Part, is_number, read_scores
from modelcard.facts.missing import Artifact, stage_of
from modelcard.facts.origin import by_hand, told
from modelcard.facts.scores import Score
from recipe.errors import UserError
from recipe.evaluate.subject import Weights
from recipe.run import Run

FOLDER = "eval"
ADAPTER_KEYS = ("peft", "delta")
MODEL_KEYS = ("pretrained", "model", "model_name", "path")
ON_THE_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")


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
        config = content.get("config") if isinstance(content.get("config"), dict) else {}
        assert isinstance(config, dict)
        if isinstance(content.get("notus"), dict):
            origin = told(run, content, config, where)
        else:
            origin = by_hand(content, config, _whose(run, content, config, where), where)
            _refuse_older(run, content, where)
        for score in read_scores(content, origin):
            key = (score.weights, score.task, score.metric, score.filter, score.shots)
            other = scores.setdefault(key, score)
            if other.value != score.value:
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
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{where}: not JSON ({error}); remove it, or evaluate again") from None
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(found, dict) for found in results.values()):
        raise UserError(f"{where}: no results of lm-evaluation-harness; remove it from the run folder")
    found: Part = content
    return found


def _whose(run: Run, content: Part, config: Part, where: str) -> Weights:
    """Return which of this run's weights a file is about.

    Raises:
        UserError: It names another model, or none.
    """
    arguments = _arguments(config)
    # What is laid over a model decides; today's `model_name` is that of the model below.
    above = [arguments[key] for key in ADAPTER_KEYS if arguments.get(key)]
    named = above or [
        *(arguments.get(key) for key in MODEL_KEYS), content.get("model_name"), config.get("model_name"),
    ]  # fmt: skip
    names = [name for name in named if isinstance(name, str) and name]
    release = run.recipe.release
    ours: dict[Weights, str] = {"adapter": release.hub_model_id, "merged": release.hub_merged_model_id}
    for weights, repo_id in ours.items():
        folder = run.path(weights)
        for name in names:
            place = Path(name)
            seen_from_elsewhere = place.parts[-2:] == (folder.absolute().parent.name, folder.name)
            if name == repo_id or place.absolute() == folder.absolute() or seen_from_elsewhere:
                if above:
                    _refuse_other_base(run, arguments.get("pretrained"), where)
                return weights
    said = f"of {names[0]}" if names else "does not say of which model"
    raise UserError(
        f"{where}: {said}, and not of this run's model ({release.hub_model_id}, {release.hub_merged_model_id}, or the "
        "run's adapter or merged folder); remove it"
    )


def _arguments(config: Part) -> dict[str, Any]:
    """Return what the model was asked for by."""
    found = config.get("model_args") or {}
    if isinstance(found, str):
        pairs = (one.partition("=") for one in found.split(","))
        return {key.strip(): value.strip() for key, _, value in pairs}
    return found if isinstance(found, dict) else {}


def _refuse_other_base(run: Run, name: object, where: str) -> None:
    """Refuse figures of the adapters over another base, as far as the name tells: a folder may hold any."""
    base = Artifact(run, "inputs", "inputs.json")
    if base("base", "source") != "hub" or not isinstance(name, str) or not ON_THE_HUB.fullmatch(name):
        return
    if name.lower() != str(base("base", "name")).lower():
        raise UserError(
            f"{where}: of the adapters over {name}, and not of this run's model, which is over {base('base', 'name')}; "
            "remove it"
        )


def _refuse_older(run: Run, content: Part, where: str) -> None:
    """Refuse figures that were measured before there were these weights: another training's, under the same name."""
    date, train = content.get("date"), stage_of(run, "train")
    trained = datetime.strptime(train["started"], "%Y-%m-%dT%H:%M:%S%z").timestamp() + train["seconds"]
    if is_number(date) and date < trained:
        raise UserError(
            f"{where}: older than this run's weights, and so not of them; evaluate again, or remove it"
        )
