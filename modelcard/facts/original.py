"""The original run of the recipe that ships as Notus 7B v1, to be set beside a run of the same science."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from recipe.load import load_recipe
from recipe.schema import Recipe

FILE = Path(__file__).parent.parent / "original.json"
PINS = ("model_revision", "dataset_revision", "tokenizer_revision")  # in 2023 nobody pinned


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
    full: dict[str, Any]
    """The fully fine-tuned model: `model`, `control`, `source`, `benchmarks` (name, model's, control's), `notes`."""


def original_of(recipe: Recipe) -> Original | None:
    """Return the original run if a recipe has its science, whatever commits it is pinned to."""
    known: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    if _unpinned(recipe) != _published(known.pop("recipe")):
        return None
    return Original(**known)


@cache
def _published(name: str) -> dict[str, Any]:
    return _unpinned(load_recipe(name))


def _unpinned(recipe: Recipe) -> dict[str, Any]:
    return {key: value for key, value in recipe.science.canonical().items() if key not in PINS}
