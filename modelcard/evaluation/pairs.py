"""What held-out preferences say, and answers of base and tuned model side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

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
SAMPLES, CHARACTERS = 3, 700
"""How many answers a card has, and how much of each."""


@dataclass(frozen=True)
class Pairs:
    """The held-out pairs.

    Attributes:
        shown: The figures.
        heldout: What the pairs are.
        by_source: Figures by source, if there are several.
        samples: Prompts with answers.
        answered: How many prompts were answered.
    """

    shown: Shown
    heldout: HeldOutPairs | None
    by_source: Table
    samples: tuple[Sample, ...]
    answered: int


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
        Row((one.source, f"{one.pairs:,}"), (_estimate(one.accuracy), _estimate(one.margin)))
        for one in sorted(sources, key=lambda one: -one.pairs)
    ]
    samples = about.samples if about else ()
    return Pairs(
        shown=shown(found, kind, compared(known, found, {label: lambda score: METRICS[score.metric]})),
        heldout=heldout,
        by_source=Table(("source", "pairs"), ("reward accuracy", "reward margin"), tuple(rows)),
        samples=tuple(
            Sample(one.source, cut(one.prompt), cut(one.base), cut(one.tuned)) for one in samples[:SAMPLES]
        ),
        answered=len(samples),
    )


def cut(text: str) -> str:
    """Return the beginning of a text, as long as it may be on a card, with plain ends of lines."""
    plain = "\n".join(text.splitlines()).replace("\0", "\ufffd").strip("\n")
    if len(plain) <= CHARACTERS:
        return plain or "(nothing)"
    return f"{plain[:CHARACTERS].rstrip()} [...]"


def _estimate(found: Estimate) -> str:
    return f"{found.value:,.3f}{SPACE}{interval(found.low, found.high, 3)}"
