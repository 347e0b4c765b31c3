"""`python -m tests.chaos [--kills N] [--short]`: kill runs, run them again, compare; code 1 if any is wrong."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.chaos import jobs
from tests.chaos.view import as_json, show
from tests.faults.disk import own_mounts

SHORT, SHORT_STAGES = 15, 2


def main(
    kills: Annotated[int, typer.Option(min=1, help="How many disturbances of trainings, at least.")] = 100,
    short: Annotated[
        bool, typer.Option("--short", help=f"{SHORT} kills, all kinds, one and two processes.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Chooses kinds and moments.")] = 0,
    run: Annotated[list[int] | None, typer.Option(help="Only these runs of the plan, and no stages.")] = None,
    stage: Annotated[
        list[str] | None, typer.Option(metavar="STAGE[:k]", help="Only these stages, at file operation k.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Where all is tried.")] = Path(".nox/chaos"),
    out: Annotated[Path | None, typer.Option(help="Where to write the results as JSON.")] = None,
    quiet: Annotated[bool, typer.Option(help="Print the table only.")] = False,
) -> None:
    """Kill trainings and stages anywhere, run them again, and compare what comes out."""
    started = time.monotonic()
    mounts = own_mounts()  # before there are threads
    jobs.adopt_orphans()
    os.environ.update(jobs.ENVIRONMENT)
    from tests.chaos.all import everything

    reporter, found = everything(
        cache.resolve(),
        kills=SHORT if short else kills,
        short=short,
        seed=seed,
        runs=run,
        stages=stage,
        mounts=mounts,
        quiet=quiet,
        a_stage=SHORT_STAGES if short else max(SHORT_STAGES, kills // 8),
    )
    show(found, reporter, seed, short=short)
    reporter.say(f"\nin {time.monotonic() - started:.0f} s")
    if out:
        from recipe.disk import write_json

        write_json(out, as_json(found, seed, time.monotonic() - started))
    raise typer.Exit(1 if found.wrong else 0)


if __name__ == "__main__":
    typer.run(main)
