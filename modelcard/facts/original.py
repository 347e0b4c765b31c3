"""The original run of the recipe that ships as Notus 7B v1, to be set beside a run of the same science.

And the figures of its fully fine-tuned sibling and of Zephyr, which models of their kind are read beside.
"""

import json
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from modelcard.facts.base import Base
from recipe.load import load_recipe
from recipe.schema import Recipe

FILE = Path(__file__).parent.parent / "original.json"
PINS = ("model_revision", "dataset_revision", "tokenizer_revision")  # in 2023 nobody pinned
SEVEN_B = (6_500_000_000, 8_000_000_000)  # parameters


@dataclass(frozen=True)
class Original:
    """What was published of it; loss in nats, rewards with beta."""

    model: str
    when: str
    source: str
    hardware: str
    train_rows: int
    steps: int
    epochs: float
    seconds: float
    pairs_per_second: float
    train_loss: float
    heldout: dict[str, float]
    """`pairs`, `loss`, `accuracy`, `margin`, `chosen`, `rejected`."""
    rewards_pairs: int
    """The held-out pairs that the rewards are of: those of rank 0."""
    adapter_parameters: int
    adapter_dtype: str


@dataclass(frozen=True)
class Published:
    """Benchmark figures as they were published of the fully fine-tuned Notus, and of Zephyr beside it.

    Attributes:
        model: The fully fine-tuned model.
        control: Zephyr.
        source: By whom.
        when: They were measured.
        benchmarks: The model's and the control's figure by the benchmark's name, in order.
        notes: On the model's figures, by the benchmark's name.
    """

    model: str
    control: str
    source: str
    when: str
    benchmarks: dict[str, tuple[float, float]]
    notes: dict[str, str]


def original_of(recipe: Recipe) -> Original | None:
    """Return the original run if a recipe has its science, whatever commits it is pinned to."""
    known = _known()
    if _unpinned(recipe) != _published(known["recipe"]):
        return None
    return Original(**{field.name: known[field.name] for field in fields(Original)})


def published_beside(recipe: Recipe, base: Base) -> Published | None:
    """Return the published figures if they say something beside those of a recipe's model.

    They do where the recipe's science is the original's or its control's, or where another 7B of the same family was
    tuned.
    """
    known = _known()
    kin = base.model_type == "mistral" and SEVEN_B[0] <= base.parameters <= SEVEN_B[1]
    if not kin and _unpinned(recipe) not in [_published(known[key]) for key in ("recipe", "control_recipe")]:
        return None
    full = known["full"]
    figures = {name: (model, control) for name, model, control in full["benchmarks"]}
    return Published(**(full | {"benchmarks": figures}))


@cache
def _known() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


@cache
def _published(name: str) -> dict[str, Any]:
    return _unpinned(load_recipe(name))


def _unpinned(recipe: Recipe) -> dict[str, Any]:
    return {key: value for key, value in recipe.science.canonical().items() if key not in PINS}
