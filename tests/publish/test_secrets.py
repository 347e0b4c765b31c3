"""The token that a release is made with is nowhere afterwards, and on the way in nobody's arguments."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from publish.localhub import add_user, running
from publish.localhub.users import DEFAULT_USER
from tests.support import ROOT

pytestmark = pytest.mark.slow

TOKEN = "hf_PlantedInATestToBeLookedFor0123456789"


def all_arguments() -> set[bytes]:
    """Return the command line of every process there is."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.add(path.read_bytes())
        except OSError:  # it has ended
            continue
    return found


def test_the_token_is_nowhere(tiny: Path, tmp_path: Path) -> None:
    for name in ("hub", "work", "home", "tmp"):
        (tmp_path / name).mkdir()
    add_user(tmp_path / "hub", DEFAULT_USER, token=TOKEN)
    arguments: set[bytes] = set()
    with running(tmp_path / "hub") as hub, (tmp_path / "work" / "said.txt").open("w") as said:
        assert hub.token == TOKEN
        process = subprocess.Popen(
            [sys.executable, "-m", "notus", "run", tiny / "tiny.yaml", "--hub", "remote", "--json"],
            cwd=tmp_path / "work",
            env={
                **os.environ,
                **hub.environment,
                "PYTHONPATH": str(ROOT),
                "HOME": str(tmp_path / "home"),
                "HF_HOME": str(tmp_path / "home" / "hf"),
                "TMPDIR": str(tmp_path / "tmp"),
            },
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            arguments |= all_arguments()
            time.sleep(0.02)
        stored = [path for path in (tmp_path / "hub").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert process.returncode == 0, (tmp_path / "work" / "said.txt").read_text()
    assert (tmp_path / "work" / "runs" / "tiny" / "release.json").is_file()
    assert any(b"publish.loading" in one for one in arguments)  # its children were looked at, too
    assert not any(TOKEN.encode() in one for one in arguments)
    written = [
        path
        for name in ("work", "home", "tmp")
        for path in (tmp_path / name).rglob("*")
        if path.is_file() and not path.is_symlink()
    ]
    assert len(written) > 30
    holding = [path for path in (*written, *stored) if TOKEN.encode() in path.read_bytes()]
    assert holding == []
