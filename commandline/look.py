"""The commands that only look: at rows, schedules, recipes, and this machine."""

import itertools
import json
import sys
from typing import Annotated, Any

import typer

from commandline import work
from commandline.options import Json, RecipeName, Set
from recipe.errors import UserError


def tokens(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Rows to print. [default: 3, or all with --json]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a row on stdout.")] = False,
) -> None:
    """Print the rows of the data files, in their order, as the recipe tokenizes, masks and truncates them."""
    from recipe.tokens import RecipeTokens
    from recipe.tokens_view import show_row, show_rows_head

    reporter = work.reporter_for(False, as_json)
    rows = RecipeTokens(work.load(recipe, set_), reporter)
    if not as_json:
        show_rows_head(reporter)
    for row in itertools.islice(rows, limit or (None if as_json else 3)):
        if as_json:
            sys.stdout.write(json.dumps(row.as_dict()) + "\n")
        else:
            show_row(row, rows.tokenizer, reporter)
    for reason, count in sorted(rows.left_out.items()):
        reporter.warn(f"{count} row(s) left out: {reason}")


def schedule(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    rows: Annotated[
        int | None,
        typer.Option(min=1, max=10**8, help="Training rows. [default: as many as the plan counts]"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON array of training rows an optimizer step on stdout."),
    ] = False,
) -> None:
    """Print which training rows each optimizer step sees, on any number of devices.

    The numbers are places in the run's data/train.parquet: after rows were left out, shuffled and split.
    """
    from recipe.plan import planned_schedule
    from recipe.schedule import schedule_of
    from recipe.schedule_view import show_schedule

    loaded = work.load(recipe, set_)
    if rows is None:
        found, known = planned_schedule(loaded)
        work.reporter_for(False, True).say(known)
    else:
        found = schedule_of(loaded.science, rows)
    if not as_json:
        show_schedule(found, work.reporter_for(False, False))
        return
    for step in found.step_rows():
        sys.stdout.write(json.dumps(step) + "\n")


def doctor(
    gpu: Annotated[bool, typer.Option("--gpu", help="A machine without a usable GPU will not do.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the last line.")] = False,
    as_json: Json = False,
) -> None:
    """Look whether driver, GPUs, memory, disk and packages will do."""
    from container.doctor import as_dict, examine, show
    from container.gpu import unmet

    health = examine(gpu=gpu)
    show(health, work.reporter_for(quiet, as_json))
    work.answer(as_dict(health), as_json)
    if why := unmet(health.machine, gpus=gpu):
        raise UserError(why)
    work.reporter_for(False, as_json).say(health.line)
    raise typer.Exit(0 if health.ok else 1)


def recipe_show(recipe: RecipeName = "smoke", set_: Set = None, as_json: Json = False) -> None:
    """Print a recipe with all that it extends, by section."""
    from recipe.schema import SECTIONS

    loaded = work.load(recipe, set_)
    reporter = work.reporter_for(False, as_json)
    for section in SECTIONS:
        reporter.head(section)
        reporter.table(
            ("key", "value"), _cells(getattr(loaded, section).model_dump(mode="json")), right=False
        )
    reporter.say(f"\nscience sha256 {loaded.science_sha256}")
    work.answer({"name": loaded.name, "science_sha256": loaded.science_sha256, **loaded.flat()}, as_json)


def recipe_diff(one: RecipeName, other: RecipeName, as_json: Json = False) -> None:
    """Print what differs between two recipes."""
    from recipe.schema import SECTION_OF

    left, right = work.load(one, None), work.load(other, None)
    was, now = left.flat(), right.flat()
    differing = {key: [was[key], now[key]] for key in was if was[key] != now[key]}
    reporter = work.reporter_for(False, as_json)
    rows = [(SECTION_OF[key], key, *map(_cell, pair)) for key, pair in differing.items()]
    reporter.table(("section", "key", left.name, right.name), rows, right=False)
    same = left.science_sha256 == right.science_sha256
    reporter.say(f"\n{len(rows)} keys differ; the science is {'the same' if same else 'another'}")
    work.answer({"differs": differing, "same_science": same}, as_json)


def recipe_check(recipe: RecipeName = "smoke", set_: Set = None, as_json: Json = False) -> None:
    """Check a recipe, its local paths and its LoRA targets, and say what a release would still need."""
    from modelcard.banner import read_banner
    from recipe.plan import make_plan

    loaded = work.load(recipe, set_)
    reporter = work.reporter_for(False, as_json)
    plan = make_plan(loaded)
    read_banner(loaded.release)
    unpinned = loaded.science.unpinned
    reporter.say(
        f"{loaded.name}: the recipe is sound; {loaded.science.global_batch_size} pairs an optimizer step"
    )
    for known in plan.known:
        reporter.say(f"  {known}")
    for key in unpinned:
        reporter.warn(f"{key} is not pinned; run `notus recipe pin {loaded.name}` before a release")
    work.answer({"name": loaded.name, "unpinned": unpinned, "known": list(plan.known)}, as_json)


def recipe_pin(recipe: RecipeName, as_json: Json = False) -> None:
    """Look up the commit ids of the recipe's Hub repositories, once, and write them beside it."""
    from recipe.pin import pin

    lock, pins = pin(recipe)
    reporter = work.reporter_for(False, as_json)
    reporter.table(("repository", "commit"), pins.items(), right=False)
    reporter.say(f"written to {lock}")
    work.answer({"lock": str(lock), "pins": pins}, as_json)


def _cells(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key, _cell(value)) for key, value in values.items()]


def _cell(value: object) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
