"""A base and feedback so small that every stage runs in seconds, and the command line as a user has it."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import notus
from publish.localhub import running
from tests.support import Cli, Outcome, fresh
from tests.tiny import write_tiny

os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run notus in this process; not for commands that talk to a Hub, whose address is read at import."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["notus", *map(str, arguments)])
        capsys.readouterr()
        try:
            notus.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 0
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests' own again
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base/` (an untrained Mistral), `feedback.jsonl` (64 rows) and `tiny.yaml` over both."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder, max_steps=3)
    return folder


@pytest.fixture(scope="session")
def trained(tiny: Path) -> Path:
    """A run folder whose stages up to `card` are done, over `tiny`. Not to be written to."""
    folder = tiny / "runs" / "tiny"
    ended = fresh("card", tiny / "tiny.yaml", "--run", folder, "--quiet", cwd=tiny)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An embedded Hub that runs; the environment that points a process at it."""
    with running(tmp_path_factory.mktemp("hub")) as server:
        yield {"HF_ENDPOINT": server.endpoint, "HF_TOKEN": server.token, "HF_HUB_DISABLE_XET": "1"}
