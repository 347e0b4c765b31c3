"""Within a process that is disturbed: tells where it is, and kills it at a file operation of a given number.

Imports nothing heavy: it is loaded before all else. What is told lies in a folder, a file a process, in memory
that is shared with who looks.
"""

import contextlib
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

# The environment of a process that is watched.
RUN, SEEN, KILL_AT, MAIN, CODE = (
    "NOTUS_CHAOS_RUN",
    "NOTUS_CHAOS_SEEN",
    "NOTUS_CHAOS_KILL_AT",
    "NOTUS_CHAOS_MAIN",
    "NOTUS_CHAOS_CODE",
)
SIZE = 128
START, RANKS = "start", "ranks"
TRAINING = {"training", "checkpoint", "evaluating"}
# What is touched in the run folder, and which phase that is. The order is that of the phases.
PLACES = {
    ".fetch.partial": "fetch",
    ".curate.partial": "curate",
    "tokens": "tokens",
    "reference": "reference",
    ".train.partial/adapter": "adapter",
    ".train.partial/training/": "figures",
    ".merge.partial": "merge",
    ".card.partial": "card",
    ".provenance.partial": "provenance",
}
RENAMES = {"os.rename", "os.link", "os.symlink"}
REMOVALS = {"os.remove", "os.rmdir", "shutil.rmtree"}
EVENTS = RENAMES | REMOVALS | {"os.mkdir", "os.truncate", "os.utime", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class _Watch:
    """What this process does; told whenever it changes."""

    def __init__(self) -> None:
        rank = os.environ.get("RANK")
        self.role = rank or ("main" if os.environ.get(MAIN) == str(os.getpid()) else "other")
        self.run = os.environ[RUN]
        self.phase, self.step, self.events = RANKS if rank else START, 0, 0
        role, _, number = os.environ.get(KILL_AT, "").partition(":")
        self.kill_at = int(number) if number and role == self.role else None
        path = os.path.join(os.environ[SEEN], str(os.getpid()))  # noqa: PTH118 - no pathlib yet
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(descriptor, SIZE)
        self.shared = mmap.mmap(descriptor, SIZE)
        os.close(descriptor)
        self.tell()

    def tell(self) -> None:
        line = f"{self.role};{self.phase};{self.step};{self.events};{time.monotonic()};\n"
        self.shared[:] = line.encode().ljust(SIZE)

    def event(self, name: str, path: str) -> None:
        """Take a file operation in the run folder down, or die before it."""
        self.events += 1
        if self.events == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        inside = path[len(self.run) :].lstrip("/")
        self.phase = self._phase(name, inside)
        self.tell()

    def _phase(self, name: str, inside: str) -> str:
        """Return the phase in which a file operation is done."""
        over = self.phase in {"moving in", "recording", "clearing up"}
        if inside.startswith("checkpoints"):
            if over:
                return "clearing up" if name in REMOVALS else self.phase
            return "checkpoint" if "/" in inside and self.phase in TRAINING else self.phase
        if name == "os.rename" and inside in {".train.partial/adapter", ".train.partial/training"}:
            return "moving in"
        if "manifest.json" in inside and over:
            return "recording"
        if inside.startswith("tokens") and name == "os.rename" and "heldout" in inside:
            return "load"
        found = (phase for place, phase in PLACES.items() if inside.startswith(place))
        return self.phase if "tensorboard" in inside else next(found, self.phase)

    def at(self, phase: str, step: int) -> None:
        self.phase, self.step = phase, step
        self.tell()


_watch: _Watch | None = None
_installed = False


def start() -> None:
    """Watch this process from now on, as its environment asks; once more after a fork."""
    global _watch, _installed  # noqa: PLW0603 - an audit hook stays for the life of a process
    _watch = _Watch() if SEEN in os.environ else None
    if _watch and not _installed:
        _installed = True
        sys.addaudithook(_hook)
        fsync = os.fsync

        def counted(descriptor: Any) -> None:
            with contextlib.suppress(OSError):
                number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
                _saw("fsync", os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
            fsync(descriptor)

        os.fsync = counted  # type: ignore[assignment]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        if len(arguments) > 2 and isinstance(arguments[2], int) and arguments[2] & WRITING:
            _saw(event, arguments[0])
    elif event in EVENTS:
        _saw(event, arguments[0])


def _saw(event: str, path: object) -> None:
    if _watch is None:
        return
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if isinstance(path, str) and path.startswith(_watch.run):
        _steps()
        _watch.event(event, path)


def _steps() -> None:
    """Be told of the trainer's steps, as soon as there is a trainer."""
    module = sys.modules.get("transformers.trainer_callback")
    handler = getattr(module, "CallbackHandler", None)
    if handler is None or hasattr(handler, "notus_chaos"):
        return
    handler.notus_chaos = True
    for name, phase in {
        "on_train_begin": "training",
        "on_step_begin": "training",
        "on_step_end": "training",
        "on_prediction_step": "evaluating",
        "on_train_end": "held out",
    }.items():
        setattr(handler, name, _told(getattr(handler, name), phase))


def _told(method: Callable[..., Any], phase: str) -> Callable[..., Any]:
    def told(self: Any, args: Any, state: Any, *rest: Any, **options: Any) -> Any:
        if _watch is not None and (phase != "evaluating" or _watch.phase in TRAINING):
            _watch.at(phase, state.global_step)
        return method(self, args, state, *rest, **options)

    return told
