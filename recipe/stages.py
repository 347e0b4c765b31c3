"""The stages that make the model, in order."""

from pathlib import Path

from recipe import fetch, merge, train
from recipe.curate import Rules, curate
from recipe.curate.page import write_page
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
        said["overall_score 10, mean rating <= 2"] = f"{audit['faulty_completions']} completions"
    return said


CURATE = Stage(
    name="curate",
    does="feedback into preference pairs",
    needs=("fetch",),
    outputs=("data",),
    reads=("science",),
    work=_curate,
)


def _report(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
    page = out / "report" / "report.html"
    page.parent.mkdir()
    release = run.recipe.release
    write_page(run.path("data"), page, title=f"The data of {release.model_name}", reporter=reporter)
    size = page.stat().st_size / 1e6
    return {"page": f"report/{page.name}, {size:,.1f} MB: open it in a browser"}


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
STAGES = (*UPTO_CURATE, train.STAGE, merge.STAGE)
