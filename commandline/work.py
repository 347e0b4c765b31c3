"""What commands do alike: a recipe loaded, stages brought, here or in the image, a release made."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commandline.options import HUB_ROOT, RUNS
from recipe.errors import UserError
from recipe.nodes import ALONE, Nodes

if TYPE_CHECKING:
    from publish.gate import Condition
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


def signer_of(key: Path | None, keyless: bool) -> "Signer | None":
    """Return who signs the release, after a look whether they can; None if nobody does."""
    if key is None and not keyless:
        return None
    from publish.keys import signer_of

    return signer_of(key, keyless=keyless)


def all_stages(data: bool) -> tuple["Stage", ...]:
    """Return every stage but the signature's, with the data set's where the pairs go along."""
    from modelcard.dataset.stage import STAGE as DATASET
    from modelcard.stage import STAGE, STAGE_WITH_DATA
    from publish import provenance
    from recipe.stages import CURATE, STAGES

    if not data:
        return (*STAGES, STAGE, provenance.STAGE)
    place = STAGES.index(CURATE) + 1  # what it lacks is found before hours of training
    return (*STAGES[:place], DATASET, *STAGES[place:], STAGE_WITH_DATA, provenance.STAGE_WITH_DATA)


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
    as_json: bool,
) -> bool:
    """Do a command in the image if that is where the stages are to run. Return whether it was done there."""
    runtime, image = place
    if runtime not in {None, "venv", "docker"}:
        raise UserError(f"--runtime {runtime}: must be venv or docker")
    if image == "":
        raise UserError("--image: empty; name one, or leave it out")
    if runtime == "venv" and image:
        raise UserError(f"--image {image}: --runtime venv uses none; leave one of them out")
    chosen = runtime or ("docker" if image else loaded.execution.runtime)
    if chosen == "venv" or "NOTUS_REVISION" in os.environ:  # the image says that of itself
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
        quiet=reporter.quiet,
        as_json=as_json,
    )
    answer(do(order, image, reporter), as_json)
    return True


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

    every = all_stages(data)
    # With the cards comes what is published beside them: what a release will be is then known.
    last = {"curate": "dataset" if data else "curate", "card": "provenance"}.get(upto, upto)
    wanted = every[: [stage.name for stage in every].index(last) + 1]
    return _bring(Run(folder_of(loaded, run), loaded, nodes), wanted, reporter)


def bring_release(
    loaded: "Recipe",
    run: Path | None,
    reporter: "Reporter",
    where: str,
    nodes: Nodes,
    data: bool,
    signer: "Signer | None",
) -> dict[str, Any]:
    """Bring all stages of a release to the Hub `where`, here: signed if somebody signs it, or did before."""
    from publish.signing import stage_of
    from recipe.run import Run

    opened = Run(folder_of(loaded, run), loaded, nodes)
    signature = stage_of(opened, signer, hub=where, with_data=data)
    return _bring(opened, (*all_stages(data), *([signature] if signature else ())), reporter)


def _bring(opened: "Run", wanted: Sequence["Stage"], reporter: "Reporter") -> dict[str, Any]:
    from recipe.launch import bring_on_node

    get_ready(opened, wanted, reporter)
    if opened.nodes.count > 1:
        return bring_on_node(opened, wanted, reporter)
    with nothing_left_of_a_mistake(opened), opened.locked():
        return opened.bring(wanted, reporter)


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
    from recipe.fetch import to_download
    from recipe.plan import make_plan

    loaded = opened.recipe
    missing = [stage.name for stage in wanted if not opened.is_current(stage)]
    if "train" in missing:
        _refuse_devices(loaded, opened.nodes)
    if "card" in missing:
        from modelcard.banner import read_banner

        read_banner(loaded.release)  # before hours of training
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


def preflight(loaded: "Recipe", data: bool) -> None:
    """Refuse what would stop the release at its end."""
    from publish.release import preflight

    preflight(loaded, with_data=data)


def pass_gate(
    loaded: "Recipe", run: Path | None, reporter: "Reporter", where: str, data: bool, signer: "Signer | None"
) -> "list[Condition]":
    """Hold a finished run to the conditions of a release. Return what became of each.

    Raises:
        UserError: One of them does not hold.
    """
    from publish.conditions import candidate
    from publish.gate import gate
    from publish.retry import patient
    from publish.signing import stage_of

    opened = open_run(loaded, run)
    signature = stage_of(opened, signer, hub=where, with_data=data)
    stages = (*all_stages(data), *([signature] if signature else ()))
    with patient(reporter) as hub:
        return gate(candidate(opened, stages, hub, with_data=data), reporter)


def publish_run(
    loaded: "Recipe", run: Path | None, reporter: "Reporter", where: str, data: bool, force: bool = False
) -> dict[str, Any]:
    """Publish what the stages made. Return what was released."""
    from publish.release import publish as publish_run

    opened = open_run(loaded, run)
    reporter.head(f"publish: {loaded.release.version} to the {where} Hub")
    with opened.locked():
        return publish_run(opened, reporter, hub=where, with_data=data, force=force)


def release_plan(
    loaded: "Recipe", run: Path | None, reporter: "Reporter", data: bool, signer: "Signer | None" = None
) -> dict[str, Any]:
    """Print what publishing would do on the Hub, and return it.

    Raises:
        UserError: Stages are missing: what they would make is not known yet.
    """
    from publish.release import plan_release, show_plan

    opened = open_run(loaded, run)
    missing = [stage.name for stage in all_stages(data) if not opened.is_current(stage)]
    if missing:
        raise UserError(
            f"{opened.folder}: {', '.join(missing)} not done yet, so what would be published is not known; run "
            f"`notus card --tag {loaded.release.version}{' --data' * data}` first, with the other options of this one"
        )
    plans = plan_release(opened, with_data=data, reporter=reporter)
    if signer and not opened.done("signature"):
        reporter.say("  and in each repository model.sig, once it is signed")
    return show_plan(plans, loaded.release.version, reporter)


def verify_run(loaded: "Recipe", run: Path | None, reporter: "Reporter") -> dict[str, Any]:
    """Hold the Hub against what was released. Return what was found."""
    from publish.verify import verify as verify_run

    reporter.head("verify: what the Hub has against what was released")
    return verify_run(open_run(loaded, run), reporter)


def which_hub(hub: str | None, loaded: "Recipe") -> str:
    """Return `local` or `remote`: as named, or local where the base is built in."""
    if hub not in {None, "local", "remote"}:
        raise UserError(f"--hub {hub}: must be local or remote")
    return hub or ("local" if loaded.science.base_source == "builtin" else "remote")


@contextlib.contextmanager
def hub_for_clients(where: str, root: Path, *, only_look: bool = False) -> Iterator[str]:
    """Point the Hub's clients at the chosen Hub, before they are imported: then they read the environment.

    `only_look` makes no embedded Hub in `root` where there is none yet.
    """
    if where == "remote":
        yield where
        return
    from publish.localhub import running

    with contextlib.ExitStack() as stack:
        if only_look and not (root.is_dir() and any(root.iterdir())):
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="notus-")))
        hub = stack.enter_context(running(root))
        os.environ |= hub.environment
        os.environ.pop("HF_HUB_OFFLINE", None)
        for key in ("NO_PROXY", "no_proxy"):  # a proxy for the world is none for this machine
            os.environ[key] = ",".join(filter(None, [os.environ.get(key), "127.0.0.1"]))
        yield where


def consumer_lines(loaded: "Recipe", reporter: "Reporter", local_root: Path | None, data: bool) -> None:
    """Print the lines that load what was released."""
    release = loaded.release
    if local_root is not None:
        reporter.head("To use it, with the embedded Hub served in another terminal")
        reporter.say(f"  notus hub serve --root {local_root}")
        reporter.say("  export HF_ENDPOINT=http://127.0.0.1:8484")
    else:
        reporter.head("To use it")
    at = f'"{release.hub_model_id}", revision="{release.version}"'
    reporter.say("\n  from peft import AutoPeftModelForCausalLM; from transformers import AutoTokenizer")
    reporter.say(f"  model = AutoPeftModelForCausalLM.from_pretrained({at})")
    reporter.say(f"  tokenizer = AutoTokenizer.from_pretrained({at})")
    if data:
        reporter.say("\n  from datasets import load_dataset")
        reporter.say(f'  pairs = load_dataset("{release.hub_dataset_id}", revision="{release.version}")')


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
    stages = (*all_stages(data), *([signed_by(signer, with_data=data)] if signer else ()))
    return show_plan(loaded, plan, folder, stages, reporter)
