"""A training that is disturbed and started again until it is done, and compared with one that was not."""

import contextlib
import json
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.checkpoints import newest, tear
from tests.chaos.jobs import Job, Outcome, Where
from tests.chaos.kinds import KINDS, Hit
from tests.chaos.moments import LATE, MIDDLE
from tests.chaos.plans import Plan, Planned
from tests.chaos.same import Facts, differences, facts_of, leftovers
from tests.chaos.tiny import Layout
from tests.chaos.watched import START
from tests.faults.disk import small_disk
from tests.faults.tiny import made_anew

GOES_ON = re.compile(r"training goes on after step (\d+)|all (\d+) steps are done already")
ROOM = 64 << 20  # bytes of a small disk
WENT_ON, ANEW, DONE, ON = "went on", "anew", "nothing left to do", "unharmed"


@dataclass(frozen=True)
class Whole:
    """An undisturbed training of a layout: its recipe, its facts, and its seconds."""

    layout: Layout
    recipe: Path
    facts: Facts
    seconds: float


@dataclass
class Done:
    """A disturbance that was made.

    Attributes:
        planned: Its kind, and when it was to be.
        where: Where the command was.
        after: What the next command did: went on from a checkpoint, began anew, had nothing to do.
        lost: Steps that were done once more.
        seconds: From signal to exit.
        wrong: What did not hold, a line each.
    """

    planned: Planned
    where: Where
    after: str = ""
    lost: int | None = None
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Ended:
    """How a run ended: its disturbances, what is wrong with it at the end, and the seconds of it all."""

    plan: Plan
    each: list[Done]
    wrong: list[str]
    seconds: float

    @property
    def all_wrong(self) -> list[str]:
        """All that did not hold."""
        return [
            f"{one.planned.kind} at {one.planned.moment}: {line}" for one in self.each for line in one.wrong
        ] + [f"at the end: {line}" for line in self.wrong]


def undisturbed(layout: Layout, recipe: Path, place: Path) -> Whole:
    """Train a layout once, as a fork.

    Raises:
        RuntimeError: It ended badly, or left something.
    """
    with made_anew(place) as folder:
        run = folder / "run"
        started = time.monotonic()
        outcome, _ = Job(layout.arguments(recipe, run), run, folder, "whole").wait()
        if outcome.code or outcome.left or leftovers(run):
            what = f"{outcome.code}, {outcome.left}, {leftovers(run)}"
            raise RuntimeError(f"the undisturbed training ended with {what}: {outcome.err}")
        return Whole(layout, recipe, facts_of(run), time.monotonic() - started)


class Training:
    """A run of a plan.

    Args:
        plan: Its.
        whole: What is to come out.
        run: The run folder.
        place: Where what the commands say is kept.
        defect: Breaks the code on purpose, in all of its commands.
    """

    def __init__(
        self, plan: Plan, whole: Whole, run: Path, place: Path, defect: Callable[[], object] | None = None
    ) -> None:
        self.plan, self.whole, self.run, self.place, self.defect = plan, whole, run, place, defect
        self.rng = random.Random(plan.seed)
        self.left = list(plan.each)
        self.each: list[Done] = []
        self.wrong: list[str] = []
        self.reached = 0
        self.torn: str | None = None
        self.count = 0

    def to_its_end(self) -> None:
        """Start commands until one is not disturbed any more, and say what is wrong with what came out."""
        while True:
            outcome = self._once()
            if outcome.code == 0:
                break
            if self.count > len(self.plan.each) + 1:  # each is disturbed once at most
                self.wrong.append(
                    f"still not done after {self.count} commands: {outcome.code}: {outcome.err[-600:]}"
                )
                return
        self.wrong += differences(self.run, self.whole.facts) + leftovers(self.run)

    def _once(self) -> Outcome:
        """Start the command, disturb it if there is a disturbance left, and look how it ends."""
        before, trained = newest(self.run), _is_trained(self.run)
        forked = self.count >= self.plan.new
        job = Job(
            self.whole.layout.arguments(self.whole.recipe, self.run),
            self.run,
            self.place,
            f"{self.plan.number}-{self.count}",
            forked=forked,
            defect=self.defect,
        )
        self.count += 1
        done, hit = self._disturb(job, before)
        outcome, took = job.wait()
        wrong = done.wrong if done else self.wrong
        if done and hit and not _too_late(outcome, hit):
            done.seconds = took
            wrong += self._ended(done, hit, outcome, took)
        elif outcome.code:
            wrong.append(f"undisturbed, it ended with {outcome.code}: {outcome.err[-600:]}")
        wrong += outcome.left
        self._went_on(job.where(), outcome, before, trained, wrong)
        if done and done.planned.kind == "torn":
            self.torn = tear(self.run, self.rng) or self.torn
        for one in self.each:
            if one is not done and not one.after and one.wrong:
                one.after = "?"
        return outcome

    def _disturb(self, job: Job, before: int) -> tuple[Done | None, Hit | None]:
        """Disturb a command until it does not go on after it. Return the last disturbance."""
        done = hit = None
        while self.left:
            planned = self.left[0]
            kind = KINDS[planned.kind]
            where = planned.moment.wait(job, before, self.whole.seconds)
            if where is None:
                break
            self.left.pop(0)
            saved = newest(self.run) if kind.disk else 0
            rank = kind.do(job, self.rng, self.run)
            if rank is False:
                continue
            done, hit = Done(planned, where), Hit(where, rank, saved)
            self.each.append(done)
            if not kind.goes_on:
                break
            done.after = ON
        return done, hit

    def _ended(self, done: Done, hit: Hit, outcome: Outcome, took: float) -> list[str]:
        """Say what is wrong with how a command ended that was disturbed."""
        early = hit.where.phase == START and not hit.where.events
        by_python = {-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGINT, 1}
        if early and outcome.code in by_python and (outcome.lines or [""])[-1] in {"", "KeyboardInterrupt"}:
            return []  # while Python itself started
        wrong = KINDS[done.planned.kind].wrong(outcome, hit, took)
        saved = newest(self.run)
        asked = done.planned.kind in {"term", "int", "ctrl-c"} and hit.where.phase in MIDDLE
        if asked and saved < hit.where.step:
            wrong.append(f"{hit.where.step} steps were done, and the newest checkpoint is of step {saved}")
        if KINDS[done.planned.kind].disk:
            if saved < hit.saved:
                wrong.append(f"the checkpoint of step {hit.saved} is gone, and the newest is of step {saved}")
            (self.run.parent / "filler").unlink(missing_ok=True)
        return wrong

    def _went_on(
        self, where: Mapping[str, Where], outcome: Outcome, before: int, trained: bool, wrong: list[str]
    ) -> None:
        """Look how a command went on where the last one had ended."""
        two = [where[role] for role in ("main", "0") if role in where]
        training = not trained and any(one.step or one.phase in (*MIDDLE, *LATE) for one in two)
        fates = [one for one in self.each if not one.after]
        if self.each and fates and fates[-1] is self.each[-1] and outcome.code != 0:
            fates = fates[:-1]  # this command's own disturbance: the next one tells
        if trained:
            for one in fates:
                one.after = DONE
        if not training:
            return
        said = GOES_ON.search(outcome.out + outcome.err)
        if (after := int(said[1] or said[2]) if said else 0) != before:
            wrong.append(f"goes on after step {after}, and the newest whole checkpoint is of step {before}")
        for one in fates:
            one.after = WENT_ON if before else ANEW
            one.lost = max(0, self.reached - before)
        step = self.torn.split(",")[0].split()[1] if self.torn else ""
        if self.torn and not re.search(rf"(?m)^warning: .*\b0*{step}\b", outcome.err):
            wrong.append(f"no warning says that the checkpoint of {self.torn} is torn")
        self.torn = None
        self.reached = max(one.step for one in two)


def disturbed(
    plan: Plan, whole: Whole, place: Path, *, mounts: bool, defect: Callable[[], object] | None = None
) -> Ended:
    """Run a plan to its end."""
    started = time.monotonic()
    small = mounts and any(KINDS[one.kind].disk for one in plan.each)
    with (
        made_anew(place) as folder,
        small_disk(folder / "disk", ROOM) if small else contextlib.nullcontext(folder) as disk,
    ):
        training = Training(plan, whole, disk / "run", folder, defect)
        training.to_its_end()
        ended = Ended(plan, training.each, training.wrong, time.monotonic() - started)
        if ended.all_wrong:  # what was said is kept, and the run
            kept = place.with_name(f"wrong-{plan.number}")
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("filler", "*.seen"))
    return ended


def _too_late(outcome: Outcome, hit: Hit) -> bool:
    """Whether a command was done before a signal got to it."""
    return outcome.code == 0 and hit.where.phase in LATE


def _is_trained(run: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return "train" in json.loads((run / "manifest.json").read_text(encoding="utf-8"))["stages"]
    return False
