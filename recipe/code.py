"""Which commit the code is of: what a stage was made by, and what a release is of."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe.schema import is_commit

ROOT = Path(__file__).parent.parent
REVISION, TAGGED = "NOTUS_REVISION", "NOTUS_TAGGED"
# They lead git elsewhere than to the code: a hook, say, sets them to the repository that it is a hook of.
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")


@dataclass(frozen=True)
class Code:
    """The code that runs.

    Attributes:
        commit: 40 hex digits; None if nothing says which: an installed wheel, an image built by hand.
        changed: The files that are not as committed, those that git neither has nor ignores among them; None if
            nothing says which.
    """

    commit: str | None = None
    changed: tuple[str, ...] | None = None

    @property
    def clean(self) -> bool | None:
        """Whether the code is that of its commit; None if it is not known."""
        return None if self.changed is None else not self.changed

    def entry(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {"commit": self.commit, "clean": self.clean}


def code_of(root: Path = ROOT) -> Code:
    """Return what the code in a folder is: by the image that this is, or by the git checkout that has it."""
    if REVISION in os.environ:
        # An image is built from a commit's files alone.
        return Code(os.environ[REVISION], ()) if is_commit(os.environ[REVISION]) else Code()
    # Only of a checkout that has this very code: a wheel's may lie within anybody's.
    if _git(root, "ls-files", "--error-unmatch", Path(__file__).relative_to(ROOT).as_posix()) is None:
        return Code()
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    # Whatever this user has set: what git is told not to look at is not known to be as committed.
    status = _git(
        root,
        "status",
        "--porcelain",
        "-z",
        "--no-renames",
        "--untracked-files=normal",
        "--ignore-submodules=none",
    )
    if commit is None or status is None:
        return Code()
    return Code(commit.strip(), tuple(line[3:] for line in status.split("\0") if line))


def commit_of_tag(tag: str, root: Path = ROOT) -> str | None:
    """Return the commit that git has a tag of that name at, or None; an image is told by who starts it."""
    if REVISION in os.environ:
        return os.environ.get(TAGGED) or None
    found = _git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
    return found.strip() if found else None


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says in a folder; None if it refuses, or is not there."""
    environment = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            # No index is refreshed on the way: where the code lies this may be nobody's to write.
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # a file's name may be any bytes
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return ended.stdout
