"""What ends a training that is stuck."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from tests.support import ROOT

WATCHED = """
    import sys, time
    from pathlib import Path
    from recipe.resume.watchdog import Watchdog, wake_siblings
    word, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])

    def stuck():
        word.touch()
        wake_siblings()

    dog = Watchdog(seconds, stuck, code=71, name=name, others=word.exists)
    print("ready", flush=True)
    with dog.watching():
        time.sleep(30)
"""


def _start(word: Path, name: str, seconds: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WATCHED), str(word), name, str(seconds)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_every_rank_shows_its_stack_and_ends_one_that_is_stopped_too(tmp_path: Path) -> None:
    stopped = _start(tmp_path / "stuck", "rank 1", 60)
    stopped.send_signal(signal.SIGSTOP)
    waiting = _start(tmp_path / "stuck", "rank 0", 0.3)
    started = time.monotonic()
    said = {each: each.communicate(timeout=20)[1] for each in (waiting, stopped)}
    assert time.monotonic() - started < 10
    assert (waiting.returncode, stopped.returncode) == (71, 71)
    assert "rank 0: nothing was done for 0.3 s; its stack:" in said[waiting]
    assert "rank 1: another rank waits; its stack:" in said[stopped]
    assert all('File "<string>", line' in each for each in said.values())
