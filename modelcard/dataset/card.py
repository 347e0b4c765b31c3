"""The data set's facts in, its Markdown out: a pure function."""

from pathlib import Path
from typing import Any

import yaml

from modelcard.card import environment
from modelcard.dataset.columns import MEANING
from modelcard.dataset.facts import DataFacts

TAGS = ("dpo", "preference", "notus")
# The Hub's size categories: each up to a power of ten.
SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
SOURCES_SHOWN = 30
REJECTED = {"random": "a random lower one", "lowest": "the lowest", "next": "the next lower one"}


def render_data_card(facts: DataFacts) -> str:
    """Return the README.md of the data set's repository."""
    body = (
        environment(number=number, share=share, cell=cell)
        .get_template("dataset.md.j2")
        .render(
            facts=facts,
            audit=facts.audit,
            release=facts.recipe.release,
            columns=_columns(facts),
            rules=_rules(facts),
            rejected=_rejected(facts),
            by_source=_by_source(facts),
            beside=_beside(facts),
        )
    )
    front = yaml.safe_dump(data_metadata(facts), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{body}"


def data_metadata(facts: DataFacts) -> dict[str, Any]:
    """Return the card's YAML metadata, as the Hub reads it."""
    release = facts.recipe.release
    found: dict[str, Any] = {
        "license": release.dataset_license,
        "language": release.language,
        "pretty_name": f"Preference pairs of {release.model_name}",
        "task_categories": ["text-generation"],
        "tags": [*TAGS],
        "size_categories": [size_category(facts.rows_used)],
    }
    if facts.source.source == "hub":
        found["source_datasets"] = [facts.source.name]
    files = [{"split": split.name, "path": f"data/{split.name}-*"} for split in facts.splits]
    found["configs"] = [{"config_name": "default", "data_files": files}]
    return found


def size_category(rows: int) -> str:
    """Return the Hub's name for about how many rows there are."""
    for place, bound in enumerate(SIZES):
        if rows < 10 ** (3 + place):
            return f"{SIZES[place - 1]}<n<{bound}" if place else f"n<{bound}"
    return f"n>{SIZES[-1]}"


def number(value: float | None) -> str:
    """Return a figure of the audit for people; "-" where there is none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{2 if abs(value) < 100 else 0}f}"


def share(value: float | None) -> str:
    """Return a share in percent; "-" where there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def cell(value: object) -> str:
    """Return a text of the data's as it may stand in a table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _columns(facts: DataFacts) -> dict[str, str]:
    score = {"ratings": "mean rating", "overall_score": "`overall_score`"}.get(facts.by or "", "rating")
    return {name: said.format(score=score) for name, said in MEANING[facts.layout].items()}


def _rules(facts: DataFacts) -> dict[str, str]:
    """Return the rules that the audit names and that say something, as text."""
    shown = {}
    for name, value in facts.audit["rules"].items():
        values = value if isinstance(value, list) else [value]
        said = [str(one) for one in values if one not in {None, "none"}]
        if said:
            shown[name] = ", ".join(said)
    return shown


def _rejected(facts: DataFacts) -> str | None:
    return REJECTED.get(str(facts.audit["rules"].get("rejected")))


def _beside(facts: DataFacts) -> list[str]:
    """Return the local files that a rebuild needs."""
    names = [*facts.source.sha256] if facts.source.source == "local" else []
    names += [Path(name).name for name in facts.recipe.science.files]
    return [f"`{name}`" for name in names]


def _by_source(facts: DataFacts) -> list[list[str]]:
    """Return the table of sources, heads first, then the largest; a column is there if its part of the audit is."""
    sources = facts.audit["by_source"]
    if not sources:
        return []
    choice = facts.audit["choice"].get("by_source")
    longer = facts.audit["length"].get("by_source")
    marks = {"mean_rating": "mean rating", "mean_score": "mean overall score"}
    marks = {key: head for key, head in marks.items() if any(key in found for found in sources.values())}
    heads = ["source", "rows", *marks.values()]
    heads += ["chosen differs"] * (choice is not None) + ["chosen is longer"] * (longer is not None)
    lines = [heads]
    largest = sorted(sources.items(), key=lambda item: (-item[1]["rows"], item[0]))
    for source, found in largest[:SOURCES_SHOWN]:
        line = [cell(source), number(found["rows"]), *(number(found.get(key)) for key in marks)]
        if choice is not None:
            line.append(share(choice[source]["share"]) if source in choice else "-")
        if longer is not None:
            line.append(share(longer.get(source)))
        lines.append(line)
    return lines
