"""Work on the next chunk while this one is still in use: the libraries let other threads run."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar, cast

T = TypeVar("T")
P = ParamSpec("P")

_END: Any = object()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield `items` in their order, the next one made in a thread of its own meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, items, _END)
            yield cast(T, item)


class Behind:
    """Does things in their order in a thread of its own, one while the next one is got ready.

    As a context it waits for the last one.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[object] | None = None

    def do(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Begin to work once what was begun before has ended; what that raised is raised here."""
        self.wait()
        self._last = self._pool.submit(work, *args, **kwargs)

    def wait(self) -> None:
        """Wait for what was begun, and raise what it raised."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> "Behind":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
