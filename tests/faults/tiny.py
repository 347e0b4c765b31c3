"""A finished run so small that it is released in a second; made once, kept under a folder."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support import ROOT
from tests.tiny import write_tiny

VERSION = "v0.1.0"
# What makes the run: another version of it makes another run.
MADE_OF = ("recipe", "modelcard", "publish", "commandline")


def tiny_run(cache: Path) -> tuple[Path, Path]:
    """Return recipe and run folder, made now unless the code that makes them is what it was.

    Not to be written to: each release is made of a copy.
    """
    made_of = hashlib.sha256(Path(__file__).read_bytes() + (ROOT / "tests" / "tiny.py").read_bytes())
    for package in MADE_OF:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in {".py", ".yaml", ".j2"}:
                made_of.update(path.read_bytes())
    folder = (cache / made_of.hexdigest()[:16]).resolve()
    done = folder / "done"
    if not done.is_file():
        shutil.rmtree(cache, ignore_errors=True)
        folder.mkdir(parents=True)
        _python(folder, "-m", "tests.faults.tiny", str(folder))
        _python(folder, "-m", "notus", "card", "tiny.yaml", "--run", "run", "--quiet")
        done.touch()
    return folder / "tiny.yaml", folder / "run"


def copy_run(run: Path, to: Path) -> Path:
    """Copy a run folder, by hard links where both are on one disk: nobody writes into a file that is there.

    The times of the files are kept: by them the manifest knows that nothing has changed.
    """
    shutil.copytree(run, to, copy_function=_link, ignore=shutil.ignore_patterns(".lock", "release.json"))
    return to


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def made_anew(folder: Path) -> Iterator[Path]:
    """Give an empty folder, which goes after."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _python(cwd: Path, *arguments: str) -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, check=True)


def _write(folder: Path) -> None:
    write_tiny(
        folder,
        {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1},
        max_steps=2,
        version=VERSION,
        collection="Tiny",
    )


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
