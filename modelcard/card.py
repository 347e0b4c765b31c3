"""Facts in, Markdown out: a pure function. The same run renders the same bytes, without a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelcard.facts import Facts, for_others

Kind = Literal["adapter", "merged", "base"]
TEMPLATES = Path(__file__).parent / "templates"
SCIENCE_SHOWN = (
    "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "beta", "loss_type", "learning_rate",
    "lr_scheduler_type", "warmup_ratio", "optim", "num_train_epochs", "max_steps", "max_grad_norm", "tokenization",
    "max_length", "max_prompt_length", "torch_dtype", "bf16", "seed",
)  # fmt: skip


def render(facts: Facts, kind: Kind) -> str:
    """Return the README.md of one of a release's repositories."""
    body = (
        environment()
        .get_template(f"{kind}.md.j2")
        .render(
            facts=facts,
            release=facts.recipe.release,
            science=facts.recipe.science,
            metrics=facts.training.metrics,
            beside=_beside(facts),
            science_shown={key: _shown(facts.training.science[key]) for key in SCIENCE_SHOWN},
        )
    )
    front = yaml.safe_dump(metadata(facts, kind), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{body}"


def environment(**filters: Callable[..., str]) -> Environment:
    """Return where the templates are found and filled in; a name that they don't know raises."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    found.filters.update(filters)
    return found


def metadata(facts: Facts, kind: Kind) -> dict[str, Any]:
    """Return the card's YAML metadata, as the Hub reads it."""
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
        common["datasets"] = list(filter(None, datasets))
    common["tags"] = [*release.tags, "notus"]
    return common


def _beside(facts: Facts) -> list[str]:
    """Return what the published recipe names by a local path."""
    science = for_others(facts).science
    named = (science.dataset, science.tokenizer, *science.files)
    return [f"`{name}`" for name in named if name and name.startswith("./")]


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
