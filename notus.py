"""The command line: one short function a stage, imports inside, so that `notus --help` answers at once."""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recipe.errors import UserError, ending_signals, exit_on_mistake
from recipe.nodes import ALONE, Nodes, nodes_from

if TYPE_CHECKING:
    from recipe.progress import Reporter
    from recipe.run import Run, Stage
    from recipe.schema import Recipe

ENVIRONMENT = {
    # Threads that spin while they wait make torch slow on a busy machine.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    # Micro-batches differ in size; without it they leave holes in a GPU's memory.
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
}
RUNS = Path("runs")
HUB_ROOT = RUNS / "hub"

app = typer.Typer(
    help="One preference-tuning recipe in, one tagged and verified Hub release out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
recipe_app = typer.Typer(help="Show, compare, check and pin recipes.", no_args_is_help=True)
hub_app = typer.Typer(help="The embedded Hub.", no_args_is_help=True)
annotate_app = typer.Typer(
    help="Doubtful answers to Argilla, and people's answers back.", no_args_is_help=True
)
app.add_typer(recipe_app, name="recipe")
app.add_typer(annotate_app, name="annotate")
app.add_typer(hub_app, name="hub")

RecipeName = Annotated[str, typer.Argument(help="A recipe file, or the name of one that ships with Notus.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")
]
RunFolder = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", help="The run folder. [default: runs/RECIPE]")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]
HubName = Annotated[
    str | None,
    typer.Option(
        "--hub",
        help="`local`: the embedded Hub; `remote`: HF_ENDPOINT. [default: local if the base is built in]",
    ),
]
HubRoot = Annotated[Path, typer.Option("--hub-root", metavar="DIR", help="Where the embedded Hub lies.")]
Data = Annotated[
    bool, typer.Option("--data", help="With the pairs as a data set, which goes to `hub_dataset_id`.")
]
Tag = Annotated[
    str | None, typer.Option("--tag", metavar="TAG", help="Release under this tag instead of `version`.")
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="`venv`: here; `docker`: in the image, offline but for the Hub. [default: the recipe's]",
    ),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="IMAGE",
        help="Another image than `notus:cuda` or `notus:cpu`; implies --runtime docker.",
    ),
]
# torchrun's names, and where it looks for them
NodeCount = Annotated[
    int,
    typer.Option(
        "--nnodes", metavar="N", envvar="PET_NNODES", help="Train on N nodes: the same command on each."
    ),
]
NodeRank = Annotated[
    int | None,
    typer.Option("--node-rank", metavar="R", envvar="PET_NODE_RANK", help="Which node this is, from 0."),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--rdzv-endpoint",
        metavar="HOST:PORT",
        envvar="PET_RDZV_ENDPOINT",
        help="Where node 0 listens. [default: MASTER_ADDR:MASTER_PORT of the environment]",
    ),
]


@app.command()
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
    loaded, reporter = _load(recipe, set_), _reporter(quiet, as_json)
    if _in_image("fetch", loaded, run, (runtime, image), reporter, as_json=as_json):
        return
    if check_release:
        _preflight(loaded, data)
    _answer(_bring(loaded, run, reporter, upto="fetch"), as_json)


@app.command()
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
    _stages(recipe, set_, run, quiet, as_json, upto="curate", place=(runtime, image), data=data)


@app.command()
def train(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    nnodes: NodeCount = 1,
    node_rank: NodeRank = None,
    rdzv_endpoint: Endpoint = None,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train the adapter, on one node or several."""
    nodes = nodes_from(nnodes, node_rank, rdzv_endpoint)
    _stages(recipe, set_, run, quiet, as_json, upto="train", nodes=nodes, place=(runtime, image))


@app.command()
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
    _stages(recipe, set_, run, quiet, as_json, upto="merge", place=(runtime, image))


@app.command()
def card(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    data: Data = False,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the model cards."""
    _stages(recipe, set_, run, quiet, as_json, upto="card", place=(runtime, image), data=data)


@app.command()
def publish(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    hub: HubName = None,
    hub_root: HubRoot = HUB_ROOT,
    tag: Tag = None,
    data: Data = False,
    nnodes: NodeCount = 1,
    node_rank: NodeRank = None,
    rdzv_endpoint: Endpoint = None,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Publish adapter, merged weights and, with --data, the pairs; read them back, and tag them."""
    nodes = nodes_from(nnodes, node_rank, rdzv_endpoint)
    loaded = _load(recipe, set_, tag)
    reporter = _reporter(quiet, as_json)
    data = _with_data(loaded, run, data, _which_hub(hub, loaded))
    if _in_image(
        "publish", loaded, run, (runtime, image), reporter,
        hub=(hub, hub_root), nodes=nodes, data=data, as_json=as_json,
    ):  # fmt: skip
        return
    if not nodes.first:
        _stages(recipe, set_, run, quiet, as_json, upto="train", nodes=nodes)
        return
    with _hub(_which_hub(hub, loaded), hub_root) as where:
        _preflight(loaded, data)
        result = _bring(loaded, run, reporter, upto="card", nodes=nodes, data=data)
        result["publish"] = _publish(loaded, run, reporter, where, data)
    _consumer_lines(loaded, reporter, hub_root if where == "local" else None, data)
    _answer(result, as_json)


@app.command()
def verify(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    hub: HubName = None,
    hub_root: HubRoot = HUB_ROOT,
    runtime: Runtime = None,
    image: Image = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare what the Hub has with what was released."""
    loaded = _load(recipe, set_)
    reporter = _reporter(quiet, as_json)
    if _in_image("verify", loaded, run, (runtime, image), reporter, hub=(hub, hub_root), as_json=as_json):
        return
    with _hub(_which_hub(hub, loaded), hub_root):
        found = _verify(loaded, run, reporter)
    _answer(found, as_json)
    raise typer.Exit(0 if found["ok"] else 1)


@app.command(name="run")
def run_all(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    hub: HubName = None,
    hub_root: HubRoot = HUB_ROOT,
    tag: Tag = None,
    data: Data = False,
    nnodes: NodeCount = 1,
    node_rank: NodeRank = None,
    rdzv_endpoint: Endpoint = None,
    runtime: Runtime = None,
    image: Image = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Do every stage, publish, and verify the release."""
    nodes = nodes_from(nnodes, node_rank, rdzv_endpoint)
    loaded = _load(recipe, set_, tag)
    reporter = _reporter(quiet, as_json)
    data = _with_data(loaded, run, data, _which_hub(hub, loaded))
    if dry_run:
        _answer(_show_plan(loaded, _folder(loaded, run), nodes, reporter, data), as_json)
        return
    if _in_image(
        "run", loaded, run, (runtime, image), reporter,
        hub=(hub, hub_root), nodes=nodes, data=data, as_json=as_json,
    ):  # fmt: skip
        return
    if not nodes.first:
        _stages(recipe, set_, run, quiet, as_json, upto="train", nodes=nodes)
        return
    with _hub(_which_hub(hub, loaded), hub_root) as where:
        _preflight(loaded, data)
        result = _bring(loaded, run, reporter, upto="card", nodes=nodes, data=data)
        result["publish"] = _publish(loaded, run, reporter, where, data)
        result["verify"] = _verify(loaded, run, reporter)
    _consumer_lines(loaded, reporter, hub_root if where == "local" else None, data)
    _answer(result, as_json)
    raise typer.Exit(0 if result["verify"]["ok"] else 1)


@app.command()
def report(
    recipe: RecipeName = "smoke",
    set_: Set = None,
    run: RunFolder = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the audit of the data as a page to look at, with every row behind its figures."""
    from recipe.stages import REPORT, UPTO_CURATE

    loaded, reporter = _load(recipe, set_), _reporter(quiet, as_json)
    opened = _open(loaded, run)
    with opened.locked():
        _answer(opened.bring((*UPTO_CURATE, REPORT), reporter), as_json)


@app.command()
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
    from recipe.compare import compare_runs, naming, open_runs
    from recipe.compare_result import SIDES
    from recipe.compare_view import show_comparison
    from recipe.stages import UPTO_TRAIN

    a, b = _load(recipe_a, [*(set_ or ()), *(set_a or ())]), _load(recipe_b, [*(set_ or ()), *(set_b or ())])
    folders = run_a or RUNS / a.name, run_b or RUNS / (f"{b.name}-b" if a.name == b.name else b.name)
    out = out or RUNS / f"compare-{folders[0].name}-{folders[1].name}" / "compare.json"
    reporter = _reporter(quiet, as_json)
    runs = open_runs((a, b), folders, out)
    for side, opened in zip(SIDES, runs, strict=True):
        with naming(side):
            _get_ready(opened, UPTO_TRAIN, reporter)
    result, done = compare_runs(runs, UPTO_TRAIN, out, reporter)
    show_comparison(result, reporter)
    reporter.say(f"\nwritten to {out}")
    _answer({**result, "stages": done}, as_json)


@app.command()
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

    reporter = _reporter(False, as_json)
    rows = RecipeTokens(_load(recipe, set_), reporter)
    if not as_json:
        show_rows_head(reporter)
    for row in itertools.islice(rows, limit or (None if as_json else 3)):
        if as_json:
            sys.stdout.write(json.dumps(row.as_dict()) + "\n")
        else:
            show_row(row, rows.tokenizer, reporter)
    for reason, count in sorted(rows.left_out.items()):
        reporter.warn(f"{count} row(s) left out: {reason}")


@app.command()
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

    loaded = _load(recipe, set_)
    if rows is None:
        found, known = planned_schedule(loaded)
        _reporter(False, True).say(known)
    else:
        found = schedule_of(loaded.science, rows)
    if not as_json:
        show_schedule(found, _reporter(False, False))
        return
    for step in found.step_rows():
        sys.stdout.write(json.dumps(step) + "\n")


@app.command()
def doctor(
    gpu: Annotated[bool, typer.Option("--gpu", help="A machine without a usable GPU will not do.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the last line.")] = False,
    as_json: Json = False,
) -> None:
    """Look whether driver, GPUs, memory, disk and packages will do."""
    from container.doctor import as_dict, examine, show
    from container.gpu import unmet

    health = examine(gpu=gpu)
    show(health, _reporter(quiet, as_json))
    _answer(as_dict(health), as_json)
    if why := unmet(health.machine, gpus=gpu):
        raise UserError(why)
    _reporter(False, as_json).say(health.line)
    raise typer.Exit(0 if health.ok else 1)


@recipe_app.command(name="show")
def recipe_show(recipe: RecipeName = "smoke", set_: Set = None, as_json: Json = False) -> None:
    """Print a recipe with all that it extends, by section."""
    loaded = _load(recipe, set_)
    reporter = _reporter(False, as_json)
    for section in ("science", "execution", "release"):
        reporter.head(section)
        reporter.table(
            ("key", "value"), _cells(getattr(loaded, section).model_dump(mode="json")), right=False
        )
    reporter.say(f"\nscience sha256 {loaded.science_sha256}")
    _answer({"name": loaded.name, "science_sha256": loaded.science_sha256, **loaded.flat()}, as_json)


@recipe_app.command(name="diff")
def recipe_diff(one: RecipeName, other: RecipeName, as_json: Json = False) -> None:
    """Print what differs between two recipes."""
    from recipe.schema import SECTION_OF

    left, right = _load(one, None), _load(other, None)
    was, now = left.flat(), right.flat()
    differing = {key: [was[key], now[key]] for key in was if was[key] != now[key]}
    reporter = _reporter(False, as_json)
    rows = [(SECTION_OF[key], key, *map(_cell, pair)) for key, pair in differing.items()]
    reporter.table(("section", "key", left.name, right.name), rows, right=False)
    same = left.science_sha256 == right.science_sha256
    reporter.say(f"\n{len(rows)} keys differ; the science is {'the same' if same else 'another'}")
    _answer({"differs": differing, "same_science": same}, as_json)


@recipe_app.command(name="check")
def recipe_check(recipe: RecipeName = "smoke", set_: Set = None, as_json: Json = False) -> None:
    """Check a recipe, its local paths and its LoRA targets, and say what a release would still need."""
    from recipe.plan import make_plan

    loaded = _load(recipe, set_)
    reporter = _reporter(False, as_json)
    plan = make_plan(loaded)
    unpinned = loaded.science.unpinned
    reporter.say(
        f"{loaded.name}: the recipe is sound; {loaded.science.global_batch_size} pairs an optimizer step"
    )
    for known in plan.known:
        reporter.say(f"  {known}")
    for key in unpinned:
        reporter.warn(f"{key} is not pinned; run `notus recipe pin {loaded.name}` before a release")
    _answer({"name": loaded.name, "unpinned": unpinned, "known": list(plan.known)}, as_json)


@recipe_app.command(name="pin")
def recipe_pin(recipe: RecipeName, as_json: Json = False) -> None:
    """Look up the commit ids of the recipe's Hub repositories, once, and write them beside it."""
    from recipe.pin import pin

    lock, pins = pin(recipe)
    reporter = _reporter(False, as_json)
    reporter.table(("repository", "commit"), pins.items(), right=False)
    reporter.say(f"written to {lock}")
    _answer({"lock": str(lock), "pins": pins}, as_json)


@annotate_app.command(name="export")
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

    data = (run or _folder(_load(recipe, None), None)) / "data"
    found = export_for_argilla(data, out, flags or DEFAULT_FLAGS)
    reporter = _reporter(False, as_json)
    reporter.table(("flag", "answers"), found.by_flag.items())
    reporter.say(
        f"\n{found.records} answers of {found.rows} rows written to {out}. To load them into Argilla:\n"
    )
    for line in LOAD_LINES:
        reporter.say("  " + line.format(folder=str(out)))
    _answer({"out": str(out), **dataclasses.asdict(found)}, as_json)


@annotate_app.command(name="import")
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
    reporter = _reporter(False, as_json)
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
    _answer({"out": str(out), **dataclasses.asdict(found)}, as_json)


@hub_app.command(name="serve")
def hub_serve(
    root: Annotated[Path, typer.Option(help="Where its repositories lie.")] = HUB_ROOT,
    port: Annotated[int, typer.Option(help="0: a free one.")] = 8484,
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0: all of this machine's.")
    ] = "127.0.0.1",
) -> None:
    """Serve the embedded Hub, on loopback unless told otherwise, until Ctrl-C."""
    from publish.localhub import local_token, serve

    reporter = _reporter(False, False)

    def ready(endpoint: str) -> None:
        reporter.say(f"export HF_ENDPOINT={endpoint}   # for any Hub client; reading needs no token")
        reporter.say(f"export HF_TOKEN={local_token(root)} HF_HUB_DISABLE_XET=1   # to write as well")

    serve(root, port, host=host, on_ready=ready)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a terminal that lacks a character still gets a line
    for number in ending_signals():
        signal.signal(number, _end)
    exit_on_mistake(app)


def _end(number: int, _: object) -> None:
    """End by a signal as after a mistake: what is half-written goes, and ranks and containers end too.

    A container's first process would not even notice a signal that it has no handler for.
    """
    sys.stderr.write(f"notus: ended by {signal.Signals(number).name}\n")
    sys.exit(128 + number)


def _load(name: str, overrides: list[str] | None, tag: str | None = None) -> "Recipe":
    from recipe.load import load_recipe

    return load_recipe(name, overrides or (), tag)


def _folder(recipe: "Recipe", run: Path | None) -> Path:
    return run or RUNS / recipe.name


def _reporter(quiet: bool, as_json: bool) -> "Reporter":
    from recipe.progress import Reporter

    return Reporter(quiet=quiet, stderr=as_json)


def _answer(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result, sort_keys=True, default=str) + "\n")


def _with_data(loaded: "Recipe", run: Path | None, asked: bool, hub: str | None = None) -> bool:
    from publish.data import goes_along

    return goes_along(loaded, _folder(loaded, run), asked=asked, hub=hub)


def _all_stages(data: bool) -> tuple["Stage", ...]:
    from modelcard.dataset.stage import STAGE as DATASET
    from modelcard.stage import STAGE, STAGE_WITH_DATA
    from recipe.stages import CURATE, STAGES

    if not data:
        return (*STAGES, STAGE)
    place = STAGES.index(CURATE) + 1  # what it lacks is found before hours of training
    return (*STAGES[:place], DATASET, *STAGES[place:], STAGE_WITH_DATA)


def _stages(
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
) -> None:
    loaded, reporter = _load(name, overrides), _reporter(quiet, as_json)
    data = upto in {"curate", "card"} and _with_data(loaded, run, data)
    if not _in_image(upto, loaded, run, place, reporter, nodes=nodes, data=data, as_json=as_json):
        _answer(_bring(loaded, run, reporter, upto=upto, nodes=nodes, data=data), as_json)


def _in_image(
    command: str,
    loaded: "Recipe",
    run: Path | None,
    place: tuple[str | None, str | None],
    reporter: "Reporter",
    *,
    hub: tuple[str | None, Path] = ("local", HUB_ROOT),
    nodes: Nodes = ALONE,
    data: bool = False,
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
    order = Order(
        command,
        loaded,
        _folder(loaded, run),
        hub=_which_hub(hub[0], loaded),
        hub_root=hub[1],
        nodes=nodes,
        data=data,
        quiet=reporter.quiet,
        as_json=as_json,
    )
    _answer(do(order, image, reporter), as_json)
    return True


def _bring(
    loaded: "Recipe",
    run: Path | None,
    reporter: "Reporter",
    *,
    upto: str,
    nodes: Nodes = ALONE,
    data: bool = False,
) -> dict[str, Any]:
    from recipe.launch import bring_on_node
    from recipe.run import Run

    opened = Run(_folder(loaded, run), loaded, nodes)
    every = _all_stages(data)
    last = "dataset" if upto == "curate" and data else upto
    wanted = every[: [stage.name for stage in every].index(last) + 1]
    _get_ready(opened, wanted, reporter)
    if nodes.count > 1:
        return bring_on_node(opened, wanted, reporter)
    with opened.locked():
        return opened.bring(wanted, reporter)


def _get_ready(opened: "Run", wanted: Sequence["Stage"], reporter: "Reporter") -> None:
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


def _open(loaded: "Recipe", run: Path | None) -> "Run":
    from recipe.run import Run

    return Run(_folder(loaded, run), loaded)


def _preflight(loaded: "Recipe", data: bool) -> None:
    from publish.release import preflight

    preflight(loaded, with_data=data)


def _publish(
    loaded: "Recipe", run: Path | None, reporter: "Reporter", where: str, data: bool
) -> dict[str, Any]:
    from publish.release import publish as publish_run

    opened = _open(loaded, run)
    reporter.head(f"publish: {loaded.release.version} to the {where} Hub")
    with opened.locked():
        return publish_run(opened, reporter, hub=where, with_data=data)


def _verify(loaded: "Recipe", run: Path | None, reporter: "Reporter") -> dict[str, Any]:
    from publish.verify import verify as verify_run

    reporter.head("verify: what the Hub has against what was released")
    return verify_run(_open(loaded, run), reporter)


def _which_hub(hub: str | None, loaded: "Recipe") -> str:
    if hub not in {None, "local", "remote"}:
        raise UserError(f"--hub {hub}: must be local or remote")
    return hub or ("local" if loaded.science.base_source == "builtin" else "remote")


@contextlib.contextmanager
def _hub(where: str, root: Path) -> Iterator[str]:
    """Point the Hub's clients at the chosen Hub, before they are imported: then they read the environment."""
    if where == "remote":
        yield where
        return
    from publish.localhub import running

    with running(root) as hub:
        os.environ |= hub.environment
        os.environ.pop("HF_HUB_OFFLINE", None)
        for key in ("NO_PROXY", "no_proxy"):  # a proxy for the world is none for this machine
            os.environ[key] = ",".join(filter(None, [os.environ.get(key), "127.0.0.1"]))
        yield where


def _consumer_lines(loaded: "Recipe", reporter: "Reporter", local_root: Path | None, data: bool) -> None:
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


def _show_plan(
    loaded: "Recipe", folder: Path, nodes: Nodes, reporter: "Reporter", data: bool
) -> dict[str, Any]:
    from recipe.plan import make_plan
    from recipe.plan_view import show_plan

    measured = (folder, RUNS / loaded.name)
    plan = make_plan(loaded, folders=measured, nodes=nodes.count)
    return show_plan(loaded, plan, folder, _all_stages(data), reporter)


def _cells(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key, _cell(value)) for key, value in values.items()]


def _cell(value: object) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    main()
