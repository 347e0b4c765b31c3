"""The two sides of a fault point as processes forked from one that has imported all: the Hub, and `notus publish`."""

import contextlib
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from publish.loading import Answer, LoadError, Question
from tests import forked
from tests.faults.exchange import Journal, Trap, Watched

IMPORTED = (
    "datasets",
    "peft",
    "transformers.models.mistral.modeling_mistral",
    "transformers.models.auto.modeling_auto",
    "uvicorn.protocols.http.h11_impl",
    "modelcard.stage",
    "notus",
    "publish.localhub.app",
    "publish.release",
    "recipe.launch",
    "recipe.merge",
    "recipe.stages",
)
LONGEST = 90.0  # seconds of a client; one that takes longer hangs


@dataclass(frozen=True)
class Outcome:
    """How a client ended: its exit code (negative: by that signal; None: it hung), and what it said."""

    code: int | None
    out: str
    err: str

    @property
    def problem(self) -> str:
        """What is wrong with such an end; a user's mistake has to be one line, and no fault is a bug of ours."""
        if self.code is None:
            return f"still not done after {LONGEST:.0f} s"
        if self.code in {0, -signal.SIGKILL}:
            return ""
        lines = [line for line in self.err.strip().splitlines() if not line.startswith("warning: ")]
        if self.code != 2:
            return f"exit code {self.code}: {lines[-1] if lines else 'nothing said'}"
        if len(lines) != 1 or not lines[0].startswith("notus: "):
            return f"exit code 2 with {len(lines)} lines: {' | '.join(lines[-3:])}"
        return ""

    @property
    def said(self) -> str:
        """The last line on the standard error."""
        return (self.err.strip().splitlines() or [""])[-1]


class Client:
    """A process that publishes.

    Args:
        arguments: Those of `notus`.
        place: The current folder; what the client says is kept there, as `NAME.out` and `NAME.err`.
        name: Of these files.
        shared: Is given the process id.
        environment: What is set for it beside what is set here.
        defect: Breaks the code on purpose, in the client only.
        listener: The Hub's, which is not the client's.
        start: A pipe; the client starts when its writing end is closed, and so many seconds have passed.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        place: Path,
        name: str,
        *,
        shared: mmap.mmap,
        environment: Mapping[str, str],
        listener: socket.socket,
        defect: Callable[[], object] | None = None,
        start: tuple[int, int, float] | None = None,
    ) -> None:
        self._files = (place / f"{name}.out", place / f"{name}.err")
        self.pid = os.fork()
        if self.pid:
            self._ended = os.pidfd_open(self.pid)
            return
        with _child(self._files):
            os.setpgid(0, 0)
            listener.close()
            shared[:8] = os.getpid().to_bytes(8, "little")
            os.environ.update(environment)
            os.chdir(place)
            if start is not None:
                os.close(start[1])
                os.read(start[0], 1)
                time.sleep(start[2])
            if defect:
                defect()
            _notus([str(argument) for argument in arguments])

    def wait(self, seconds: float = LONGEST) -> Outcome:
        """Return how it ended; one that does not is killed."""
        select.select([self._ended], [], [], seconds)
        done, status = os.waitpid(self.pid, os.WNOHANG)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # the process that loads, if there is one still
        if not done:
            os.waitpid(self.pid, 0)
        os.close(self._ended)
        out, err = (file.read_text(encoding="utf-8", errors="replace") for file in self._files)
        return Outcome(os.waitstatus_to_exitcode(status) if done else None, out, err)


def _notus(arguments: list[str]) -> None:
    """Do what `python -m notus` does, but load what is read back in a fork instead of a new interpreter."""
    import notus
    import publish.release

    publish.release.publish.__kwdefaults__["load"] = load_in_a_fork  # type: ignore[index]
    sys.argv = ["notus", *arguments]
    notus.main()


def load_in_a_fork(question: Question) -> Answer:
    """Load a release from a cache alone, as `publish.loading.load_in_a_process` does."""
    reading, writing = os.pipe()
    said = os.memfd_create("said")
    pid = os.fork()
    if not pid:
        with _child((Path(f"/proc/self/fd/{said}"),) * 2):
            from huggingface_hub import constants

            from publish.loading import load

            os.environ.pop("HF_TOKEN", None)
            constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = question["cache"], True
            constants.HF_HUB_DISABLE_PROGRESS_BARS = True
            os.write(writing, json.dumps(load(question)).encode())
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    with os.fdopen(said, encoding="utf-8", errors="replace") as file:
        file.seek(0)
        lines = file.read().strip()
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise LoadError((lines.splitlines() or [f"exit code {code}"])[-1], lines)
    return cast(Answer, json.loads(answer))


@contextlib.contextmanager
def serving(
    listener: socket.socket,
    root: Path,
    journal: Path,
    shared: mmap.mmap,
    trap: Trap,
    look: Callable[[], list[str]] = list,
) -> Iterator[None]:
    """Serve the Hub in a folder from a process of its own; it ends in good order, with all its requests done.

    Args:
        listener: Where it listens.
        root: The Hub's folder.
        journal: Where its requests are written down.
        shared: Holds the client's process id.
        trap: Says what is to be done with a request.
        look: Says what is wrong with the tags that are there.
    """
    pid = os.fork()
    if not pid:
        log = root / "server.log"
        with _child((log, log)):
            _serve(listener, root, Journal(journal, look), shared, trap)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    if status and os.waitstatus_to_exitcode(status) != -signal.SIGTERM:
        raise RuntimeError(f"the Hub ended with {status}: {(root / 'server.log').read_text()[-2000:]}")


def _serve(listener: socket.socket, root: Path, journal: Journal, shared: mmap.mmap, trap: Trap) -> None:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from publish.localhub.app import make_app

    class Protocol(H11Protocol):
        """Gives the application the connection, which ASGI keeps from it."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.app = cast(Any, Watched(self.app, transport, root, shared, journal, trap))

    config = uvicorn.Config(
        make_app(root), http=Protocol, log_level="warning", access_log=False, lifespan="off",
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def _child(output: tuple[Path, Path]) -> Iterator[None]:
    """Run what is within as a process of its own would, then end it: nothing of the parent's is cleaned up."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for number, path in enumerate(output, start=1):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(descriptor, number)
            os.close(descriptor)
        yield
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def import_all() -> None:
    """Import what clients and Hub need, so that a fork has it; no tensor is computed here."""
    forked.import_all(IMPORTED)
