"""What commands do alike about a Hub: look before, gate, publish, verify, and say how to use what is there."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commandline.work import all_stages, bring_stages, folder_of, open_run
from recipe.errors import UserError
from recipe.nodes import Nodes

if TYPE_CHECKING:
    from publish.gate import Condition
    from publish.keys import Signer
    from recipe.progress import Reporter
    from recipe.schema import Recipe


def signer_of(key: Path | None, keyless: bool) -> "Signer | None":
    """Return who signs the release, after a look whether they can; None if nobody does."""
    if key is None and not keyless:
        return None
    from publish.keys import signer_of

    return signer_of(key, keyless=keyless)


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
    return bring_stages(opened, (*all_stages(loaded, data), *([signature] if signature else ())), reporter)


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
    stages = (*all_stages(loaded, data), *([signature] if signature else ()))
    with patient(reporter) as hub:
        return gate(candidate(opened, stages, hub, with_data=data), reporter)


def publish_run(
    loaded: "Recipe", run: Path | None, reporter: "Reporter", where: str, data: bool, force: bool = False
) -> dict[str, Any]:
    """Publish what the stages made. Return what was released."""
    from publish.evaluated import shortcomings
    from publish.release import publish as publish_run

    opened = open_run(loaded, run)
    for line in shortcomings(opened):
        reporter.warn(f"{line}; published all the same, `notus release` would not")
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
    missing = [stage.name for stage in all_stages(loaded, data) if not opened.is_current(stage)]
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
