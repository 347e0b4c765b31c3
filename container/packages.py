"""Whether the installed packages are those of the lock."""

import importlib.metadata
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCK = "requirements.lock"
ROOT = Path(__file__).parent.parent  # beside notus.py, in a clone


@dataclass(frozen=True)
class Packages:
    """Packages beside a lock.

    Attributes:
        lock: The lock; None: there is none.
        as_locked: How many are installed in the locked version.
        differing: `name: installed X, locked Y`, by name.
        missing: `name: not installed, locked Y`, by name.
        trouble: Why the lock can't be read.
    """

    lock: Path | None = None
    as_locked: int = 0
    differing: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    trouble: str | None = None


def read_packages(prefix: Path | None = None, root: Path = ROOT) -> Packages:
    """Compare what is installed with the image's lock, or with the clone's.

    The image has all that its lock names. An environment beside a clone needs what Notus, as it is installed there,
    depends on: with the CPU build of torch, no package of CUDA's; and nothing that only builds.

    Args:
        prefix: The environment whose lock comes first; None: this one.
        root: Where a clone has its lock.
    """
    image_s = (prefix or Path(sys.prefix)) / LOCK
    lock = next((path for path in (image_s, root / LOCK) if path.is_file()), None)
    if lock is None:
        return Packages()
    try:
        locked, installed = locked_versions(lock), _installed()
    except (OSError, ValueError, StopIteration) as error:  # InvalidRequirement is a ValueError
        return Packages(lock, trouble=str(error).partition("\n")[0] or "a package without a version")
    looked_at = set(locked) if lock == image_s else _needed(installed) or set(installed)
    same, differing, missing = 0, [], []
    for name in sorted(looked_at & set(locked)):
        if name not in installed:
            missing.append(f"{name}: not installed, locked {locked[name]}")
        # Without the local part: 2.13.0+cpu and 2.13.0 are two builds of one torch.
        elif Version(installed[name].version).public != locked[name].public:
            differing.append(f"{name}: installed {installed[name].version}, locked {locked[name]}")
        else:
            same += 1
    return Packages(lock, same, tuple(differing), tuple(missing))


def locked_versions(lock: Path) -> dict[str, Version]:
    """Return the version of each package of a lock, from the lines that hold `name==version`.

    Raises:
        ValueError: A line is no requirement.
        StopIteration: A package has no version.
    """
    lines = (line for line in lock.read_text(encoding="utf-8").splitlines() if line[:1].isalnum())
    pins = [Requirement(line.removesuffix("\\")) for line in lines]
    return {canonicalize_name(pin.name): Version(next(iter(pin.specifier)).version) for pin in pins}


def _installed() -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # None: what an uninstallation that was cut off has left
            found.setdefault(canonicalize_name(name), distribution)  # the first is the one that is imported
    return found


def _needed(installed: dict[str, Distribution]) -> set[str]:
    """Return what Notus depends on, and what that depends on; nothing if it is not installed but lies on the path."""
    found: set[str] = set()
    ahead: list[tuple[str, Iterable[str]]] = [("notus", ())]
    done: set[tuple[str, str]] = set()
    while ahead:
        name, extras = ahead.pop()
        distribution = installed.get(name)
        for extra in {"", *extras}:
            if distribution is None or (name, extra) in done:
                continue
            done.add((name, extra))
            for text in distribution.requires or ():
                requirement = Requirement(text)
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    needed = canonicalize_name(requirement.name)
                    found.add(needed)
                    ahead.append((needed, requirement.extras))
    return found
