"""A card's YAML metadata, as the Hub reads it."""

from typing import Any, Literal

from modelcard.evaluation.index import model_index
from modelcard.evaluation.measured import measured
from modelcard.facts import Facts
from modelcard.words import HUB

Kind = Literal["adapter", "merged", "base"]


def metadata(facts: Facts, kind: Kind) -> dict[str, Any]:
    """Return the metadata of one of a release's repositories."""
    release = facts.recipe.release
    common: dict[str, Any] = {
        "license": release.license,
        "language": release.language,
        "pipeline_tag": "text-generation",
        "library_name": "peft" if kind == "adapter" else "transformers",
    }
    if kind == "base":
        return common
    common["base_model"] = facts.base.name
    common["base_model_relation"] = "adapter" if kind == "adapter" else "finetune"
    # The pairs themselves, if they are published, and what they were made of.
    datasets = [facts.data.published, facts.data.name if facts.data.source == "hub" else None]
    if any(datasets):
        common["datasets"] = list(dict.fromkeys(filter(None, datasets)))
    common["tags"] = list(dict.fromkeys([*release.tags, "notus"]))
    shown = [score for one in measured(facts.evaluation, kind).values() for score in one.ours]
    if shown:
        repo_id = release.hub_model_id if kind == "adapter" else release.hub_merged_model_id
        statement = f"{HUB}/{repo_id}/blob/{release.version}/provenance.json"
        of_a_toy = facts.base.source == "builtin"  # which goes to a Hub of its own
        common["model-index"] = model_index(release.model_name, shown, kind, None if of_a_toy else statement)
    return common
