"""What a file of results holds, whoever wrote it, and whose run it is asked of."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipe.evaluate.result import Content
from recipe.evaluate.subject import Weights
from recipe.run import Run


@dataclass(frozen=True)
class Source:
    """A file.

    Attributes:
        path: Where it lies.
        content: What it says: of JSON the value, of JSON Lines and CSV the rows.
        sha256: Of its bytes.
        date: That its name has, as lm-eval names its files, in seconds since 1970; None: it has none.
    """

    path: Path
    content: Any
    sha256: str
    date: float | None

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Asked:
    """What the user says of the files.

    Attributes:
        run: That they are taken into.
        weights: Whose figures they have; None: the files say it.
        called: What the model is called in them; None: as it is known to the run.
    """

    run: Run
    weights: Weights | None
    called: str | None


@dataclass(frozen=True)
class Found:
    """Results, as they go into the run.

    Attributes:
        suite: That would have measured them.
        weights: Whose they are.
        was: What the file was.
        content: As lm-eval writes it today.
        by: Who measured: `name`, `version` and `url`, as far as it is known.
        data: By task, as `recipe.evaluate.result` has it.
        judge: Who judged, likewise.
        details: What else there is.
        intervals: By task and figure.
    """

    suite: str
    weights: Weights
    was: str
    content: Content
    by: Mapping[str, str]
    data: Mapping[str, Any] = field(default_factory=dict)
    judge: Mapping[str, Any] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    intervals: Mapping[str, Any] = field(default_factory=dict)


def is_number(value: object) -> bool:
    """Whether a value of JSON's is a number, be it NaN or infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a value of JSON's is a number that can be counted with."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False
