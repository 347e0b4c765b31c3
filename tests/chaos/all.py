"""All that is tried: trainings by a plan, and stages killed at their file operations."""

import itertools
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recipe.progress import Reporter
from tests.chaos.forks import import_all
from tests.chaos.plans import A_RUN, A_SHORT_RUN, plans
from tests.chaos.stages import STAGES, Killed, Stages
from tests.chaos.tiny import LAYOUTS, tiny_recipe
from tests.chaos.trainings import Ended, Whole, disturbed, undisturbed

SHORT_LAYOUTS = ("2 packed", "1 trl", "2 packed")


@dataclass
class Found:
    """How everything ended: the trainings, the stages, and whether disks could be mounted."""

    mounts: bool
    trainings: list[Ended] = field(default_factory=list)
    stages: list[Killed] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Disturbances of trainings that were made."""
        return sum(len(one.each) for one in self.trainings)

    @property
    def wrong(self) -> int:
        """Runs and stages of which something did not hold."""
        return sum(bool(one.all_wrong) for one in self.trainings) + sum(
            bool(one.wrong) for one in self.stages
        )


def everything(
    cache: Path,
    *,
    kills: int,
    short: bool,
    seed: int,
    runs: Sequence[int] | None,
    stages: Sequence[str] | None,
    mounts: bool,
    quiet: bool,
    a_stage: int,
) -> tuple[Reporter, Found]:
    """Try it all; return how it ended."""
    reporter, found = Reporter(quiet=quiet), Found(mounts)
    shutil.rmtree(cache, ignore_errors=True)
    recipe = recipe_in_a_fork(cache / "recipe")
    import_all()
    layouts = [LAYOUTS[name] for name in (SHORT_LAYOUTS if short else LAYOUTS)]
    wholes: dict[str, Whole] = {}
    if not stages:
        for plan in plans(layouts, seed, mounts=mounts, a_run=A_SHORT_RUN if short else A_RUN):
            if found.kills >= kills or (runs and plan.number > max(runs)):
                break
            if runs and plan.number not in runs:
                continue
            name = plan.layout.name
            if name not in wholes:
                wholes[name] = undisturbed(plan.layout, recipe, cache / "whole")
                reporter.say(f"  {name}, undisturbed: {wholes[name].seconds:.1f} s")
            ended = disturbed(plan, wholes[name], cache / "run", mounts=mounts)
            found.trainings.append(ended)
            reporter.say(f"  {told(ended)}")
    if not runs:
        found.stages += _killed_stages(recipe, cache, reporter, stages, a_stage)
    return Reporter(), found


def told(ended: Ended) -> str:
    """Return a line about a run."""
    each = ", ".join(
        f"{one.planned.kind} ({one.where.phase}{f' {one.where.step}' if one.where.step else ''})"
        for one in ended.each
    )
    how = f"{len(ended.all_wrong)} WRONG" if ended.all_wrong else "well"
    new = ", new processes" if ended.plan.new else ""
    return f"run {ended.plan.number} ({ended.plan.layout.name}{new}): {each}: {how}, {ended.seconds:.0f} s"


def recipe_in_a_fork(folder: Path) -> Path:
    """Write the recipe in a process of its own: who computes has threads that a fork lacks."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            tiny_recipe(folder)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the recipe could not be written; see above")
    return folder / "tiny.yaml"


def _killed_stages(
    recipe: Path, cache: Path, reporter: Reporter, named: Sequence[str] | None, count: int
) -> list[Killed]:
    tried = Stages(recipe, cache / "stages", reporter.say)
    if not named:
        return tried.killed(count=count)
    parts = [name.partition(":") for name in named]
    return list(
        itertools.chain.from_iterable(
            tried.killed([stage], only=[int(at)] if at else ()) for stage, _, at in parts if stage in STAGES
        )
    )
