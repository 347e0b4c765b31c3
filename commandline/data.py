"""The commands about the data: the audit as a page, two data sets side by side, annotations."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from commandline import work
from commandline.options import RUNS, Json, Quiet, RecipeName, RunFolder, Set


def report(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the audit of the data as a page to look at, with every row behind its figures."""
    from recipe.stages import PAGE, REPORT, UPTO_CURATE

    loaded, reporter = work.load(recipe, set_), work.reporter_for(quiet, as_json)
    opened = work.open_run(loaded, run)
    with work.nothing_left_of_a_mistake(opened), opened.locked():
        result = opened.bring((*UPTO_CURATE, REPORT), reporter)
    page = opened.path(*PAGE)
    reporter.say(f"\nopen {page} in a browser")
    work.answer({**result, "page": str(page)}, as_json)


def compare(
    recipe_a: Annotated[str, typer.Argument(metavar="A", help="A recipe: the control.")],
    recipe_b: Annotated[str, typer.Argument(metavar="B", help="A recipe that differs in its data only.")],
    set_: Set = None,
    set_a: Annotated[
        list[str] | None, typer.Option("--set-a", metavar="KEY=VALUE", help="Override a key of A.")
    ] = None,
    set_b: Annotated[
        list[str] | None, typer.Option("--set-b", metavar="KEY=VALUE", help="Override a key of B.")
    ] = None,
    run_a: Annotated[
        Path | None, typer.Option("--run-a", metavar="DIR", help="A's run folder. [default: runs/A]")
    ] = None,
    run_b: Annotated[
        Path | None,
        typer.Option("--run-b", metavar="DIR", help="B's. [default: runs/B, or runs/B-b if A is B]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The result. [default: runs/compare-A-B/compare.json]"),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train two recipes that differ in their data only, and set them side by side."""
    from recipe.compare.result import SIDES
    from recipe.compare.run import compare_runs, naming, open_runs
    from recipe.compare.view import show_comparison
    from recipe.stages import UPTO_TRAIN

    a, b = (
        work.load(recipe_a, [*(set_ or ()), *(set_a or ())]),
        work.load(recipe_b, [*(set_ or ()), *(set_b or ())]),
    )
    folders = run_a or RUNS / a.name, run_b or RUNS / (f"{b.name}-b" if a.name == b.name else b.name)
    out = out or RUNS / f"compare-{folders[0].name}-{folders[1].name}" / "compare.json"
    reporter = work.reporter_for(quiet, as_json)
    runs = open_runs((a, b), folders, out)
    for side, opened in zip(SIDES, runs, strict=True):
        with naming(side):
            work.get_ready(opened, UPTO_TRAIN, reporter)
    result, done = compare_runs(runs, UPTO_TRAIN, out, reporter)
    show_comparison(result, reporter)
    reporter.say(f"\nwritten to {out}")
    work.answer({**result, "stages": done}, as_json)


def annotate_export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder that is not there yet.")],
    recipe: RecipeName = "smoke",
    run: RunFolder = None,
    flags: Annotated[
        list[str] | None,
        typer.Option(
            "--flag",
            metavar="FLAG",
            help="Of the audit; may be given again. [default: score_10_low and score_10_between]",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the answers of a run that were flagged as a data set of Argilla's."""
    from recipe.curate.annotate import DEFAULT_FLAGS, LOAD_LINES, export_for_argilla

    data = (run or work.folder_of(work.load(recipe, None), None)) / "data"
    found = export_for_argilla(data, out, flags or DEFAULT_FLAGS)
    reporter = work.reporter_for(False, as_json)
    reporter.table(("flag", "answers"), found.by_flag.items())
    reporter.say(
        f"\n{found.records} answers of {found.rows} rows written to {out}. To load them into Argilla:\n"
    )
    for line in LOAD_LINES:
        reporter.say("  " + line.format(folder=str(out)))
    work.answer({"out": str(out), **dataclasses.asdict(found)}, as_json)


def annotate_import(
    export: Annotated[
        Path, typer.Argument(metavar="FILE", help="What Argilla's SDK exported: JSON or Parquet.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A file that is not there yet.")],
    as_json: Json = False,
) -> None:
    """Turn what people answered in Argilla into overrides by row id, for the recipe's key `overrides`."""
    from recipe.curate.answers import import_answers

    found = import_answers(export, out)
    reporter = work.reporter_for(False, as_json)
    reporter.say(
        f"{found.records} records: {found.submitted} submitted answers; {found.discarded} discarded and "
        f"{found.unfinished} unfinished ones do not count"
    )
    reporter.say(f"answers corrected: {found.completions}; rows left out: {found.left_out}; written to {out}")
    if found.conflicting:
        named = ", ".join(found.conflicting[:5]) + (", ..." if len(found.conflicting) > 5 else "")
        reporter.warn(
            f"annotators disagree on {len(found.conflicting)}, the median or majority counts: {named}"
        )
    work.answer({"out": str(out), **dataclasses.asdict(found)}, as_json)
