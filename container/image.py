"""`nox -s image`: build the image of a commit, give it to Docker, show its layers; or build it twice and compare."""

import enum
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from container import buildah, engine
from container.compare import Layer, brief, first_difference, layers_of
from recipe.errors import UserError, exit_on_mistake
from recipe.progress import Reporter

ROOT = Path(__file__).parent.parent
LOCKS = {"cuda": "requirements.lock", "cpu": "requirements-cpu.lock"}
# Free bytes that a build needs: packages downloaded, unpacked, as layers, and once more where Docker keeps them.
NEEDED = {"cuda": 30 * 10**9, "cpu": 9 * 10**9}


class Target(enum.StrEnum):
    """For which machines an image is: those with NVIDIA GPUs, or any."""

    cuda = "cuda"
    cpu = "cpu"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def image(
    target: Annotated[
        Target, typer.Option(help="For NVIDIA GPUs, or for any machine, without CUDA.")
    ] = Target.cuda,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="Another base than the Dockerfile's. Debian's packages, and torch for the CPU, then come from "
            "where its apt and pip look.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Build twice, and name the first file that differs.")
    ] = False,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache", help="Reuse layers built before: quick, but with an id of this machine's own."
        ),
    ] = False,
    build_arg: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Another argument of the Dockerfile.")
    ] = None,
    docker: Annotated[
        bool, typer.Option("--docker/--no-docker", help="Give the image to this machine's Docker engine.")
    ] = True,
) -> None:
    """Build the image of the commit that is checked out, without cache: the same commit gives the same id."""
    reporter = Reporter()
    commit = buildah.commit_of(ROOT)
    arguments = _arguments(target, base, commit, build_arg or ())
    if not cache and not build_arg:
        arguments["BUILD"] = f"nox -s image -- --target {target}" + (f" --base {base}" if base else "")
    if cache and check:
        raise UserError("--cache: what is taken from a cache is not built twice; leave it out with --check")
    _refuse_full_disk(target, docker)
    reporter.head(f"image: {target} at {commit.id[:12]}")
    if commit.dirty:
        reporter.warn(f"{commit.dirty} changed file(s) are not in the image: it is built from the commit")
    tag = f"notus:{target}"
    with buildah.context_of(ROOT, commit) as context:
        built = _build(context, tag, arguments, commit.time, cache=cache, reporter=reporter)
        again = None
        if check:
            again = _build(context, f"{tag}-again", arguments, commit.time, cache=False, reporter=reporter)
    _show(tag, f"{tag}-again" if check else None, reporter)
    if docker:
        buildah.give_to_docker(tag, tag)
        reporter.say(f"{tag} is in Docker: {built}")
    if check:
        buildah.remove(f"{tag}-again")
        same = built == again
        reporter.say(f"built twice: {'the same id' if same else 'not the same'}, {built} and {again}")
        raise typer.Exit(0 if same else 1)


def _arguments(
    target: Target, base: str | None, commit: buildah.Commit, given: Sequence[str]
) -> dict[str, str]:
    arguments = {
        "LOCK": LOCKS[target],
        "REVISION": commit.id,
        "CREATED": datetime.fromtimestamp(commit.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if base is not None:
        arguments["BASE_IMAGE"] = f"docker-daemon:{base}" if engine.has_image(base) else base
        arguments |= {"DEBIAN_SNAPSHOT": "", "TORCH_CPU_INDEX": ""}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--build-arg {text}: write it as KEY=VALUE")
        arguments[key] = value
    return arguments


def _build(
    context: Path, tag: str, arguments: dict[str, str], time_: int, *, cache: bool, reporter: Reporter
) -> str:
    log = ROOT / ".nox" / f"{tag.replace(':', '-')}.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    started = time.monotonic()
    with reporter.working(f"building {tag}; all of it: {log.relative_to(ROOT)}"):
        found = buildah.build(context, tag, arguments, time=time_, cache=cache, log=log)
    reporter.say(f"  {tag}: {found} in {time.monotonic() - started:.0f} s")
    return found


def _show(one: str, other: str | None, reporter: Reporter) -> None:
    """Print the layers of an image, beside those of its like, if there is one."""
    with tempfile.TemporaryDirectory(prefix="notus-image-") as folder:
        left, right = Path(folder) / "one", Path(folder) / "other"
        buildah.export(one, left)
        layers = layers_of(left)
        if other is None:
            _table(layers, None, reporter)
            return
        buildah.export(other, right)
        _table(layers, layers_of(right), reporter)
        if difference := first_difference(left, right):
            reporter.say(f"\nthe first difference: {difference}")


def _table(layers: list[Layer], others: list[Layer] | None, reporter: Reporter) -> None:
    rows: list[tuple[Any, ...]] = []
    for place, layer in enumerate(layers):
        row: tuple[str, ...] = (
            f"{layer.size / 1e6:,.1f}",
            layer.digest.partition(":")[2][:12],
            brief(layer.made_by) or "the base",
        )
        if others is not None:
            same = place < len(others) and others[place].digest == layer.digest
            row = (*row[:2], "same" if same else "DIFFERS", row[2])
        rows.append(row)
    total = sum(layer.size for layer in layers)
    rows.append((f"{total / 1e6:,.1f}", "", *([""] if others is not None else []), "in all"))
    columns = ("MB", "layer", *(["twice"] if others is not None else []), "made by")
    reporter.say()
    reporter.table(columns, rows, right=False)


def _refuse_full_disk(target: Target, docker: bool) -> None:
    places = {"buildah": buildah.storage(), "Docker": engine.storage() if docker else None}
    for name, place in places.items():
        if place is None or not place.exists():  # an engine elsewhere
            continue
        free = shutil.disk_usage(place).free
        if free < NEEDED[target]:
            raise UserError(
                f"{place}: {NEEDED[target] / 1e9:.0f} GB needed to build the {target} image, {free / 1e9:.1f} GB free "
                f"where {name} keeps images; make room (`buildah rmi --prune`, `docker image prune`)"
            )


if __name__ == "__main__":
    exit_on_mistake(app)
