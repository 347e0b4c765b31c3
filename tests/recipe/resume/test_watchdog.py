"""A training that is stuck ends, and shows where; one that moves, or was stopped as a whole, goes on."""

import os
import signal
import subprocess
import sys
import time

from tests.support import ROOT

STUCK = """
import time
from recipe.resume.watchdog import Watchdog
dog = Watchdog({seconds}, lambda: print("told", flush=True), code=71, name="rank 3")
with dog.watching():
    print("watching", flush=True)
    def waits_for_data():
        time.sleep({sleep})
    for _ in range({times}):
        waits_for_data()
        dog.pulse()
print("done", flush=True)
"""


def started(**values: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STUCK.format(**values)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_what_is_stuck_ends_with_its_stack() -> None:
    out, err = (process := started(seconds=0.5, sleep=60, times=1)).communicate(timeout=30)
    assert process.returncode == 71
    assert "rank 3: nothing was done for 0.5 s; its stack:" in err
    assert "in waits_for_data" in err
    assert out.split() == ["watching", "told"]


def test_what_moves_goes_on() -> None:
    out, err = (process := started(seconds=1, sleep=0.2, times=10)).communicate(timeout=30)
    assert (process.returncode, out.split(), err) == (0, ["watching", "done"], "")


def test_what_was_stopped_as_a_whole_is_not_stuck() -> None:
    process = started(seconds=1, sleep=0.2, times=5)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(2)
    os.kill(process.pid, signal.SIGCONT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out.split()) == (0, ["done"])
