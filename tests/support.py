"""Notus as a user has it: the command line, how it ended, and what it said."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import notus

ROOT = Path(notus.__file__).parent


@dataclass(frozen=True)
class Outcome:
    """How a command of notus ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def mistake(self) -> str:
        """The one line that a user's mistake ends in, after warnings if there were any."""
        assert self.code == 2, self.err
        *warnings, line = self.err.strip().splitlines() or [""]
        assert all(one.startswith("warning: ") for one in warnings), self.err
        assert line.startswith("notus: ")
        return line


Cli = Callable[..., Outcome]


def fresh(*arguments: object, cwd: Path, **env: str) -> Outcome:
    """Run notus in a process of its own, as a user would."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    ended = subprocess.run(
        [sys.executable, "-m", "notus", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)
