"""What an answer is worth to the task `smoke_answer`."""

from collections.abc import Mapping, Sequence
from typing import Any


def right(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return whether the right words are in an answer."""
    return {"right": float(doc["answer"].casefold() in results[0].casefold())}
