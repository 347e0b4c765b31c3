"""What came of it, as tables and as JSON."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from recipe.progress import Reporter
from tests.chaos.all import Found
from tests.chaos.kinds import KINDS
from tests.chaos.moments import PHASES
from tests.chaos.trainings import ANEW, DONE, ON, WENT_ON, Done, Ended


def show(found: Found, reporter: Reporter, seed: int, *, short: bool) -> None:
    """Print the tables, and each wrong end with how to repeat it."""
    for processes in sorted({one.plan.layout.processes for one in found.trainings}):
        runs = [one for one in found.trainings if one.plan.layout.processes == processes]
        _show_kinds(runs, processes, reporter)
    _show_phases(found, reporter)
    _show_stages(found, reporter)
    if not found.mounts:
        reporter.warn("a full disk was not tried: no right to mount one")
    for run in found.trainings:
        if run.all_wrong:
            again = f"--seed {seed} --run {run.plan.number}" + (" --short" if short else "")
            reporter.say(f"\nwrong: run {run.plan.number} ({run.plan.layout.name}); to repeat it: -- {again}")
            reporter.say(f"    what was said is in wrong-{run.plan.number} of the cache")
            for line in run.all_wrong:
                reporter.say(f"    {line}")
    for one in found.stages:
        if one.wrong:
            reporter.say(f"\nwrong: {one.stage}; to repeat it: -- --stage {one.stage}:{one.at}")
            for line in one.wrong:
                reporter.say(f"    {line}")
    trainings = f"{found.kills} kills of {len(found.trainings)} trainings"
    reporter.say(f"\n{trainings}, {len(found.stages)} of stages, {found.wrong} wrong ends")


def _show_kinds(runs: Sequence[Ended], processes: int, reporter: Reporter) -> None:
    each = [one for run in runs for one in run.each]
    ended = sum(bool(run.wrong) for run in runs)
    reporter.head(
        f"{len(runs)} runs on {processes} process{'es' * (processes > 1)}, {ended} with a wrong result"
    )
    reporter.table(
        ("what", "times", "went on", "anew", "nothing to do", "wrong", "exit, median", "max", "steps lost"),
        [
            (kind.does, *_row(here, timed=kind.timed))
            for name, kind in KINDS.items()
            if (here := [one for one in each if one.planned.kind == name])
        ],
    )


def _row(here: Sequence[Done], *, timed: bool) -> list[str]:
    after = Counter(one.after for one in here)
    took = [one.seconds for one in here if one.seconds]
    lost = [one.lost for one in here if one.lost is not None]
    went_on = after[WENT_ON] + after[ON]
    return [
        *map(str, (len(here), went_on, after[ANEW], after[DONE], sum(bool(one.wrong) for one in here))),
        f"{statistics.median(took):.2f} s" if timed and took else "",
        f"{max(took):.2f} s" if timed and took else "",
        f"{statistics.mean(lost):.1f}" if lost else "",
    ]


def _show_phases(found: Found, reporter: Reporter) -> None:
    count = Counter(one.where.phase for run in found.trainings for one in run.each)
    if count:
        reporter.head("where they were met")
        reporter.say("  " + ", ".join(f"{phase} {count[phase]}" for phase in PHASES if count[phase]))


def _show_stages(found: Found, reporter: Reporter) -> None:
    if not found.stages:
        return
    reporter.head("stages killed at a file operation, and run again")
    names = list(dict.fromkeys(one.stage for one in found.stages))
    each = {name: [one for one in found.stages if one.stage == name] for name in names}
    reporter.table(
        ("stage", "operations", "kills", "wrong"),
        [(name, here[0].of, len(here), sum(bool(one.wrong) for one in here)) for name, here in each.items()],
    )


def as_json(found: Found, seed: int, seconds: float) -> dict[str, Any]:
    """Return everything as plain values."""
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "mounts": found.mounts,
        "kills": found.kills,
        "wrong": found.wrong,
        "runs": [
            {
                "number": run.plan.number,
                "layout": run.plan.layout.name,
                "new_processes": run.plan.new,
                "seconds": round(run.seconds, 1),
                "wrong": run.all_wrong,
                "kills": [
                    {
                        "kind": one.planned.kind,
                        "moment": str(one.planned.moment),
                        "phase": one.where.phase,
                        "step": one.where.step,
                        "after": one.after,
                        "steps_lost": one.lost,
                        "exit_seconds": round(one.seconds, 3),
                    }
                    for one in run.each
                ],
            }
            for run in found.trainings
        ],
        "stages": [
            {"stage": one.stage, "at": one.at, "of": one.of, "wrong": one.wrong} for one in found.stages
        ],
    }
