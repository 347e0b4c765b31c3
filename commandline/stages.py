"""The commands that make, publish and verify a model: one short function a stage."""

from pathlib import Path
from typing import Annotated

import typer

from commandline import online, work
from commandline.options import (
    HUB_ROOT,
    Data,
    Endpoint,
    HubName,
    HubRoot,
    Image,
    Json,
    Key,
    Keyless,
    MaxRestarts,
    NodeCount,
    NodeRank,
    PublicKey,
    Quiet,
    RecipeName,
    Restart,
    Revision,
    RunFolder,
    Runtime,
    Set,
    Tag,
    Yes,
)
from recipe.errors import UserError
from recipe.nodes import nodes_from


def fetch(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    runtime: Runtime = None,
    image: Image = None,
    # For what starts containers: this one has the network and the token.
    check_release: Annotated[bool, typer.Option("--check-release", hidden=True)] = False,
    data: Annotated[bool, typer.Option("--data", hidden=True)] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Bring the base and the feedback here, pinned."""
    loaded, reporter = work.load(recipe, set_), work.reporter_for(quiet, as_json)
    if work.in_image("fetch", loaded, run, (runtime, image), reporter, as_json=as_json):
        return
    if check_release:
        online.preflight(loaded, data)
    work.answer(work.bring(loaded, run, reporter, upto="fetch"), as_json)


def curate(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    data: Data = False,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Turn feedback into preference pairs."""
    work.bring_upto(recipe, set_, run, quiet, as_json, upto="curate", place=(runtime, image), data=data)


def train(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    nnodes: NodeCount = 1,
    node_rank: NodeRank = None,
    rdzv_endpoint: Endpoint = None,
    max_restarts: MaxRestarts = 0,
    restart: Restart = False,
    yes: Yes = False,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train the adapter, on one node or several; go on where a training was ended."""
    nodes = nodes_from(nnodes, node_rank, rdzv_endpoint, max_restarts)
    if yes and not restart:
        raise UserError("--yes: answers --restart, which is not there; leave it out")
    if restart:
        work.restart(work.load(recipe, set_), run, yes, nodes, (runtime, image))
    work.bring_upto(recipe, set_, run, quiet, as_json, upto="train", nodes=nodes, place=(runtime, image))


def merge(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Merge the adapter into the base, and check the result."""
    work.bring_upto(recipe, set_, run, quiet, as_json, upto="merge", place=(runtime, image))


def card(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    tag: Tag = None,
    data: Data = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="And as pages to look at in a browser, in `preview/`.")
    ] = False,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the model cards, and where every published file comes from."""
    work.bring_upto(
        recipe, set_, run, quiet, as_json, upto="card", place=(runtime, image), data=data, tag=tag
    )
    if preview:
        work.preview_cards(recipe, set_, run, quiet, as_json, tag)


def publish(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    hub: HubName = None,
    hub_root: HubRoot = HUB_ROOT,
    tag: Tag = None,
    data: Data = False,
    key: Key = None,
    keyless: Keyless = False,
    nnodes: NodeCount = 1,
    node_rank: NodeRank = None,
    rdzv_endpoint: Endpoint = None,
    max_restarts: MaxRestarts = 0,
    runtime: Runtime = None,
    image: Image = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what it would do on the Hub, and do nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what lies in the repositories of another base.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Publish adapter, merged weights and, with --data, the pairs; read them back, and tag them."""
    nodes = nodes_from(nnodes, node_rank, rdzv_endpoint, max_restarts)
    loaded = work.load(recipe, set_, tag)
    reporter = work.reporter_for(quiet, as_json)
    data = work.with_data(loaded, run, data, work.which_hub(hub, loaded))
    signer = online.signer_of(key, keyless)
    if work.in_image(
        "publish", loaded, run, (runtime, image), reporter,
        hub=(hub, hub_root), nodes=nodes, data=data, release=(dry_run, force), signer=signer, as_json=as_json,
    ):  # fmt: skip
        return
    if dry_run:
        with online.hub_for_clients(work.which_hub(hub, loaded), hub_root, only_look=True):
            work.answer(online.release_plan(loaded, run, reporter, data, signer), as_json)
        return
    if not nodes.first:
        work.bring_upto(recipe, set_, run, quiet, as_json, upto="train", nodes=nodes)
        return
    with online.hub_for_clients(work.which_hub(hub, loaded), hub_root) as where:
        online.preflight(loaded, data)
        result = online.bring_release(loaded, run, reporter, where, nodes, data, signer)
        result["publish"] = online.publish_run(loaded, run, reporter, where, data, force)
    online.consumer_lines(loaded, reporter, hub_root if where == "local" else None, data)
    work.answer(result, as_json)


def verify(
    recipe: Annotated[
        str, typer.Argument(help="A recipe whose run was published; with --revision, a repository.")
    ] = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    hub: HubName = None,
    hub_root: HubRoot = HUB_ROOT,
    revision: Revision = None,
    public_key: PublicKey = None,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare what the Hub has with what was released; with --revision from the repository alone."""
    reporter = work.reporter_for(quiet, as_json)
    if revision is not None or public_key is not None:
        from commandline.inspect import inspect_repository

        in_vain = {"--set": set_, "--run": run, "--runtime": runtime, "--image": image}
        found = inspect_repository(recipe, revision, public_key, hub, hub_root, reporter, in_vain)
        work.answer(found, as_json)
        raise typer.Exit(0 if found["ok"] else 1)
    if "/" in recipe and not Path(recipe).exists():
        raise UserError(f"{recipe}: no such recipe; a repository is looked at with --revision TAG")
    loaded = work.load(recipe, set_)
    if work.in_image("verify", loaded, run, (runtime, image), reporter, hub=(hub, hub_root), as_json=as_json):
        return
    with online.hub_for_clients(work.which_hub(hub, loaded), hub_root):
        found = online.verify_run(loaded, run, reporter)
    work.answer(found, as_json)
    raise typer.Exit(0 if found["ok"] else 1)


def run_all(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    hub: HubName = None,
    hub_root: HubRoot = HUB_ROOT,
    tag: Tag = None,
    data: Data = False,
    key: Key = None,
    keyless: Keyless = False,
    nnodes: NodeCount = 1,
    node_rank: NodeRank = None,
    rdzv_endpoint: Endpoint = None,
    max_restarts: MaxRestarts = 0,
    runtime: Runtime = None,
    image: Image = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Do every stage, publish, and verify the release."""
    nodes = nodes_from(nnodes, node_rank, rdzv_endpoint, max_restarts)
    loaded = work.load(recipe, set_, tag)
    reporter = work.reporter_for(quiet, as_json)
    data = work.with_data(loaded, run, data, work.which_hub(hub, loaded))
    signer = online.signer_of(key, keyless)
    if dry_run:
        work.answer(
            work.show_plan_of(loaded, work.folder_of(loaded, run), nodes, reporter, data, signer), as_json
        )
        return
    if work.in_image(
        "run", loaded, run, (runtime, image), reporter,
        hub=(hub, hub_root), nodes=nodes, data=data, signer=signer, as_json=as_json,
    ):  # fmt: skip
        return
    if not nodes.first:
        work.bring_upto(recipe, set_, run, quiet, as_json, upto="train", nodes=nodes)
        return
    with online.hub_for_clients(work.which_hub(hub, loaded), hub_root) as where:
        online.preflight(loaded, data)
        result = online.bring_release(loaded, run, reporter, where, nodes, data, signer)
        result["publish"] = online.publish_run(loaded, run, reporter, where, data)
        result["verify"] = online.verify_run(loaded, run, reporter)
    online.consumer_lines(loaded, reporter, hub_root if where == "local" else None, data)
    work.answer(result, as_json)
    raise typer.Exit(0 if result["verify"]["ok"] else 1)
