"""What the data set's card may say: read from `data/data.json`, `data/audit.json`, `inputs/` and the manifest.

A fact that is not there raises with its name. A part of the audit that is null says nothing of this format: the card
leaves it out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelcard.dataset.columns import Layout
from modelcard.facts.missing import missing
from recipe.disk import read_json
from recipe.run import Run
from recipe.schema import Recipe

Part = dict[str, Any]
CARD = "the data set's card"

# The parts of the audit that the card shows, with what each must hold; those of all formats, then of rated answers.
OF_ALL: Mapping[str, tuple[str, ...]] = {
    "rules": (),
    "by_source": (),
    "noticed": (),
    "duplicates": ("prompts", "rows"),
    "length": ("pairs", "chosen_longer", "share", "mean_chosen", "mean_rejected", "median_ratio"),
}
OF_RATED: Mapping[str, tuple[str, ...]] = {
    "choice": ("compared", "differs", "share"),
    "suspicious": ("score_10", "low", "between", "high", "missing"),
    "ties": ("top_by_ratings", "top_by_score", "all_equal_by_ratings", "all_equal_by_score"),
}
# Those that were asked for, or not.
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "contamination": ("files",),
    "fixes": ("rule", "to_1", "kept", "to_annotate"),
    "overrides": ("rows", "completions"),
}
# What the entries of a part must hold.
OF_EACH: Mapping[str, tuple[str, ...]] = {
    "noticed": ("count", "unit"),
    "by_source": ("rows",),
    "contamination.files": ("texts", "exact", "13-gram", "8-gram"),
    "choice.by_source": ("compared", "differs", "share"),
}


@dataclass(frozen=True)
class Split:
    """A published file."""

    name: str
    path: str
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """The data that the pairs were made of."""

    name: str
    revision: str | None
    source: str
    sha256: dict[str, str]


@dataclass(frozen=True)
class DataFacts:
    """All that the card of the data set says. A part of the audit that says nothing of this format is empty."""

    recipe: Recipe
    source: Source
    format: str
    by: str | None
    rows_in: int
    rows_used: int
    left_out: dict[str, int]
    audit: dict[str, Part]
    layout: Layout
    splits: tuple[Split, ...]
    versions: dict[str, str]
    image: dict[str, str | None]


def read_data_facts(run: Run, layout: Layout, splits: tuple[Split, ...]) -> DataFacts:
    """Read the facts of a run whose pairs are made.

    Args:
        run: Its stages `fetch` and `curate` are done.
        layout: Of the published columns.
        splits: The published files.

    Raises:
        MissingFactError: An artifact, or a fact in it, is not there.
    """
    try:
        inputs = read_json(run.path("inputs", "inputs.json"))["data"]
        data = read_json(run.path("data", "data.json"))
        audit = read_json(run.path("data", "audit.json"))
    except FileNotFoundError as error:
        raise missing(Path(str(error.filename)).name, needs=CARD) from error
    hold(data, ("format", "by", "rows_in", "rows_used", "left_out"), "data.json")
    curated = run.manifest.get("stages", {}).get("curate")
    if curated is None:
        raise missing("the stage curate", "this run's manifest", CARD)
    return DataFacts(
        recipe=run.recipe,
        source=Source(inputs["name"], inputs["revision"], inputs["source"], inputs["sha256"]),
        format=data["format"],
        by=data["by"],
        rows_in=data["rows_in"],
        rows_used=data["rows_used"],
        left_out=data["left_out"],
        audit=read_audit(audit, rated=data["format"] == "ultrafeedback"),
        layout=layout,
        splits=splits,
        versions=curated["versions"],
        image={"digest": None, "revision": None, "build": None, **curated.get("image", {})},
    )


def read_audit(audit: Part, *, rated: bool) -> dict[str, Part]:
    """Return the parts that the card shows, each with all that the card says of it; empty where the audit has null.

    Raises:
        MissingFactError: A part that the format has, or a fact in a part, is not there.
    """
    parts: dict[str, Part] = {}
    for name, keys in {**OF_ALL, **OF_RATED, **OPTIONAL}.items():
        if name not in audit and (name in OF_ALL or (rated and name in OF_RATED)):
            raise missing(name, "audit.json", CARD)
        part = audit.get(name)
        if part is not None:
            hold(part, keys, "audit.json", f"{name}.")
        parts[name] = part or {}
    for at, keys in OF_EACH.items():
        name, _, inner = at.partition(".")
        entries = parts[name].get(inner) or {} if inner else parts[name]
        for entry, found in entries.items():
            hold(found, keys, "audit.json", f"{at}.{entry}.")
    return parts


def hold(part: Mapping[str, Any], keys: Iterable[str], file: str, above: str = "") -> None:
    """Hold a part of `file`, whose place in it is `above`, to the facts that it must have.

    Raises:
        MissingFactError: One is not there.
    """
    for key in keys:
        if key not in part:
            raise missing(f"{above}{key}", file, CARD)
