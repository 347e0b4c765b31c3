"""The project's tasks: `nox -l` lists them. All share one environment, `.nox/notus`, installed once.

What follows `--` goes on to the command: `nox -s train -- recipe.yaml --set max_steps=8`.
"""

import hashlib
import os
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.stop_on_first_error = True
nox.options.sessions = ["lint", "typecheck", "tests"]

ROOT = Path(__file__).parent
ENVIRONMENT = ROOT / ".nox" / "notus"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
TORCH = "torch==2.13.0"
# Idle OpenMP threads that spin make torch several times slower where other work shares the cores.
CALM = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    run(session, "mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests: the fast ones, then the slow ones."""
    if session.posargs:
        run(session, "pytest", *session.posargs)
        return
    run(session, "pytest", "-m", "not slow")
    run(session, "pytest", "-m", "slow")


@nox.session
def parity(session: nox.Session) -> None:
    """Hold the zephyr recipe against the 2023 stack, installed beside ours; `-- --rows FILE` adds rows of yours."""
    install(session)
    judge = install_2023(session)
    out = ROOT / ".nox" / "parity"
    run(session, "python", "-m", "tests.parity", "--judge", judge, "--out", str(out), *session.posargs)
    run(session, "pytest", "tests/parity/mutations.py", "--parity", str(out))


@nox.session
def train(session: nox.Session) -> None:
    """Train a recipe (default: the embedded one)."""
    run(session, "notus", "train", *session.posargs)


@nox.session
def merge(session: nox.Session) -> None:
    """Merge the adapter of a run into its base."""
    run(session, "notus", "merge", *session.posargs)


@nox.session
def card(session: nox.Session) -> None:
    """Write the model cards of a run."""
    run(session, "notus", "card", *session.posargs)


@nox.session
def publish(session: nox.Session) -> None:
    """Publish a run and tag it (default: the embedded recipe, on the embedded Hub)."""
    run(session, "notus", "publish", *session.posargs)


def run(session: nox.Session, command: str, *arguments: str) -> None:
    """Run a command of the shared environment."""
    install(session)
    session.run(str(BIN / command), *arguments, env=CALM, external=True)


def install(session: nox.Session) -> None:
    """Install Notus, its tests and its tools, unless the environment holds just that already."""
    settings = (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
    install_once(session, ENVIRONMENT, settings, [["--editable", ".", "--group", "dev", "--group", "test"]])


def install_2023(session: nox.Session) -> str:
    """Install the 2023 stack, and return its Python."""
    environment = ROOT / ".nox" / "2023"
    files = [
        ROOT / "tests" / "parity" / name for name in ("requirements-2023.txt", "requirements-2023-nodeps.txt")
    ]
    settings = b"".join(file.read_bytes() for file in files)
    install_once(session, environment, settings, [["-r", str(files[0])], ["--no-deps", "-r", str(files[1])]])
    return str(environment / BIN.name / "python")


def install_once(
    session: nox.Session, environment: Path, settings: bytes, requirements: list[list[str]]
) -> None:
    """Make an environment with torch and what pip is asked for, unless it was made of the same `settings`."""
    if sys.version_info[:2] != (3, 11):
        session.error(
            f"Notus runs on Python 3.11, and nox runs on {sys.version.split()[0]}: install nox there"
        )
    stamp, wanted = environment / "installed", hashlib.sha256(settings).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    python = str(environment / BIN.name / "python")
    session.run(sys.executable, "-m", "venv", "--clear", str(environment), external=True)
    session.run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip", external=True)
    # torch first and alone: a wheel of it that is at hand is then kept by all that needs torch.
    for arguments in ([TORCH], *requirements):
        session.run(python, "-m", "pip", "install", "--quiet", *arguments, external=True)
    stamp.write_text(wanted, encoding="utf-8")
