"""Stage: the README of each repository of the models; with the pairs published beside them, or without."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from modelcard.card import Kind, render
from modelcard.dataset import stage as dataset
from modelcard.facts import for_others, read_facts
from recipe.load import dump_resolved
from recipe.progress import Reporter
from recipe.run import Run, Stage

RECIPE = "recipe.yaml"


def work(
    run: Run,
    out: Path,
    reporter: Reporter,  # noqa: ARG001 - every stage has one
    *,
    with_data: bool = False,
) -> dict[str, object]:
    """Write `card/KIND/README.md`, and the recipe as anyone else can run it."""
    facts = read_facts(run, with_data=with_data)
    kinds: list[Kind] = [kind for kind in get_args(Kind) if kind != "base" or facts.base.source != "hub"]
    for kind in kinds:
        folder = out / "card" / kind
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(render(facts, kind), encoding="utf-8", newline="\n")
    # Beside the adapter: what a rebuild of it starts from.
    (out / "card" / "adapter" / RECIPE).write_text(
        dump_resolved(for_others(facts)), encoding="utf-8", newline="\n"
    )
    return {"cards": ", ".join(kinds)}


STAGE = Stage(
    name="card",
    does="the model cards, from the run's artifacts",
    needs=("fetch", "curate", "train", "merge"),
    outputs=("card",),
    reads=("science", "execution", "release"),
    work=work,
)
# The cards name the data set, so that they are written again when it joins the release.
STAGE_WITH_DATA = replace(STAGE, needs=(*STAGE.needs, dataset.NAME), work=partial(work, with_data=True))
