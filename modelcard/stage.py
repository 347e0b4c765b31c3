"""Stage: the README of each repository of the models; with the pairs published beside them, or without."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from modelcard.banner import banner_alt, read_banner
from modelcard.card import render
from modelcard.chart import draw_chart, lines_of
from modelcard.curves import draw_curves
from modelcard.dataset import stage as dataset
from modelcard.facts import for_others, read_facts
from modelcard.facts.details import samples_files
from modelcard.facts.evaluation import evaluation_files
from modelcard.facts.published import BANNER
from modelcard.metadata import Kind
from recipe.disk import file_sha256
from recipe.load import dump_resolved
from recipe.progress import Reporter
from recipe.run import Run, Stage
from recipe.schema import canonical_sha256

RECIPE, CURVES, CHART = "recipe.yaml", "curves.png", "evaluation.png"


def work(
    run: Run,
    out: Path,
    reporter: Reporter,  # noqa: ARG001 - every stage has one
    *,
    with_data: bool = False,
) -> dict[str, object]:
    """Write `card/KIND/README.md` with its pictures, and the recipe as anyone else can run it."""
    facts = read_facts(run, with_data=with_data)
    pictures = {BANNER: read_banner(run.recipe.release), CURVES: draw_curves(facts.training.curves)}
    kinds: list[Kind] = [kind for kind in get_args(Kind) if kind != "base" or facts.base.source != "hub"]
    for kind in kinds:
        folder = out / "card" / kind
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(render(facts, kind), encoding="utf-8", newline="\n")
        if kind != "base":
            for name, content in (pictures | {CHART: draw_chart(lines_of(facts, kind))}).items():
                if content is not None:
                    (folder / name).write_bytes(content)
    # Beside the adapter: what a rebuild of it starts from.
    (out / "card" / "adapter" / RECIPE).write_text(
        dump_resolved(for_others(facts)), encoding="utf-8", newline="\n"
    )
    said: dict[str, object] = {"cards": ", ".join(kinds)}
    if facts.evaluation:
        said["evaluation"] = f"{len(facts.evaluation.scores)} figures"
    return said


def outside_sha256(run: Run) -> str:
    """Return one sha256 over what the cards show beside what stages made: results of evaluations, and the banner."""
    files = evaluation_files(run)
    files += samples_files(files)
    results = [[path.relative_to(run.folder).as_posix(), file_sha256(path)] for path in files]
    banner, alt = read_banner(run.recipe.release), banner_alt(run.recipe.release)
    return canonical_sha256([results, banner and hashlib.sha256(banner).hexdigest(), alt])


STAGE = Stage(
    name="card",
    does="the model cards, from the run's artifacts",
    needs=("fetch", "curate", "train", "merge"),
    outputs=("card",),
    reads=("science", "execution", "evaluation", "release"),
    work=work,
    outside=outside_sha256,
)
# The cards name the data set, so that they are written again when it joins the release.
STAGE_WITH_DATA = replace(STAGE, needs=(*STAGE.needs, dataset.NAME), work=partial(work, with_data=True))
