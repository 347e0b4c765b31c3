"""Facts in, Markdown out: a pure function. The same run renders the same bytes, without a network."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelcard import words
from modelcard.chart import chart_alt, lines_of
from modelcard.citations import citations
from modelcard.contamination import contamination_note
from modelcard.curves import curves_alt
from modelcard.evaluation.measured import measured
from modelcard.evaluation.tables import tables
from modelcard.facts import Facts, for_others
from modelcard.facts.scores import Score
from modelcard.metadata import Kind, metadata
from modelcard.truthfulqa import names_truthfulqa, truthfulqa_note

TEMPLATES = Path(__file__).parent / "templates"
SCIENCE_SHOWN = (
    "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "beta", "loss_type", "learning_rate",
    "lr_scheduler_type", "warmup_ratio", "optim", "weight_decay", "max_grad_norm", "num_train_epochs", "max_steps",
    "tokenization", "max_length", "max_prompt_length", "torch_dtype", "bf16", "seed",
)  # fmt: skip
UNSAID = {"max_steps": -1, "weight_decay": 0.0}  # values that say that there is none
REJECTED = {
    "random": "drawn at random from the worse ones",
    "lowest": "the one with the lowest mark",
    "next": "the next lower one",
    "other": "any other one, drawn at random",
}
FILTERS: dict[str, Callable[..., str]] = {
    "alt": words.alt,
    "cell": words.cell,
    "duration": words.duration,
    "fenced": words.fenced,
    "joined": words.joined,
    "language": words.language_name,
    "license": words.license_name,
    "machine": words.machine,
    "memory": words.memory,
    "number": words.number,
    "share": words.share,
}


def render(facts: Facts, kind: Kind) -> str:
    """Return the README.md of one of a release's repositories."""
    release = facts.recipe.release
    scores = [score for one in measured(facts.evaluation, kind).values() for score in one.ours]
    lines = lines_of(facts, kind)
    repos = {"adapter": release.hub_model_id, "merged": release.hub_merged_model_id, "base": facts.base.name}
    body = (
        environment(**FILTERS)
        .get_template(f"{kind}.md.j2")
        .render(
            facts=facts,
            kind=kind,
            repo=repos[kind],
            release=release,
            data=facts.data,
            training=facts.training,
            science={key: _shown(value) for key, value in _science(facts).items()},
            rejected=REJECTED.get(facts.data.rejected or ""),
            hub=words.HUB,
            link=partial(_link, facts),
            plural=words.plural,
            beside=_beside(facts),
            curves=curves_alt(facts.training.curves) if len(facts.training.curves.training) > 1 else None,
            tables=tables(facts, kind),
            chart=chart_alt(lines) if lines else None,
            truthfulqa=_truthfulqa(facts, scores),
            contamination=contamination_note(facts.data, scores),
            citations=citations(facts),
        )
    )
    front = yaml.safe_dump(metadata(facts, kind), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{words.tidy(body)}"


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


def _science(facts: Facts) -> dict[str, object]:
    values = facts.training.science
    return {key: values[key] for key in SCIENCE_SHOWN if values[key] != UNSAID.get(key)}


def _truthfulqa(facts: Facts, scores: Sequence[Score]) -> str | None:
    """Return the note on TruthfulQA if a figure on it, or one that it is a part of, is on the card."""
    measured = [name for score in scores for name in (score.task, *score.holds)]
    if facts.original is not None or any(map(names_truthfulqa, measured)):
        return truthfulqa_note(facts.data)
    return None


def _link(facts: Facts, repo_id: str, kind: str = "") -> str:
    """Return another repository of the release, as a link unless it is a toy's, which goes to a Hub of its own."""
    if facts.base.source == "builtin":
        return f"`{repo_id}`"
    return f"[`{repo_id}`]({words.HUB}/{kind}{repo_id}/tree/{facts.recipe.release.version})"


def _beside(facts: Facts) -> list[str]:
    """Return what the published recipe names by a local path, but for the banner, which is published beside it."""
    science = for_others(facts).science
    named = (science.dataset, science.tokenizer, *science.files)
    return [f"`{name}`" for name in named if name and name.startswith("./")]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
