"""`python -m tests.faults [--short] [--only KIND:k]`: try faults, print the table; code 1 if anything ended wrongly."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from recipe.disk import write_json
from recipe.progress import Reporter
from tests.faults.kinds import DOES
from tests.faults.points import AGAIN, AT_ONCE, NO_MOUNT, WRONG, Ended, Point, Whole, points_of
from tests.faults.tiny import tiny_run
from tests.faults.workers import running

SHORT = 40


def main(
    short: Annotated[
        bool, typer.Option("--short", help=f"Only {SHORT} points of all kinds, and a contest of five.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KIND[:k]", help="Only these, and no contest.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the points of --short, and the contests' timing.")] = 0,
    contests: Annotated[
        int | None, typer.Option(help="How many. [default: 3 of twenty publishers; 1 of five if short]")
    ] = None,
    publishers: Annotated[int | None, typer.Option(min=2, help="In a contest.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 3,  # each waits for some of its time
    cache: Annotated[Path, typer.Option(help="Where the run is kept, and all is tried.")] = Path(
        ".nox/faults"
    ),
    out: Annotated[Path | None, typer.Option(help="Where to write the results as JSON.")] = None,
    quiet: Annotated[bool, typer.Option(help="Print the table only.")] = False,
) -> None:
    """Try every fault at every request of a release."""
    reporter, started = Reporter(quiet=quiet), time.monotonic()
    cache = cache.resolve()
    contests = (0 if only else 1 if short else 3) if contests is None else contests
    publishers = publishers or (5 if short else 20)
    with running(cache / "workers", workers) as pool:
        with reporter.working("a run to release"):
            recipe, run = tiny_run(cache / "run")
        whole = pool.undisturbed(recipe, run)
        every = points_of(whole.requests)
        points = chosen(every, only) if only else sample(every, SHORT, seed) if short else every
        reporter.say(
            f"  {len(whole.requests)} requests in an undisturbed release; {len(every)} fault points, "
            f"{len(points)} of them now"
        )
        ended = list(reporter.track(pool.run(points, whole), "fault points", len(points)))
        seeds = reporter.track(range(seed, seed + contests), f"contests of {publishers}", contests)
        held = {number: pool.contest(whole, publishers, number) for number in seeds}
    show(ended, Reporter())
    show_contests(held, publishers, Reporter())
    if out:
        write_json(out, _as_json(whole, ended, held))
    wrong = sum(one.how == WRONG for one in ended)
    Reporter().say(f"\nin {time.monotonic() - started:.0f} s")
    Reporter().say(f"{sum(one.how != NO_MOUNT for one in ended)} fault points, {wrong} wrong ends")
    raise typer.Exit(1 if wrong or any(held.values()) else 0)


def _as_json(whole: Whole, ended: Sequence[Ended], held: Mapping[int, list[str]]) -> dict[str, object]:
    return {
        "requests": [str(seen.key) for seen in whole.requests],
        "points": [
            {
                "point": str(one.point),
                "request": str(one.point.key or ""),
                "ended": one.how,
                "wrong": one.wrong,
                "said": one.said,
                "seconds": round(one.seconds, 2),
            }
            for one in ended
        ],
        "contests": {str(seed): wrong for seed, wrong in held.items()},
    }


def chosen(every: Sequence[Point], only: Sequence[str]) -> list[Point]:
    """Return the points that were named, by kind or by kind and number."""
    found = [point for point in every if {point.kind, str(point)} & set(only)]
    if not found:
        raise typer.BadParameter(f"no such fault point: {', '.join(only)}")
    return found


def sample(every: Sequence[Point], count: int, seed: int) -> list[Point]:
    """Return points of all kinds, and within a kind of all phases of a release; the same for the same seed."""
    rng = random.Random(seed)
    kinds: dict[str, list[Point]] = defaultdict(list)
    for point in every:
        kinds[point.kind].append(point)
    for points in kinds.values():
        rng.shuffle(points)
    found: list[Point] = []
    used: Counter[str] = Counter()
    while len(found) < min(count, len(every)):
        for points in kinds.values():
            if points and len(found) < count:
                point = min(points, key=lambda one: used[_phase(one)])
                points.remove(point)
                used[_phase(point)] += 1
                found.append(point)
    return found


def _phase(point: Point) -> str:
    """Return what a request is for, roughly: its method, and its path without names."""
    if point.key is None:
        return point.kind
    parts = [part for part in point.key.path.split("/") if part.isalpha() and part not in {"api", "models"}]
    return " ".join([point.key.method, *parts])


def show(ended: Sequence[Ended], reporter: Reporter) -> None:
    """Print the table, and each wrong end with how to repeat it."""
    reporter.head("faults of a release")
    counts = {name: Counter(one.how for one in ended if one.point.kind == name) for name in DOES}
    reporter.table(
        ("fault", "points", "well at once", "needed the re-run", "wrong"),
        [
            (does, count.total() - count[NO_MOUNT], count[AT_ONCE], count[AGAIN], count[WRONG])
            for name, does in DOES.items()
            if (count := counts[name])
        ],
    )
    if skipped := sum(one.how == NO_MOUNT for one in ended):
        reporter.warn(
            f"{skipped} points with a small disk were not tried: {NO_MOUNT}; others were, with /dev/full"
        )
    for one in ended:
        if one.how == WRONG:
            reporter.say(f"\nwrong: {one.point} {one.point.key or ''}; to repeat it: -- --only {one.point}")
            for line in one.wrong:
                reporter.say(f"    {line}")
            reporter.say(f"    the first call said: {one.said}")


def show_contests(held: Mapping[int, list[str]], publishers: int, reporter: Reporter) -> None:
    """Say how the contests ended."""
    if not held:
        return
    reporter.say(
        f"\n{len(held)} contests of {publishers} publishers for one tag, "
        f"{sum(not wrong for wrong in held.values())} with one winner and nothing wrong"
    )
    for seed, wrong in held.items():
        if wrong:
            again = f"--contests 1 --publishers {publishers} --seed {seed}"
            reporter.say(f"\nwrong: to repeat it: -- --short {again}")
        for line in wrong:
            reporter.say(f"    {line}")


if __name__ == "__main__":
    typer.run(main)
