"""The preference data: where they come from, what became of each row, and what was found in them."""

from dataclasses import dataclass
from typing import Any

from modelcard.facts.missing import Artifact
from recipe.run import Run


@dataclass(frozen=True)
class Choice:
    """What ratings and `overall_score` choose of the rows that both rate."""

    compared: int
    differs: int
    share: float


@dataclass(frozen=True)
class TopScores:
    """The completions with an `overall_score` of 10, by their mean rating: 2 or less, above 4, in between, none."""

    all: int
    low: int
    between: int
    high: int
    missing: int


@dataclass(frozen=True)
class Overlap:
    """How many prompts a benchmark's file has, each counted once, by the strictest level that holds."""

    texts: int
    exact: int
    grams_13: int
    grams_8: int


@dataclass(frozen=True)
class Data:
    """The preference data."""

    name: str
    revision: str | None
    source: str
    format: str
    by: str | None
    """What decided which answer is better; None where the rows came as pairs."""
    rejected: str | None
    min_margin: float
    rows_in: int
    train: int
    heldout: int
    left_out: dict[str, int]
    rated_backwards: int
    heldout_prompts_in_train: int
    choice: Choice | None
    """None where the rows came as pairs, as are the top scores."""
    top_scores: TopScores | None
    fixed: dict[str, int] | None
    """Of `fix_scores`: how many scores of 10 became 1, were kept, or are left to people."""
    corrected: dict[str, int] | None
    """Of `overrides`: rows and completions that people corrected, and rows that they left out."""
    rows_by_source: dict[str, int]
    """Of the rows read, those that are left out among them."""
    only_sources: tuple[str, ...] | None
    drop_sources: tuple[str, ...]
    overlaps: dict[str, Overlap]
    """By the names of the benchmarks' files."""
    drop_contaminated: str
    sha256: dict[str, str]
    published: str | None
    """The repository that the pairs are published in, in the same release."""


def read_data(run: Run, *, with_data: bool) -> Data:
    """Read the facts of the data.

    Args:
        run: The run.
        with_data: Whether the pairs are published in the same release.

    Raises:
        MissingFactError: An artifact, or a fact in it, is not there.
    """
    inputs = Artifact(run, "inputs", "inputs.json")
    data, audit = Artifact(run, "data", "data.json"), Artifact(run, "data", "audit.json")
    rated = data("format") == "ultrafeedback"
    rules, science = audit("rules"), run.recipe.science
    return Data(
        name=inputs("data", "name"),
        revision=inputs("data", "revision"),
        source=inputs("data", "source"),
        format=data("format"),
        by=data("by"),
        rejected=rules.get("rejected") if rated else None,
        min_margin=audit("rules", "min_margin"),
        rows_in=data("rows_in"),
        train=data("train"),
        heldout=data("heldout"),
        left_out=data("left_out"),
        rated_backwards=data("rated_backwards"),
        heldout_prompts_in_train=data("heldout_prompts_in_train"),
        choice=_choice(audit) if rated else None,
        top_scores=_top_scores(audit) if rated else None,
        fixed=_numbers(audit, "fixes", "to_1", "kept", "to_annotate") if rated else None,
        corrected=_numbers(audit, "overrides", "rows", "completions", "left_out") if rated else None,
        rows_by_source={name: found["rows"] for name, found in (audit("by_source") or {}).items()},
        only_sources=None if science.only_sources is None else tuple(science.only_sources),
        drop_sources=tuple(science.drop_sources),
        overlaps=_overlaps(audit),
        drop_contaminated=science.drop_contaminated,
        sha256=inputs("data", "sha256"),
        published=run.recipe.release.hub_dataset_id if with_data else None,
    )


def _choice(audit: Artifact) -> Choice:
    return Choice(*(audit("choice", key) for key in ("compared", "differs", "share")))


def _top_scores(audit: Artifact) -> TopScores:
    return TopScores(*(audit("suspicious", key) for key in ("score_10", "low", "between", "high", "missing")))


def _numbers(audit: Artifact, part: str, *keys: str) -> dict[str, int] | None:
    return None if audit(part) is None else {key: audit(part, key) for key in keys}


def _overlaps(audit: Artifact) -> dict[str, Overlap]:
    if audit("contamination") is None:
        return {}
    files: dict[str, Any] = audit("contamination", "files")
    levels = ("texts", "exact", "13-gram", "8-gram")
    return {
        name: Overlap(*(audit("contamination", "files", name, level) for level in levels)) for name in files
    }
