"""What commands do alike: a recipe loaded, stages brought, here or in the image."""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from commandline.options import HUB_ROOT, RUNS
from recipe.errors import UserError
from recipe.nodes import ALONE, Nodes

if TYPE_CHECKING:
    from publish.keys import Signer
    from recipe.progress import Reporter
    from recipe.run import Run, Stage
    from recipe.schema import Recipe


def load(name: str, overrides: list[str] | None, tag: str | None = None) -> "Recipe":
    """Return a recipe with what overrides it.

    Raises:
        UserError: It is not there, or not sound.
    """
    from recipe.load import load_recipe

    return load_recipe(name, overrides or (), tag)


def folder_of(recipe: "Recipe", run: Path | None) -> Path:
    """Return the run folder: the one that was named, or the recipe's own."""
    return run or RUNS / recipe.name


def reporter_for(quiet: bool, as_json: bool) -> "Reporter":
    """Return who tells people what is done: on stderr where stdout carries JSON."""
    from recipe.progress import Reporter

    return Reporter(quiet=quiet, stderr=as_json)


def answer(result: dict[str, Any], as_json: bool) -> None:
    """Print the result as JSON, if that was asked for."""
    if as_json:
        sys.stdout.write(json.dumps(result, sort_keys=True, default=str) + "\n")


def with_data(loaded: "Recipe", run: Path | None, asked: bool, hub: str | None = None) -> bool:
    """Whether the pairs go along: they were asked for, or they went along before."""
    from publish.data import goes_along

    return goes_along(loaded, folder_of(loaded, run), asked=asked, hub=hub)


def all_stages(loaded: "Recipe", data: bool) -> tuple["Stage", ...]:
    """Return every stage of a recipe but the signature's, with the data set's where the pairs go along.

    Of its evaluations those that need nothing from outside.
    """
    from modelcard.dataset.stage import STAGE as DATASET
    from modelcard.stage import STAGE, STAGE_WITH_DATA
    from publish import provenance
    from recipe.evaluate.stage import evaluations_of
    from recipe.stages import CURATE, STAGES

    measured = evaluations_of(loaded)
    if not data:
        return (*STAGES, *measured, STAGE, provenance.STAGE)
    place = STAGES.index(CURATE) + 1  # what it lacks is found before hours of training
    made = (*STAGES[:place], DATASET, *STAGES[place:])
    return (*made, *measured, STAGE_WITH_DATA, provenance.STAGE_WITH_DATA)


def bring_upto(
    name: str,
    overrides: list[str] | None,
    run: Path | None,
    quiet: bool,
    as_json: bool,
    *,
    upto: str,
    nodes: Nodes = ALONE,
    place: tuple[str | None, str | None] = ("venv", None),
    data: bool = False,
    tag: str | None = None,
) -> None:
    """Bring the stages up to one, here or in the image."""
    loaded, reporter = load(name, overrides, tag), reporter_for(quiet, as_json)
    data = upto in {"curate", "card"} and with_data(loaded, run, data)
    if not in_image(upto, loaded, run, place, reporter, nodes=nodes, data=data, as_json=as_json):
        answer(bring(loaded, run, reporter, upto=upto, nodes=nodes, data=data), as_json)


def restart(
    loaded: "Recipe", run: Path | None, yes: bool, nodes: Nodes, place: tuple[str | None, str | None]
) -> None:
    """Throw away what training has made, after asking; what was fetched, curated and tokenized stays.

    Raises:
        UserError: There is nobody to be asked, the answer is no, or nothing could be trained in its place.
    """
    from recipe.resume.names import CHECKPOINTS, steps_in

    opened = open_run(loaded, run)
    steps, done = steps_in(opened.path(CHECKPOINTS)), opened.done("train") is not None
    if not steps and not done:
        return
    if not _in_image(loaded, place):
        _refuse_devices(loaded, nodes)
    what = "the finished adapter" if done else f"the training up to step {steps[0]}"
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(f"--restart: throws away {what} of {opened.folder}; add --yes if that is meant")
        if not typer.confirm(f"Throw away {what} of {opened.folder}?", err=True):
            raise UserError("--restart: nothing was thrown away; leave it out, and training goes on")
    with opened.locked():
        opened.forget("train")
        shutil.rmtree(opened.path(CHECKPOINTS), ignore_errors=True)


def in_image(
    command: str,
    loaded: "Recipe",
    run: Path | None,
    place: tuple[str | None, str | None],
    reporter: "Reporter",
    *,
    hub: tuple[str | None, Path] = ("local", HUB_ROOT),
    nodes: Nodes = ALONE,
    data: bool = False,
    release: tuple[bool, bool] = (False, False),
    signer: "Signer | None" = None,
    evaluate: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    as_json: bool,
) -> bool:
    """Do a command in the image if that is where the stages are to run. Return whether it was done there."""
    if not _in_image(loaded, place):
        return False
    from container.stages import Order, do
    from recipe.pin import refuse_unpinned

    if command in {"publish", "run"}:
        refuse_unpinned(loaded)
    if signer and signer.key is None:
        raise UserError("--keyless: a container has no identity; use --runtime venv, or --key")
    order = Order(
        command,
        loaded,
        folder_of(loaded, run),
        hub=which_hub(hub[0], loaded),
        hub_root=hub[1],
        nodes=nodes,
        data=data,
        dry_run=release[0],
        force=release[1],
        key=signer.key if signer else None,
        suites=evaluate[0],
        options=evaluate[1],
        quiet=reporter.quiet,
        as_json=as_json,
    )
    answer(do(order, place[1], reporter), as_json)
    return True


def _in_image(loaded: "Recipe", place: tuple[str | None, str | None]) -> bool:
    """Whether the stages are to run in the image, and this is not the image yet."""
    runtime, image = place
    if runtime not in {None, "venv", "docker"}:
        raise UserError(f"--runtime {runtime}: must be venv or docker")
    if image == "":
        raise UserError("--image: empty; name one, or leave it out")
    if runtime == "venv" and image:
        raise UserError(f"--image {image}: --runtime venv uses none; leave one of them out")
    chosen = runtime or ("docker" if image else loaded.execution.runtime)
    return chosen != "venv" and "NOTUS_REVISION" not in os.environ  # the image says that of itself


def bring(
    loaded: "Recipe",
    run: Path | None,
    reporter: "Reporter",
    *,
    upto: str,
    nodes: Nodes = ALONE,
    data: bool = False,
) -> dict[str, Any]:
    """Bring the stages up to one, here. Return what each did."""
    from recipe.run import Run

    every = all_stages(loaded, data)
    # With the cards comes what is published beside them: what a release will be is then known.
    last = {"curate": "dataset" if data else "curate", "card": "provenance"}.get(upto, upto)
    wanted = every[: [stage.name for stage in every].index(last) + 1]
    return bring_stages(Run(folder_of(loaded, run), loaded, nodes), wanted, reporter)


def bring_evaluations(
    loaded: "Recipe", run: Path | None, reporter: "Reporter", evaluations: "Sequence[Stage]"
) -> dict[str, Any]:
    """Bring evaluations up, and what has to be there before them. Return what each stage did."""
    from recipe.run import Run
    from recipe.stages import STAGES, UPTO_TRAIN

    merged = any("merge" in stage.needs for stage in evaluations)
    return bring_stages(
        Run(folder_of(loaded, run), loaded), (*(STAGES if merged else UPTO_TRAIN), *evaluations), reporter
    )


def bring_stages(opened: "Run", wanted: Sequence["Stage"], reporter: "Reporter") -> dict[str, Any]:
    """Bring stages of a run, here, or this node's part of them. Return what each did."""
    from recipe.launch import bring_on_node

    if any(stage.name == "card" for stage in wanted):  # else somebody asks for the evaluations themselves
        wanted = without_extras_that_are_missing(wanted, reporter)
    get_ready(opened, wanted, reporter)
    if opened.nodes.count > 1:
        return bring_on_node(opened, wanted, reporter)
    with nothing_left_of_a_mistake(opened), opened.locked():
        return opened.bring(wanted, reporter)


def without_extras_that_are_missing(wanted: Sequence["Stage"], reporter: "Reporter") -> tuple["Stage", ...]:
    """Leave evaluations out that need more than is installed: a model is made, and has cards, without them."""
    from recipe.evaluate.stage import suite_of

    found = []
    for stage in wanted:
        measured = suite_of(stage.name)
        if measured and (package := measured[0].lacks()):
            reporter.warn(
                f"{stage.name}: left out, as {package} is not installed; `pip install '.[{measured[0].extra}]'`, and "
                "`notus evaluate`"
            )
        else:
            found.append(stage)
    return tuple(found)


@contextlib.contextmanager
def nothing_left_of_a_mistake(opened: "Run") -> Iterator[None]:
    """Remove a run folder that was made meanwhile if a mistake ends all before there is anything to keep in it.

    It would hold the next try, with the mistake mended, to what was wrong.
    """
    from recipe.run import FolderBusyError

    fresh = not opened.folder.exists()
    try:
        yield
    except FolderBusyError:
        raise
    except UserError:
        if fresh and set(opened.manifest.get("stages", {})) <= {"fetch"}:
            shutil.rmtree(opened.folder, ignore_errors=True)
        raise


def get_ready(opened: "Run", wanted: Sequence["Stage"], reporter: "Reporter") -> None:
    """Refuse what would stop the stages that are missing, before the first of them."""
    from recipe.hush import hush_libraries

    hush_libraries(bars=reporter.console.is_terminal and not reporter.quiet)
    from recipe.disk import refuse_full_disk
    from recipe.evaluate.stage import suite_of
    from recipe.fetch import to_download
    from recipe.plan import make_plan

    loaded = opened.recipe
    missing = [stage.name for stage in wanted if not opened.is_current(stage)]
    if "train" in missing:
        _refuse_devices(loaded, opened.nodes)
    if "card" in missing:
        from modelcard.banner import read_banner

        read_banner(loaded.release)  # before hours of training
    for name in missing:  # before hours of training
        if measured := suite_of(name):
            suite, weights = measured
            suite.load().check(opened, weights)
    if missing:
        plan = make_plan(loaded, count=False)
        needed = {opened.folder: sum(plan.disk.get(name, 0) for name in missing)}
        if "fetch" in missing:
            needed |= to_download(loaded.science, plan.base_bytes)
        refuse_full_disk(needed)


def _refuse_devices(loaded: "Recipe", nodes: Nodes) -> None:
    from recipe.launch import devices_for, micro_batch_size, refuse_no_gpu

    refuse_no_gpu(loaded.execution)
    micro_batch_size(loaded, devices_for(loaded.execution), nodes.count)


def open_run(loaded: "Recipe", run: Path | None) -> "Run":
    """Return the run folder, opened for the recipe."""
    from recipe.run import Run

    return Run(folder_of(loaded, run), loaded)


def preview_cards(
    name: str, overrides: list[str] | None, run: Path | None, quiet: bool, as_json: bool, tag: str | None
) -> None:
    """Write the cards that are there as pages to look at, here: it needs neither torch nor the image."""
    from modelcard.preview import PREVIEW

    opened, reporter = open_run(load(name, overrides, tag), run), reporter_for(quiet, as_json)
    with opened.locked():
        done = opened.bring((PREVIEW,), reporter)
    reporter.say(f"\nopen {opened.path('preview')} in a browser")
    if not as_json:  # that answer is the cards'
        answer(done, as_json)


def which_hub(hub: str | None, loaded: "Recipe") -> str:
    """Return `local` or `remote`: as named, or local where the base is built in."""
    if hub not in {None, "local", "remote"}:
        raise UserError(f"--hub {hub}: must be local or remote")
    return hub or ("local" if loaded.science.base_source == "builtin" else "remote")


def show_plan_of(
    loaded: "Recipe",
    folder: Path,
    nodes: Nodes,
    reporter: "Reporter",
    data: bool,
    signer: "Signer | None" = None,
) -> dict[str, Any]:
    """Print the plan, and return it."""
    from publish.signing import signed_by
    from recipe.plan import make_plan
    from recipe.plan_view import show_plan

    measured = (folder, RUNS / loaded.name)
    plan = make_plan(loaded, folders=measured, nodes=nodes.count)
    stages = (*all_stages(loaded, data), *([signed_by(signer, with_data=data)] if signer else ()))
    return show_plan(loaded, plan, folder, stages, reporter)
