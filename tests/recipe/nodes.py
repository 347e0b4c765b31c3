"""Two nodes on one machine: network namespaces with a cable between them that can be cut."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support import ROOT, Outcome

ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 29500
NOBODY = "02:00:00:00:00:01"  # no interface has it
SECONDS = 240  # more than any of these takes


@dataclass(frozen=True)
class Cable:
    """What two nodes reach each other by. A machine has its address on it, and a loopback; nothing else.

    Attributes:
        machines: The two namespaces.
    """

    machines: tuple[str, str]

    def cut(self) -> None:
        """Pull it out: both ends notice that there is no carrier."""
        _ip("-n", self.machines[0], "link", "set", "cable", "down")

    def swallow(self) -> None:
        """Lose all that is sent, unnoticed: the link stays up, and each end sends to a machine that is not there."""
        for machine, other in zip(self.machines, reversed(ADDRESSES), strict=True):
            to = ("to", other, "lladdr", NOBODY, "nud", "permanent")
            _ip("-n", machine, "neigh", "replace", *to, "dev", "cable")

    def mend(self) -> None:
        """Undo both."""
        _ip("-n", self.machines[0], "link", "set", "cable", "up")
        for machine, other in zip(self.machines, reversed(ADDRESSES), strict=True):
            _ip(
                "-n",
                machine,
                "neigh",
                "replace",
                "to",
                other,
                "lladdr",
                NOBODY,
                "nud",
                "permanent",
                "dev",
                "cable",
            )
            _ip("-n", machine, "neigh", "del", "to", other, "dev", "cable")

    def processes(self, node: int) -> list[int]:
        """Return what runs on a machine."""
        return [int(pid) for pid in _ip("netns", "pids", self.machines[node]).split()]

    def crash(self, node: int) -> None:
        """End all that runs on a machine by SIGKILL, what is started meanwhile too."""
        until = time.monotonic() + 10
        while pids := self.processes(node):
            assert time.monotonic() < until, f"{pids} do not end"
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


@cache
def why_no_namespaces() -> str:
    """Return why no network namespace can be made here; nothing where one can."""
    if shutil.which("ip") is None:
        return "`ip` is not installed (Debian: iproute2)"
    name = f"notus-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return made.stderr.strip()
    _ip("netns", "del", name)
    return ""


@contextlib.contextmanager
def two_machines() -> Iterator[Cable]:
    """Make two machines with a cable between them. At the end nothing is left of them, nor of what runs there."""
    cable = Cable((f"notus-{os.getpid()}-0", f"notus-{os.getpid()}-1"))
    try:
        for machine in cable.machines:
            _ip("netns", "add", machine)
            _ip("-n", machine, "link", "set", "lo", "up")
        zero, one = cable.machines
        _ip("link", "add", "cable", "netns", zero, "type", "veth", "peer", "name", "cable", "netns", one)
        for machine, address in zip(cable.machines, ADDRESSES, strict=True):
            _ip("-n", machine, "address", "add", f"{address}/24", "dev", "cable")
            _ip("-n", machine, "link", "set", "cable", "up")
        yield cable
    finally:
        made = _ip("netns", "list").split()
        for node, machine in enumerate(cable.machines):
            if machine in made:
                cable.crash(node)
                _ip("netns", "del", machine)


@dataclass
class Node:
    """A `notus train` that runs on one of the machines, with a run folder and what it prints."""

    process: subprocess.Popen[bytes]
    run: Path
    printed: Path
    started: float

    def end(self, seconds: float = SECONDS) -> Outcome:
        """Wait for its end."""
        code = self.process.wait(seconds)
        out, err = (self.printed.with_suffix(suffix).read_text() for suffix in (".out", ".err"))
        return Outcome(code, out, err)

    def signal(self, number: signal.Signals) -> None:
        """Send its first process a signal."""
        self.process.send_signal(number)


def start(cable: Cable, node: int, recipe: Path, run: Path, *options: object, **env: str) -> Node:
    """Start `notus train` on one of the machines, as one of two nodes that meet on the first."""
    command = ["ip", "netns", "exec", cable.machines[node], sys.executable, "-m", "notus", "train", recipe]
    command += ["--run", run, "--nnodes", 2, "--node-rank", node, "--rdzv-endpoint", f"{ADDRESSES[0]}:{PORT}"]
    printed = run.with_name(f"{run.name}-printed")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with printed.with_suffix(".out").open("wb") as out, printed.with_suffix(".err").open("wb") as err:
        process = subprocess.Popen(  # `ip` becomes what it runs
            list(map(str, [*command, *options])),
            cwd=recipe.parent,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **env},
            stdout=out,
            stderr=err,
        )
    return Node(process, run, printed, time.monotonic())


def _ip(*words: str) -> str:
    """Run iproute2's `ip`, and return what it prints."""
    ended = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert not ended.returncode, f"ip {' '.join(words)}: {ended.stderr}"
    return ended.stdout
