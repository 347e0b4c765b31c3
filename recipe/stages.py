"""The stages that make the model, in order."""

from pathlib import Path
from typing import Any

from recipe import fetch, merge, train
from recipe.curate import Rules, curate
from recipe.curate.page import write_page
from recipe.disk import read_json
from recipe.fetch import load_inputs
from recipe.progress import Reporter
from recipe.run import Run, Stage


def _curate(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
    science, data = run.recipe.science, load_inputs(run)["data"]
    summary = curate(
        data["train"],
        data["heldout"],
        out / "data",
        rules=Rules.of(science),
        dataset_format=science.dataset_format,
        test_size=science.test_size,
        reporter=reporter,
    )
    said: dict[str, object] = {
        "pairs": f"{summary.train} to train on, {summary.heldout} held out",
        "rows": f"{summary.rows_in} ({summary.format})",
    }
    if summary.left_out:
        said["left out"] = ", ".join(
            f"{count} {reason}" for reason, count in sorted(summary.left_out.items())
        )
    if (audit := summary.ultrafeedback) is not None:
        said["differs from overall_score's"] = (
            f"the chosen answer of {audit['chosen_differs_share']:.1%} of the rows"
        )
        said["overall_score 10, mean rating <= 2"] = (
            f"{audit['faulty_completions']} completions, as they came"
        )
    return said | _done(read_json(out / "data" / "audit.json"))


def _done(audit: dict[str, Any]) -> dict[str, object]:
    """Say what was done to the feedback, and found in it, because the recipe asks."""
    said: dict[str, object] = {}
    if fixes := audit["fixes"]:
        said["fix_scores"] = (
            f"{fixes['to_1']} scores of 10 taken for 1, {fixes['to_annotate']} left to people"
        )
    if done := audit["overrides"]:
        said["overrides"] = (
            f"{done['completions']} answers of {done['rows']} rows corrected, {done['left_out']} rows left out"
        )
    if found := audit["contamination"]:
        rows = ", ".join(f"{len(ids)} {level}" for level, ids in found["rows"].items())
        said["prompts that benchmarks have"] = rows
    return said


CURATE = Stage(
    name="curate",
    does="feedback into preference pairs",
    needs=("fetch",),
    outputs=("data",),
    reads=("science",),
    work=_curate,
)


PAGE = ("report", "report.html")


def _report(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
    page = out.joinpath(*PAGE)
    page.parent.mkdir()
    release = run.recipe.release
    write_page(run.path("data"), page, title=f"The data of {release.model_name}", reporter=reporter)
    size = page.stat().st_size / 1e6
    return {"page": f"{'/'.join(PAGE)}, {size:,.1f} MB"}


REPORT = Stage(
    name="report",
    does="the audit as a page to look at",
    needs=("curate",),
    outputs=("report",),
    reads=("release.model_name",),
    work=_report,
)
"""Beside the others: no model needs it."""

UPTO_CURATE = (fetch.STAGE, CURATE)
UPTO_TRAIN = (*UPTO_CURATE, train.STAGE)
STAGES = (*UPTO_TRAIN, merge.STAGE)
