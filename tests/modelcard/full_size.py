"""The facts of a run as if it were one of the recipe that ships as Notus 7B v1: no such run fits into a test."""

from dataclasses import replace

from modelcard.facts import Facts
from modelcard.facts.base import Base
from modelcard.facts.hardware import Gpu, Hardware
from modelcard.facts.original import original_of, published_beside
from recipe.load import load_recipe

REVISION = "0123456789abcdef0123456789abcdef01234567"
PINS = [f"model_revision={REVISION}", f"dataset_revision={REVISION}"]


def full_size(facts: Facts) -> Facts:
    """Return `facts` of a small run with recipe, base, data and machine of the full-size one."""
    recipe = load_recipe("notus-7b-v1-lora", PINS)
    base = Base(recipe.science.model_name_or_path, REVISION, "hub", 7_241_732_096, "bfloat16", "mistral", {})
    return replace(
        facts,
        recipe=recipe,
        science_sha256=recipe.science_sha256,
        base=base,
        data=replace(
            facts.data, name=recipe.science.dataset, revision=REVISION, source="hub", format="argilla", by=None,
            rejected=None, rows_in=63619, train=61619, heldout=2000, left_out={}, choice=None, top_scores=None,
            rows_by_source={},
        ),
        training=replace(facts.training, science=recipe.science.canonical(), rows=61619),
        environment=replace(
            facts.environment,
            hardware=Hardware(
                "Intel(R) Xeon(R) CPU @ 2.20GHz", 96, 680 * 2**30, 1, 8,
                (Gpu("NVIDIA A100-SXM4-40GB", 42_405_855_232),) * 8, "580.95.05", "13.0",
            ),
        ),
        original=original_of(recipe),
        beside=published_beside(recipe, base),
        banner="Paper planes in a warm wind.",
    )  # fmt: skip
