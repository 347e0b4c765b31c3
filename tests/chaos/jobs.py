"""A command of notus as a process that is watched, with all the processes that it starts."""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import watched
from tests.chaos.forks import become, close_others
from tests.support import ROOT

LONGEST = 120.0  # seconds of a command; one that takes longer hangs
ENDING = 10.0  # seconds within which what a command started ends after it
PR_SET_CHILD_SUBREAPER = 36
LOOK = 0.001
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
ENVIRONMENT = {
    **ONE_THREAD,  # the same in forks and new processes, with one rank and two
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "PYTHONUNBUFFERED": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True)
class Where:
    """Where a process is.

    Attributes:
        pid: Its.
        role: `main`, a rank's number, or `other`.
        phase: As `watched` has it.
        step: Optimizer steps that it has done.
        events: File operations in the run folder so far.
        at: When that was, on the monotonic clock.
    """

    pid: int
    role: str
    phase: str
    step: int
    events: int
    at: float


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Its exit code; negative: by that signal; None: it hung.
        out: What it said.
        err: What it said on the standard error.
        left: What it had started and had not ended soon after it.
    """

    code: int | None
    out: str
    err: str
    left: list[str]

    @property
    def lines(self) -> list[str]:
        """What was said on the standard error, but warnings."""
        return [line for line in self.err.strip().splitlines() if not line.startswith("warning: ")]


class Job:
    """A command that runs.

    Args:
        arguments: Of `notus`.
        run: Its run folder.
        place: Where what it says is kept, as `NAME.out` and `NAME.err`.
        name: Of these files.
        forked: As a fork of this process, which has imported all; else as a new one, and all that it starts too.
        kill_at: The role, and the number of its file operation before which it kills itself.
        defect: Breaks the code on purpose; of a fork only.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        run: Path,
        place: Path,
        name: str,
        *,
        forked: bool = True,
        kill_at: tuple[str, int] | None = None,
        defect: Callable[[], object] | None = None,
    ) -> None:
        self._files = (place / f"{name}.out", place / f"{name}.err")
        self._seen = place / f"{name}.seen"
        self._seen.mkdir()
        self._ended_at: float | None = None
        given = [str(argument) for argument in arguments]
        environment = environment_of(run, self._seen, kill_at)
        self.started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid:
            self._pidfd = os.pidfd_open(self.pid)
            return
        try:
            os.setsid()
            for number, path in enumerate(self._files, start=1):
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(descriptor, number)
            close_others()
            os.chdir(place)
            environment[watched.MAIN] = str(os.getpid())
            if not forked:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.execve(sys.executable, [sys.executable, "-m", "notus", *given], environment)
            if defect:
                defect()
            become("notus", given, environment)
        finally:
            os._exit(255)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not select.select([self._pidfd], [], [], 0)[0]

    def where(self) -> dict[str, Where]:
        """Return where each of its processes is, by role; of ranks that were started again the last ones."""
        found: dict[str, Where] = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._seen):
                with contextlib.suppress(ValueError, OSError):
                    role, phase, step, events, at, _ = Path(entry.path).read_bytes().decode().split(";")
                    one = Where(int(entry.name), role, phase, int(step), int(events), float(at))
                    if role not in found or found[role].at < one.at:
                        found[role] = one
        return found

    def leading(self) -> Where | None:
        """Return where it is: its own process or rank 0, whichever did something last."""
        each = self.where()
        two = [each[role] for role in ("main", "0") if role in each]
        return max(two, key=lambda one: one.at, default=None)

    def ranks(self) -> dict[int, int]:
        """Return its ranks' process ids, of those that are alive."""
        return {
            int(role): one.pid for role, one in self.where().items() if role.isdigit() and _alive(one.pid)
        }

    def family(self) -> list[int]:
        """Return the ids of all its processes, its own first."""
        return [self.pid, *(pid for pid in descendants() if pid != self.pid)]

    def until(self, there: Callable[[Where], bool], seconds: float = LONGEST) -> Where | None:
        """Wait until it is somewhere; None if it ended before."""
        last = time.monotonic() + seconds
        while time.monotonic() < last:
            running = self.running
            here = self.leading()
            if not running:
                return None
            if here and there(here):
                return here
            time.sleep(LOOK)
        return None

    def wait(self, seconds: float = LONGEST) -> tuple[Outcome, float]:
        """Return how it ended, and how many seconds that took from now; one that does not is killed."""
        since = time.monotonic()
        select.select([self._pidfd], [], [], seconds)
        took = time.monotonic() - since
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if not done:
            for pid in self.family():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._pidfd)
        left = _end_all()
        out, err = (file.read_text(encoding="utf-8", errors="replace") for file in self._files)
        return Outcome(os.waitstatus_to_exitcode(status) if done else None, out, err, left), took


def environment_of(run: Path, seen: Path, kill_at: tuple[str, int] | None) -> dict[str, str]:
    """Return what a watched process has for its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NOTUS_", "PET_"))}
    site = str(Path(__file__).parent / "site")
    return {
        **kept,
        **ENVIRONMENT,
        "PYTHONPATH": os.pathsep.join(filter(None, [site, str(ROOT), os.environ.get("PYTHONPATH")])),
        watched.RUN: str(run),
        watched.SEEN: str(seen),
        watched.CODE: str(Path(__file__).parent),
        **({watched.KILL_AT: f"{kill_at[0]}:{kill_at[1]}"} if kill_at else {}),
    }


def adopt_orphans() -> None:
    """Become who processes come to whose parent has ended: so none is lost sight of."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Return the process ids of all that this process started, and they, that are alive."""
    parents: dict[int, int] = {}
    for pid, parent, state in _processes():
        if state != "Z":
            parents[pid] = parent
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours and pid not in ours}:
        ours |= more
    return sorted(ours - {os.getpid()})


def _end_all() -> list[str]:
    """Wait for what a command that has ended had started; kill and return what does not end."""
    last = time.monotonic() + ENDING
    while (alive := descendants()) and time.monotonic() < last:
        time.sleep(0.02)
    left = []
    for pid in alive:
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            left.append(f"process {pid} is still there after {ENDING:.0f} s: {command[:80]}")
            os.kill(pid, signal.SIGKILL)
    while True:  # orphans that have come to this process
        try:
            pid, _ = os.waitpid(-1, 0 if alive else os.WNOHANG)
        except ChildProcessError:
            return left
        if not pid:
            return left


def _processes() -> Iterator[tuple[int, int, str]]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - thousands of times
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                text = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
                state, parent = text.rpartition(")")[2].split()[:2]
                yield int(name), int(parent), state


def _alive(pid: int) -> bool:
    return any(one == pid and state != "Z" for one, _, state in _processes())


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to processes; those that have ended get none."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
