"""The project's tasks: `nox -l` lists them. All share one environment, installed once."""

import hashlib
from pathlib import Path

import nox

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typecheck", "tests"]

SHARED = ".nox/notus"
TORCH = "torch==2.13.0"


def install(session: nox.Session) -> None:
    """Install Notus and what its tasks need, unless this environment has just that."""
    root = Path(__file__).parent
    settings = (root / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
    stamp = Path(session.virtualenv.location) / "notus-installed"
    wanted = hashlib.sha256(settings).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    session.install(TORCH)  # first and alone, so that a local wheel is not passed over for a larger one
    session.install("--editable", ".", "--group", "dev", "--group", "test")
    stamp.write_text(wanted)


def task(**options: object) -> object:
    """Declare a session in the shared environment."""
    return nox.session(venv_location=SHARED, **options)  # type: ignore[call-overload]
