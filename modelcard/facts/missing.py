"""Artifacts that are read for a card; what is not in them has a name."""

import json
from pathlib import Path
from typing import Any

from recipe.errors import UserError
from recipe.run import Run

MEND = "make the run anew, in another folder"  # an older Notus made it, or somebody removed it


class MissingFactError(UserError):
    """A card needs a fact whose artifact the run does not have."""


def missing(what: str, where: str = "this run", needs: str = "the card") -> MissingFactError:
    """Return the error that says which fact is missing, where it should be, and what needs it."""
    return MissingFactError(f"{needs} needs {what}, which {where} does not have; {MEND}")


class Artifact:
    """A JSON file that a stage wrote.

    Args:
        run: The run.
        parts: Where it lies in the run folder.

    Raises:
        MissingFactError: It is not there.
    """

    def __init__(self, run: Run, *parts: str) -> None:
        self.name = parts[-1]
        self._content = json.loads(read_text(run.path(*parts)))

    def __call__(self, *keys: str) -> Any:
        """Return what lies under `keys`, one below the other.

        Raises:
            MissingFactError: Nothing does.
        """
        found = self._content
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                raise missing(".".join(keys), self.name)
            found = found[key]
        return found


def read_text(path: Path) -> str:
    """Return an artifact's text.

    Raises:
        MissingFactError: The file is not there.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise missing(path.name) from None


def stage_of(run: Run, name: str) -> dict[str, Any]:
    """Return the manifest's entry of a stage.

    Raises:
        MissingFactError: The stage was not done.
    """
    entry = run.done(name)
    if entry is None:
        raise missing(f"the stage {name}", "this run's manifest")
    return entry
