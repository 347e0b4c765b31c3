"""Values out of a result file that may have been edited: each as it has to be, or one line that says what is not."""

from typing import Any, TypeGuard

from recipe.errors import UserError

MEASURE = "measure again with `notus evaluate`, or remove it"
LARGEST = 1e300
"""From here on a number is as good as infinite: sums of a few leave the range."""

Part = dict[str, Any]


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of JSON's is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value of JSON's is a number that can be counted with."""
    return is_number(value) and abs(value) < LARGEST


class Reading:
    """Takes values by keys out of an object of a file.

    Args:
        file: As a message calls it.
        what: The object, as a message calls it.
        part: The object itself.

    Raises:
        UserError: By each method: a value is not there, or is another kind of thing.
    """

    def __init__(self, file: str, what: str, part: object) -> None:
        self.file, self.what = file, what
        if not isinstance(part, dict):
            raise UserError(f"{file}: {what} is not as Notus writes it; {MEASURE}")
        self._part: Part = part

    def any(self, key: str) -> Any:
        """Return whatever is there."""
        if key not in self._part:
            raise UserError(f"{self.file}: {self.what} has no {key}; {MEASURE}")
        return self._part[key]

    def text(self, key: str) -> str:
        """Return a text."""
        value = self.any(key)
        return value if isinstance(value, str) else self._odd(key)

    def text_or_none(self, key: str) -> str | None:
        """Return a text; None if there is none."""
        return self.text(key) if self._part.get(key) is not None else None

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self.any(key)
        return value if is_finite(value) else self._odd(key)

    def number_or_none(self, key: str) -> float | None:
        """Return a finite number; None if there is none."""
        return self.number(key) if self._part.get(key) is not None else None

    def count(self, key: str) -> int:
        """Return a whole number from 0 on."""
        value = self.number(key)
        return value if isinstance(value, int) and value >= 0 else self._odd(key)

    def count_or_none(self, key: str) -> int | None:
        """Return a whole number from 0 on; None if there is none."""
        return self.count(key) if self._part.get(key) is not None else None

    def switch(self, key: str) -> bool:
        """Return whether something is so."""
        value = self.any(key)
        return value if isinstance(value, bool) else self._odd(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; an empty one if there is none."""
        found = self._part.get(key)
        if not isinstance(found or [], list) or not all(isinstance(one, str) for one in found or []):
            self._odd(key)
        return tuple(found or ())

    def inner(self, key: str) -> "Reading":
        """Return an object in it."""
        return Reading(self.file, f"{self.what}'s {key}", self.any(key))

    def inner_or_none(self, key: str) -> "Reading | None":
        """Return an object in it; None if there is none, or nothing in it."""
        return self.inner(key) if self._part.get(key) not in (None, {}) else None

    def several(self, key: str) -> "list[Reading]":
        """Return a list of objects in it; an empty one if there is none."""
        found = self._part.get(key)
        if not isinstance(found or [], list):
            self._odd(key)
        return [Reading(self.file, f"{self.what}'s {key}", one) for one in found or []]

    def bounded(self, key: str) -> tuple[float, float | None, float | None]:
        """Return a list of a value and the bounds of its interval, if it has one."""
        found = self.any(key)
        if not isinstance(found, list) or len(found) != 3:
            self._odd(key)
        value, *bounds = found
        if not is_finite(value) or not all(one is None or is_finite(one) for one in bounds):
            self._odd(key)
        low, high = bounds
        return value, low, high

    def _odd(self, key: str) -> Any:
        raise UserError(f"{self.file}: {key} of {self.what} is not as Notus writes it; {MEASURE}")
