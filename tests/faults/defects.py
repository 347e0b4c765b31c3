"""Ways to publish wrongly."""

from collections.abc import Callable

DEFECTS: dict[str, Callable[[], object]] = {}
