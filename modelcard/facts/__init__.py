"""What a card may say: typed facts, each read from an artifact of the run.

A fact whose artifact is missing raises with its name. Nothing is looked up, measured or guessed here.
"""

from dataclasses import dataclass

from modelcard.banner import banner_alt
from modelcard.facts.base import (
    Adapter,
    Base,
    Merge,
    prompt_template,
    read_adapter,
    read_base,
    read_merge,
)
from modelcard.facts.data import Data, read_data
from modelcard.facts.evaluation import Evaluation, read_evaluation
from modelcard.facts.hardware import Environment, read_environment
from modelcard.facts.missing import MissingFactError
from modelcard.facts.original import Original, Published, original_of, published_beside
from modelcard.facts.published import published_recipe
from modelcard.facts.training import Training, read_training
from recipe.run import Run
from recipe.schema import Recipe

__all__ = ["Facts", "MissingFactError", "for_others", "prompt_template", "read_facts"]


@dataclass(frozen=True)
class Facts:
    """All that the cards of a run say."""

    recipe: Recipe
    science_sha256: str
    base: Base
    data: Data
    training: Training
    environment: Environment
    adapter: Adapter
    merge: Merge
    prompt_template: str
    evaluation: Evaluation | None
    original: Original | None
    """The run that this one repeats, where it does."""
    beside: Published | None
    """Figures that this run's are read beside, where that says something."""
    banner: str | None
    """What the banner shows, where there is one."""


def read_facts(run: Run, *, with_data: bool = False) -> Facts:
    """Read the facts of a run whose stages up to `merge` are done.

    Args:
        run: The run.
        with_data: Whether the pairs are published in the same release.

    Raises:
        MissingFactError: An artifact, or a fact in it, is not there.
        UserError: A result of an evaluation, or the banner, can't be used.
    """
    base = read_base(run)
    return Facts(
        recipe=run.recipe,
        science_sha256=run.recipe.science_sha256,
        base=base,
        data=read_data(run, with_data=with_data),
        training=read_training(run),
        environment=read_environment(run),
        adapter=read_adapter(run),
        merge=read_merge(run),
        prompt_template=prompt_template(run.path("adapter")),
        evaluation=read_evaluation(run),
        original=original_of(run.recipe),
        beside=published_beside(run.recipe, base),
        banner=banner_alt(run.recipe.release),
    )


def for_others(facts: Facts) -> Recipe:
    """Return the recipe without places of the machine that it ran on."""
    return published_recipe(facts.recipe, facts.base)
