"""Several processes, each with a Hub of its own, that share the fault points among them."""

import contextlib
import multiprocessing
import os
import socket
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tests.faults.disk import own_mounts
from tests.faults.points import Bench, Ended, Point, Whole

BACKLOG = 128
NO_MOUNTS = "NOTUS_FAULTS_NO_MOUNTS"  # set: as where nothing may be mounted


class Workers:
    """The processes; to be used with `running`.

    Args:
        connections: To each of them.
    """

    def __init__(self, connections: Sequence["Connection[Any, Any]"]) -> None:
        self._connections = connections

    def undisturbed(self, recipe: Path, run: Path) -> Whole:
        """Have the first make the undisturbed release; see `Bench.undisturbed`."""
        return self._ask(("undisturbed", recipe, run))  # type: ignore[no-any-return]

    def contest(self, whole: Whole, publishers: int, seed: int, defect: str | None = None) -> list[str]:
        """Have the first hold a contest; see `tests.faults.contest.contest`."""
        return self._ask(("contest", whole, publishers, seed, defect))  # type: ignore[no-any-return]

    def run(self, points: Sequence[Point], whole: Whole, defect: str | None = None) -> Iterator[Ended]:
        """Yield how each point ended, as they end; `defect` is one of `tests.faults.defects`."""
        left = list(reversed(points))
        busy = []
        for connection in self._connections:
            if left:
                connection.send(("run", left.pop(), whole, defect))
                busy.append(connection)
        while busy:
            for ready in wait(busy):
                assert ready in busy
                connection = busy[busy.index(ready)]
                yield _answer(connection)
                if left:
                    connection.send(("run", left.pop(), whole, defect))
                else:
                    busy.remove(connection)

    def _ask(self, question: tuple[Any, ...]) -> Any:
        self._connections[0].send(question)
        return _answer(self._connections[0])


@contextlib.contextmanager
def running(folder: Path, count: int = 2) -> Iterator[Workers]:
    """Start the processes, and end them.

    Args:
        folder: Theirs; made anew.
        count: How many.
    """
    context = multiprocessing.get_context("spawn")
    connections, started = [], []
    for number in range(count):
        listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        ours, theirs = context.Pipe()
        # The address is read when huggingface_hub is imported, which is before the process's own first line.
        os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = context.Process(target=_work, args=(folder / str(number), listener, theirs), daemon=True)
        process.start()
        listener.close()
        theirs.close()
        connections.append(ours)
        started.append(process)
    try:
        yield Workers(connections)
    finally:
        for connection in connections:
            connection.close()  # which ends it
        for process in started:
            process.join(20)
            process.kill()


class _Failed:
    def __init__(self, said: str) -> None:
        self.said = said


def _answer(connection: "Connection[Any, Any]") -> Any:
    answer = connection.recv()
    if isinstance(answer, _Failed):
        raise RuntimeError(answer.said)
    return answer


def _work(folder: Path, listener: socket.socket, connection: "Connection[Any, Any]") -> None:
    """Answer what is asked, until nobody is there to ask."""
    import shutil
    import traceback

    mounts = NO_MOUNTS not in os.environ and own_mounts()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"):
        os.environ.pop(name, None)
        os.environ.pop(name.lower(), None)
    os.environ |= {
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NOTUS_TIMEOUT_SECONDS": "20",
    }
    from publish.localhub.server import local_token
    from tests.faults.processes import import_all

    os.environ["HF_TOKEN"] = local_token(folder / "empty")
    import_all()
    from tests.faults.contest import contest
    from tests.faults.defects import DEFECTS

    bench = Bench(folder, listener, mounts=mounts)
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        try:
            match question:
                case ("undisturbed", recipe, run):
                    answer: object = bench.undisturbed(recipe, run)
                case ("run", point, whole, defect):
                    answer = bench.run(point, whole, DEFECTS.get(defect))
                case ("contest", whole, publishers, seed, defect):
                    answer = contest(bench, whole, publishers, seed, DEFECTS.get(defect))
        except Exception:  # it is the asker's to end by it
            answer = _Failed(traceback.format_exc())
        connection.send(answer)
