"""What held-out preferences say, and answers of base and tuned model side by side."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelcard.evaluation.measured import SPACE, Measured, interval
from modelcard.evaluation.table import Row, Shown, Table, compared, shown
from modelcard.facts.details import Details, Estimate, HeldOutPairs, Sample
from modelcard.words import plural
from recipe.evaluate.subject import Weights

METRICS = {
    "accuracy": "reward accuracy",
    "length_controlled_accuracy": "reward accuracy, length-controlled",
    "margin": "reward margin",
    "loss": "loss",
    "likelier": "chosen answer is the likelier one",
    "likelier_per_token": "chosen answer is the likelier one per token",
}
SAMPLES, CHARACTERS, COLUMNS = 3, 700, 88
"""How many prompts a card has, how much of each text, and how wide."""
SOURCES = 12
"""How many sources a card has."""


@dataclass(frozen=True)
class Pairs:
    """The held-out pairs.

    Attributes:
        shown: The figures.
        heldout: What the pairs are.
        by_source: Figures by source, of those with the most pairs.
        other_sources: How many smaller ones there are.
        samples: Prompts with answers.
    """

    shown: Shown
    heldout: HeldOutPairs | None
    by_source: Table
    other_sources: int
    samples: tuple[Sample, ...]


def pairs(found: Measured, kind: Weights, details: Sequence[Details]) -> Pairs:
    """Return what held-out pairs say, as the card of a repository has it."""
    order = list(METRICS)
    known = sorted(
        (score for score in found.ours if score.metric in METRICS),
        key=lambda score: order.index(score.metric),
    )
    about = next((one for one in details if one.heldout and one.origin.weights == found.weights), None)
    heldout = about.heldout if about else None
    count = known[0].samples if known else None
    label = plural(count, "held-out pair") if count else "held-out pairs"
    sources = heldout.by_source if heldout else ()
    rows = [
        Row((one.source or "(none)", f"{one.pairs:,}"), (_estimate(one.accuracy), _estimate(one.margin)))
        for one in sorted(sources, key=lambda one: -one.pairs)[:SOURCES]
    ]
    samples = about.samples if about else ()
    return Pairs(
        shown=shown(found, kind, compared(known, found, {label: lambda score: METRICS[score.metric]})),
        heldout=heldout,
        by_source=Table(("source", "pairs"), ("reward accuracy", "reward margin"), tuple(rows)),
        other_sources=len(sources) - len(rows),
        samples=tuple(map(_shown, samples[:SAMPLES])),
    )


def cut(text: str, *, more: bool = False) -> str:
    """Return the beginning of a text, as long and as wide as it may be on a card.

    Args:
        text: The text.
        more: Whether it went on.
    """
    plain = "\n".join(text.splitlines()).replace("\0", "\ufffd").strip("\n")
    if more or len(plain) > CHARACTERS:
        plain = f"{plain[:CHARACTERS].rstrip()} [...]"
    lines = [textwrap.wrap(line, COLUMNS, drop_whitespace=False) or [""] for line in plain.split("\n")]
    return "\n".join(part.rstrip() for line in lines for part in line) or "(nothing)"


def _shown(sample: Sample) -> Sample:
    return replace(
        sample,
        prompt=cut(sample.prompt),
        base=cut(sample.base, more=sample.base_cut),
        tuned=cut(sample.tuned, more=sample.tuned_cut),
    )


def _estimate(found: Estimate) -> str:
    bounds = "" if found.low is None or found.high is None else SPACE + interval(found.low, found.high, 3)
    return f"{found.value:,.3f}{bounds}"
