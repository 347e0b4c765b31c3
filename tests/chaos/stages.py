"""Every stage killed at its file operations, one after the other, and run again: the same bytes."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.jobs import Job
from tests.chaos.same import differences, facts_of, leftovers
from tests.chaos.tiny import LAYOUTS
from tests.faults.tiny import copy_run, made_anew

STEPS = 9


@dataclass(frozen=True)
class Stage:
    """A stage that is killed.

    Attributes:
        command: Of notus.
        layout: How it trains.
        role: The process that is killed: its own, or a rank.
        ended: The exit code of the command then.
        options: Of the command.
    """

    command: str
    layout: str = "1 packed"
    role: str = "main"
    ended: int = -signal.SIGKILL
    options: tuple[str, ...] = ()


# Each from what the one before has left, the trainings from the same; after `card` comes where every published file
# comes from.
STAGES = {
    "curate": Stage("curate"),
    "train-rank-0": Stage("train", "2 packed", "0", 1),
    "train-of-ranks": Stage("train", "2 packed"),
    "train": Stage("train"),
    "merge": Stage("merge"),
    "evaluate": Stage("evaluate", options=("--suite", "preference", "--suite", "smoke", "--against", "base")),
    "card": Stage("card"),
}
GO_ON = ("curate", "train", "merge", "evaluate")  # from what they have left others start


@dataclass(frozen=True)
class Killed:
    """A stage that was killed before its file operation `at`, of `of`: what did not hold, and the seconds of it."""

    stage: str
    at: int
    of: int
    wrong: list[str]
    seconds: float


def points(operations: int, count: int | None) -> list[int]:
    """Return so many file operations of all, from 1, evenly spread; all of them if no count is given."""
    if count is None or count >= operations:
        return list(range(1, operations + 1))
    return sorted({1 + round(place * (operations - 1) / max(1, count - 1)) for place in range(count)})


class Stages:
    """The stages of a run, each of them killed.

    Args:
        recipe: The recipe.
        place: Where all is tried.
        say: Is told what goes on.
    """

    def __init__(self, recipe: Path, place: Path, say: Callable[[str], object] = print) -> None:
        self.recipe, self.place, self.say = recipe, place, say
        self.before = place / "before"  # what the stage at hand starts from

    def killed(
        self,
        stages: Sequence[str] = tuple(STAGES),
        count: int | None = None,
        only: Sequence[int] = (),
        defect: Callable[[], object] | None = None,
    ) -> list[Killed]:
        """Kill each stage at so many of its file operations, or at `only` some; return how that ended.

        Negative ones are counted from the last.
        """
        found: list[Killed] = []
        self.before = self.place / "before"
        with made_anew(self.place):
            for stage in STAGES:
                if stage not in (*stages, *GO_ON):
                    continue
                whole = self.place / f"{stage}-whole"
                operations = self._undisturbed(stage, whole)
                if stage in stages:
                    facts = facts_of(whole)
                    named = [at if at > 0 else operations + 1 + at for at in only]
                    for at in named or points(operations, count):
                        started = time.monotonic()
                        with made_anew(self.place / "point") as place:
                            run = self._start(place / "run")
                            wrong = self._killed_at(stage, run, place, at, defect)
                            if not wrong:
                                wrong = differences(run, facts) + leftovers(run)
                        found.append(Killed(stage, at, operations, wrong, time.monotonic() - started))
                    here = [one for one in found if one.stage == stage]
                    wrongs = sum(bool(one.wrong) for one in here)
                    self.say(
                        f"  {stage}: killed at {len(here)} of {operations} file operations, {wrongs} wrong"
                    )
                if stage in GO_ON:
                    self.before = whole
        return found

    def _start(self, run: Path) -> Path:
        return copy_run(self.before, run) if self.before.is_dir() else run

    def _arguments(self, stage: str, run: Path) -> list[str]:
        kind = STAGES[stage]
        train = LAYOUTS[kind.layout].arguments(self.recipe, run, (f"max_steps={STEPS}",))
        return [kind.command, *train[1:], *kind.options]

    def _undisturbed(self, stage: str, run: Path) -> int:
        self._start(run)
        job = Job(self._arguments(stage, run), run, self.place, f"{stage}-whole-job")
        outcome, _ = job.wait()
        if outcome.code:
            raise RuntimeError(f"the undisturbed {stage} ended with {outcome.code}: {outcome.err}")
        return job.where()[STAGES[stage].role].events

    def _killed_at(
        self, stage: str, run: Path, place: Path, at: int, defect: Callable[[], object] | None
    ) -> list[str]:
        arguments, kind = self._arguments(stage, run), STAGES[stage]
        outcome, _ = Job(arguments, run, place, "killed", kill_at=(kind.role, at), defect=defect).wait()
        if outcome.code not in {kind.ended, 0}:  # 0: this time it had fewer of them
            return [f"ended with {outcome.code}, not with {kind.ended}: {outcome.err[-600:]}"]
        if kind.ended > 0 and outcome.code and not all(line.startswith("notus: ") for line in outcome.lines):
            return [
                f"{len(outcome.lines)} lines on the standard error: {' | '.join(outcome.lines[-4:])[:600]}"
            ]
        again, _ = Job(arguments, run, place, "again", defect=defect).wait()
        if again.code:
            return [f"run again, it ended with {again.code}: {again.err[-600:]}", *again.left]
        return outcome.left + again.left
