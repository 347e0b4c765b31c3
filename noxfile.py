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
    if sys.version_info[:2] != (3, 11):
        session.error(
            f"Notus runs on Python 3.11, and nox runs on {sys.version.split()[0]}: install nox there"
        )
    settings = (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
    stamp, wanted = ENVIRONMENT / "installed", hashlib.sha256(settings).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    python = str(BIN / "python")
    session.run(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT), external=True)
    session.run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip", external=True)
    # torch first and alone: a wheel of it that is at hand is then kept by all that needs torch.
    session.run(python, "-m", "pip", "install", "--quiet", TORCH, external=True)
    arguments = ("--quiet", "--editable", ".", "--group", "dev", "--group", "test")
    session.run(python, "-m", "pip", "install", *arguments, external=True)
    stamp.write_text(wanted, encoding="utf-8")
