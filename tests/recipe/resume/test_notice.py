"""Signals that end a process, and ranks that end with who started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipe.resume.notice import Notice
from tests.support import ROOT

WORKS = """
import signal, time
from recipe.resume.notice import Notice
with Notice(alone={alone}) as notice:
    print("working", flush=True)
    while not notice.given:
        time.sleep(0.01)
    print("noticed", int(notice.number), flush=True)
    time.sleep(1.5)
print("handlers are back:", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""
RANK = """
import os, signal, sys, time
from pathlib import Path
from recipe.resume import notice
notice.ENDING_SECONDS = {patience}
signal.signal(signal.SIGTERM, lambda *_: None)
with notice.ending_with(os.getppid(), Path(sys.argv[1])):
    print(os.getpid(), flush=True)
    waits = {waits}
    time.sleep(60) if waits else None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(1)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_notice(number: signal.Signals) -> None:
    process = started(WORKS.format(alone=True))
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert out.splitlines() == [f"noticed {int(number)}", "handlers are back: True"]


def test_a_second_one_ends_it_at_once() -> None:
    process = started(WORKS.format(alone=True))
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "notus: ended at once by a second SIGINT\n")


def test_a_rank_leaves_a_second_one_to_who_started_it() -> None:
    process = started(WORKS.format(alone=False))
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "handlers are back: True\n")


def test_a_rank_ends_with_who_started_it(tmp_path: Path) -> None:
    parent = started(
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {RANK.format(patience=20, waits=True)!r}, 'x'])\n"
        "time.sleep(60)"
    )
    assert parent.stdout is not None
    [child] = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_rank_whose_parent_was_gone_before_it_looked_ends_at_once(tmp_path: Path) -> None:
    orphan = RANK.format(patience=20, waits=True).replace("os.getppid()", str(os.getpid()))
    adopted = "import subprocess, sys\n"  # whose child it is now is not who started it
    adopted += f"sys.exit(subprocess.run([sys.executable, '-c', {orphan!r}, 'x'], timeout=20).returncode)"
    ended = subprocess.run([sys.executable, "-c", adopted], cwd=ROOT, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_rank_that_waits_ends_once_rank_0_has_saved(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    process = started(RANK.format(patience=20, waits=True), ended)
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(1)
    assert process.poll() is None
    ended.touch()
    process.communicate(timeout=5)
    assert process.returncode == 143


def test_a_rank_that_waits_ends_soon_in_any_case(tmp_path: Path) -> None:
    process = started(RANK.format(patience=1, waits=True), tmp_path / "ended")
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143


def test_a_signal_that_a_library_has_caught_before_training_is_notice_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recipe.resume.notice.signals_given", [signal.SIGTERM])
    with Notice(alone=True) as notice:
        assert notice.given
        assert notice.number == signal.SIGTERM
