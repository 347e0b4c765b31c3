"""What is done to a run, and how the command is to end by it."""

import contextlib
import errno
import os
import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.jobs import Job, Outcome, Where, send
from tests.chaos.moments import ANY, EARLY, LATE, MIDDLE
from tests.chaos.tiny import STEP_TIMEOUT
from tests.faults.kinds import fill

STOPPED = 1.5  # seconds that a run is stopped and goes on
SOON = 10.0  # seconds within which a signal ends a command
AT_ONCE = 5.0  # seconds within which a second one does, on a machine that has other work
SOME_ROOM = 12 << 10  # bytes: half a checkpoint
HUNG_SOON = 30.0  # seconds after the timeout within which a job that hangs ends
RANKED = ("load", "reference", *MIDDLE, "held out", "adapter", "figures")


@dataclass(frozen=True)
class Hit:
    """What was done.

    Attributes:
        where: Where the command was.
        rank: Which rank it was done to.
        saved: The step of the newest checkpoint then; 0 if there was none.
    """

    where: Where
    rank: int | None = None
    saved: int = 0


@dataclass(frozen=True)
class Kind:
    """A disturbance.

    Attributes:
        does: For the table.
        do: Does it. Returns the rank that it was done to, if to one; False: there was nothing to do it to.
        wrong: Says what is wrong with how the command ended, by what was done and the seconds that it took.
        phases: Where.
        processes: Of the runs to which it is done.
        goes_on: The command goes on after it.
        disk: The run lies on a small disk.
        timed: The seconds from signal to exit are told.
    """

    does: str
    do: Callable[[Job, random.Random, Path], int | bool | None]
    wrong: Callable[[Outcome, Hit, float], list[str]]
    phases: tuple[str, ...] = (*EARLY, *MIDDLE, "training", *LATE, ANY)
    processes: tuple[int, ...] = (1, 2)
    goes_on: bool = False
    disk: bool = False
    timed: bool = False


def _kill(job: Job, rng: random.Random, run: Path) -> None:
    send([job.pid], signal.SIGKILL)


def _kill_all(job: Job, rng: random.Random, run: Path) -> None:
    send(job.family(), signal.SIGKILL)


def _kill_rank(job: Job, rng: random.Random, run: Path) -> int | bool:
    ranks = job.ranks()
    if not ranks:
        return False
    rank = rng.choice(sorted(ranks))
    send([ranks[rank]], signal.SIGKILL)
    return rank


def _stop_rank(job: Job, rng: random.Random, run: Path) -> int | bool:
    ranks = job.ranks()
    if len(ranks) < 2:
        return False
    rank = rng.choice(sorted(ranks))
    send([ranks[rank]], signal.SIGSTOP)
    return rank


def _stop_and_go(job: Job, rng: random.Random, run: Path) -> None:
    each = job.family()
    send(each, signal.SIGSTOP)
    time.sleep(STOPPED)
    send(each, signal.SIGCONT)


def _signal(number: signal.Signals) -> Callable[[Job, random.Random, Path], None]:
    def do(job: Job, rng: random.Random, run: Path) -> None:
        send([job.pid], number)

    return do


def _ctrl_c(job: Job, rng: random.Random, run: Path) -> None:
    """As a terminal does: to all of the foreground."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGINT)


def _twice(job: Job, rng: random.Random, run: Path) -> None:
    send([job.pid], signal.SIGTERM)
    time.sleep(rng.uniform(0.02, 0.4))
    if job.running:
        send([job.pid], signal.SIGTERM)


def _fill(job: Job, rng: random.Random, run: Path) -> None:
    leave = rng.choice((0, SOME_ROOM))
    for _ in range(9):  # the run writes as well
        try:
            fill(run.parent, leave)
            return
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _killed(outcome: Outcome, hit: Hit, took: float) -> list[str]:
    return _code(outcome, -signal.SIGKILL)


def _lost(outcome: Outcome, hit: Hit, took: float) -> list[str]:
    wrong = _code(outcome, 1) + _lines(outcome)
    if not any(f"rank {hit.rank} of 2 was lost" in line for line in outcome.lines):
        wrong.append(f"no line says that rank {hit.rank} was lost: {_last(outcome)}")
    return wrong


def _stacks(outcome: Outcome, hit: Hit, took: float) -> list[str]:
    wrong = _code(outcome, 1)
    if took > STEP_TIMEOUT + HUNG_SOON:
        wrong.append(f"ended {took:.0f} s after a rank was stopped; step_timeout is {STEP_TIMEOUT} s")
    shown = [rank for rank in range(2) if re.search(rf"(?m)^rank {rank}: .*stack", outcome.err)]
    if shown != [0, 1] or "File " not in outcome.err:
        wrong.append(f"the stacks of ranks {shown} are shown, not of both: {_last(outcome)}")
    return wrong


def _full(outcome: Outcome, hit: Hit, took: float) -> list[str]:
    wrong = _code(outcome, 2) + _one_line(outcome)
    if "full" not in _last(outcome):
        wrong.append(f"does not say that the disk is full: {_last(outcome)}")
    return wrong


def _ended(code: int, within: float = SOON) -> Callable[[Outcome, Hit, float], list[str]]:
    def wrong(outcome: Outcome, hit: Hit, took: float) -> list[str]:
        found = _code(outcome, code) + _lines(outcome)
        if took > within:
            found.append(f"ended {took:.1f} s after the signal; {within:.0f} s are allowed")
        return found

    return wrong


def _unharmed(outcome: Outcome, hit: Hit, took: float) -> list[str]:
    return _code(outcome, 0)


def _ended_at_once(outcome: Outcome, hit: Hit, took: float) -> list[str]:
    """A second signal may find Python past its handlers, and is then the one that ended it."""
    ended_by_it = outcome.code == -signal.SIGTERM
    return [] if ended_by_it and took <= AT_ONCE else _ended(143, AT_ONCE)(outcome, hit, took)


def _code(outcome: Outcome, wanted: int) -> list[str]:
    if outcome.code == wanted:
        return []
    ended = "hung, and was ended" if outcome.code is None else f"ended with {outcome.code}"
    return [f"{ended}, not with {wanted}: {_last(outcome)}"]


def _one_line(outcome: Outcome) -> list[str]:
    """A user's mistake is told in one line."""
    return _lines(outcome, most=1)


def _lines(outcome: Outcome, most: int = 3) -> list[str]:
    """Who ends a run is told so in a line or two, where it goes on among it; a bug is what has a traceback."""
    if 1 <= len(outcome.lines) <= most and all(line.startswith("notus: ") for line in outcome.lines):
        return []
    return [f"{len(outcome.lines)} lines on the standard error: {' | '.join(outcome.lines[-4:])[:600]}"]


def _last(outcome: Outcome) -> str:
    return (outcome.lines or ["nothing said"])[-1][:300]


KINDS = {
    "kill": Kind("SIGKILL", _kill, _killed),
    "torn": Kind("SIGKILL, then its newest checkpoint torn", _kill, _killed, ("checkpoint", *MIDDLE)),
    "kill-rank": Kind("SIGKILL of a rank", _kill_rank, _lost, RANKED, (2,)),
    "kill-all": Kind("SIGKILL of every process", _kill_all, _killed, ("ranks", *RANKED, ANY), (2,)),
    "term": Kind("SIGTERM", _signal(signal.SIGTERM), _ended(143), timed=True),
    "int": Kind("SIGINT", _signal(signal.SIGINT), _ended(130), timed=True),
    "ctrl-c": Kind("SIGINT to all of the foreground", _ctrl_c, _ended(130), timed=True),
    "second": Kind("SIGTERM, and once more", _twice, _ended_at_once, timed=True),
    "stop-rank": Kind("SIGSTOP of a rank", _stop_rank, _stacks, ("training",), (2,)),
    "stop-go": Kind(
        "SIGSTOP, then SIGCONT", _stop_and_go, _unharmed, (*MIDDLE, "held out", ANY), goes_on=True
    ),
    "disk": Kind("a disk that is full", _fill, _full, MIDDLE, disk=True),
}
