"""Whose figures a result file holds: those of a run's adapter, of its merged weights, of its base alone, or of others.

A file names the model that it is about in one of many ways. What names none of a run's, or is older than its weights,
is refused.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from recipe.disk import read_json
from recipe.errors import UserError
from recipe.evaluate.subject import Weights
from recipe.run import Run

TUNED: tuple[Weights, ...] = ("adapter", "merged")
Content = dict[str, Any]

ADAPTER_KEYS = ("peft", "delta")
MODEL_KEYS = ("pretrained", "model", "model_name", "path")
ON_THE_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def whose(
    run: Run, content: Content, where: str, among: tuple[Weights, ...] = TUNED, *, mend: str = "remove it"
) -> Weights:
    """Return which of a run's weights a result file of lm-evaluation-harness is about.

    Args:
        run: The run.
        content: Of the file.
        where: The file, as a message calls it.
        among: Which they may be.
        mend: What a message says to do.

    Raises:
        UserError: It names another model, or none.
    """
    names, above = models_named(content)
    weights = named_by(run, names)
    if weights not in among or (above and weights == "base"):
        said = f"of {names[0]}" if names else "does not say of which model"
        alone = ", this run's base alone" if weights == "base" else ""
        wanted = "base" if among == ("base",) else "model"
        raise UserError(
            f"{where}: {said}{alone}, and not of this run's {wanted} ({ours(run, among)}); {mend}"
        )
    if above:
        _refuse_other_base(run, content, where, mend)
    assert weights is not None
    return weights


def models_named(content: Content) -> tuple[list[str], bool]:
    """Return the names that a result file has for its model, and whether they are of adapters over another one."""
    config = part(content, "config") or part(content, "config_general")  # the second: of 2023's leaderboard
    arguments = arguments_of(config)
    # What is laid over a model decides; today's `model_name` is that of the model below.
    above = [arguments[key] for key in ADAPTER_KEYS if arguments.get(key)]
    named = above or [
        *(arguments.get(key) for key in MODEL_KEYS), content.get("model_name"), config.get("model_name"),
    ]  # fmt: skip
    return [name for name in named if isinstance(name, str) and name], bool(above)


def named_by(run: Run, names: Sequence[str]) -> Weights | None:
    """Return which of a run's weights the first of `names` means that means any, by repository or folder."""
    top = run.folder.absolute()
    places = _places(run)
    for name in names:
        place = Path(name)
        for weights, (repository, folder) in places.items():
            tail = (top.name, *folder.relative_to(top).parts) if folder.is_relative_to(top) else folder.parts
            seen_from_elsewhere = place.parts[-len(tail) :] == tail  # by a container, say
            if name == repository or place.absolute() == folder or seen_from_elsewhere:
                return weights
    return None


def repositories(run: Run) -> dict[Weights, str]:
    """Return the Hub repository of each of a run's weights."""
    release = run.recipe.release
    base: str = read_json(run.path("inputs", "inputs.json"))["base"]["name"]
    return {"adapter": release.hub_model_id, "merged": release.hub_merged_model_id, "base": base}


def ours(run: Run, among: tuple[Weights, ...] = TUNED) -> str:
    """Say by which names some of a run's weights are known."""
    names = [repositories(run)[weights] for weights in among]
    folders = " or ".join("inputs/base" if weights == "base" else weights for weights in among)
    return f"{', '.join(names)}, or the run's {folders} folder"


def refuse_older(run: Run, date: object, where: str, *, mend: str = "evaluate again, or remove it") -> None:
    """Refuse figures that were measured before there were these weights: another training's, under the same name.

    Args:
        run: The run.
        date: When they were measured, in seconds since 1970; anything else: it is not known.
        where: The file, as a message calls it.
        mend: What a message says to do.

    Raises:
        UserError: They are older, or nothing was trained yet.
    """
    train = run.done("train")
    if train is None:
        raise UserError(
            f"{run.folder}: nothing was trained here yet, so {where} is not of it; `notus train` first"
        )
    trained = datetime.strptime(train["started"], "%Y-%m-%dT%H:%M:%S%z").timestamp() + train["seconds"]
    if isinstance(date, int | float) and not isinstance(date, bool) and date < trained:
        raise UserError(f"{where}: older than this run's weights, and so not of them; {mend}")


def part(content: Content, name: str) -> Content:
    """Return what lies under a name; nothing unless it is an object."""
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def _places(run: Run) -> dict[Weights, tuple[str, Path]]:
    """Return the repository and the folder of each of a run's weights."""
    local = read_json(run.path("inputs", "inputs.json"))["base"]["source"] == "local"
    folders: dict[Weights, Path] = {
        "adapter": run.path("adapter"),
        "merged": run.path("merged"),
        "base": Path(run.recipe.science.model_name_or_path) if local else run.path("inputs", "base"),
    }
    return {weights: (name, folders[weights].absolute()) for weights, name in repositories(run).items()}


def arguments_of(config: Content) -> Content:
    """Return what the model was asked for by."""
    found = config.get("model_args") or {}
    if isinstance(found, str):
        pairs = (one.partition("=") for one in found.split(","))
        return {key.strip(): value.strip() for key, _, value in pairs}
    return found if isinstance(found, dict) else {}


def _refuse_other_base(run: Run, content: Content, where: str, mend: str) -> None:
    """Refuse figures of the adapters over another base, as far as the name tells: a folder may hold any."""
    name = arguments_of(part(content, "config")).get("pretrained")
    base = read_json(run.path("inputs", "inputs.json"))["base"]
    if base["source"] != "hub" or not isinstance(name, str) or not ON_THE_HUB.fullmatch(name):
        return
    if name.lower() != str(base["name"]).lower():
        raise UserError(
            f"{where}: of the adapters over {name}, and not of this run's model, which is over {base['name']}; {mend}"
        )
