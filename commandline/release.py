"""The command that releases a finished run: the gate, the publishing, and the release as a consumer gets it."""

from typing import Annotated, Any

import typer

from commandline import online, work
from commandline.options import (
    HUB_ROOT,
    Data,
    HubName,
    HubRoot,
    Image,
    Json,
    Key,
    Keyless,
    Quiet,
    RecipeName,
    RunFolder,
    Runtime,
    Set,
)


def release(
    tag: Annotated[
        str, typer.Option("--tag", metavar="TAG", help="The version: the tag in every repository.")
    ],
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    hub: HubName = None,
    hub_root: HubRoot = HUB_ROOT,
    data: Data = False,
    key: Key = None,
    keyless: Keyless = False,
    runtime: Runtime = None,
    image: Image = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Look at the conditions, print the plan, and leave the Hub as it is."),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Publish a finished run if code, run, version and files are fit for it; nothing is trained."""
    loaded = work.load(recipe, set_, tag)
    reporter = work.reporter_for(quiet, as_json)
    data = work.with_data(loaded, run, data, work.which_hub(hub, loaded))
    signer = online.signer_of(key, keyless)
    if work.in_image(
        "release", loaded, run, (runtime, image), reporter,
        hub=(hub, hub_root), data=data, release=(dry_run, False), signer=signer, as_json=as_json,
    ):  # fmt: skip
        return
    with online.hub_for_clients(work.which_hub(hub, loaded), hub_root, only_look=dry_run) as where:
        held = online.pass_gate(loaded, run, reporter, where, data, signer)
        result: dict[str, Any] = {"gate": {one.name: one.said for one in held}}
        if dry_run:
            work.answer(result | {"plan": online.release_plan(loaded, run, reporter, data, signer)}, as_json)
            return
        result["publish"] = online.publish_run(loaded, run, reporter, where, data)
        result["verify"] = online.verify_run(loaded, run, reporter)
    online.consumer_lines(loaded, reporter, hub_root if where == "local" else None, data)
    work.answer(result, as_json)
    raise typer.Exit(0 if result["verify"]["ok"] else 1)
