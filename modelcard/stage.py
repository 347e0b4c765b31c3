"""Stage: the README of each repository of the release."""

from pathlib import Path
from typing import get_args

from modelcard.card import Kind, render
from modelcard.facts import for_others, read_facts
from recipe.load import dump_resolved
from recipe.progress import Reporter
from recipe.run import Run, Stage

RECIPE = "recipe.yaml"


def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:  # noqa: ARG001 - every stage has one
    """Write `card/KIND/README.md`, and the recipe as anyone else can run it."""
    facts = read_facts(run)
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
