"""The recipe as anyone else can run it."""

from pathlib import Path

from modelcard.facts.base import Base
from recipe.load import build_recipe
from recipe.schema import BUILTIN, Recipe

BANNER = "banner.png"  # beside the published recipe


def published_recipe(recipe: Recipe, base: Base) -> Recipe:
    """Return a recipe without places of the machine that it ran on.

    A local base is named by the repository and the tag that it is released under, and what the plan has to know before
    it is there is said; local data are named by their last name, a banner by the name it is published under. Where a
    judge was asked is said with its figures.
    """
    science, values = recipe.science, recipe.flat()
    if base.source == "local" and recipe.release.hub_base_model_id:
        values |= {"model_name_or_path": base.name, "model_revision": base.revision}
        values |= {"assumed_model_type": base.model_type, "assumed_config": base.sizes}
    for key, source in (("tokenizer", science.tokenizer_source), ("dataset", science.dataset_source)):
        if values[key] is not None and source == "local":
            values[key] = f"./{Path(values[key]).name}"
    values |= science.with_files(lambda name: f"./{Path(name).name}")
    benchmarks = recipe.evaluation.benchmark_data.items()
    values |= {
        "benchmark_data": {task: f"./{Path(name).name}" for task, name in benchmarks},
        "judge_url": None,
    }
    if values["banner"] is not None and not values["banner"].startswith(BUILTIN):
        values["banner"] = f"./{BANNER}"
    return build_recipe(recipe.name, values, where=recipe.name)
