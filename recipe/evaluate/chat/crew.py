"""Threads that do one thing after the other, until there is no more or one has failed."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SECONDS_TO_END = 5.0  # of what is under way when the command is to end
SECONDS_A_LOOK = 0.5  # a wait without an end was seen not to be woken by a signal


class StoppedError(Exception):
    """What a thread may end in once it was told to stop."""


def each(things: Iterable[T], do: Callable[[T], None], *, size: int, stop: threading.Event) -> Iterator[None]:
    """Do each thing in one of some threads; yield here whenever one is done.

    The threads are daemons: a command that is to end waits a little for what they are at, and then no more.

    Args:
        things: What there is to do.
        do: Does one.
        size: Threads at most.
        stop: Set when one has failed, or nobody looks any more: what is under way is ended, and nothing begun.

    Raises:
        BaseException: The first failure, once what was under way has ended.
    """
    todo: queue.SimpleQueue[T] = queue.SimpleQueue()
    for thing in things:
        todo.put(thing)
    done: queue.SimpleQueue[BaseException | bool] = queue.SimpleQueue()

    def work() -> None:
        try:
            while not stop.is_set():
                do(todo.get_nowait())
                done.put(True)
        except queue.Empty:
            pass
        except BaseException as error:
            stop.set()
            done.put(error)
        finally:
            done.put(False)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(size, todo.qsize()))]
    for thread in threads:
        thread.start()
    working, failed = len(threads), []
    try:
        while working:
            try:
                came = done.get(timeout=SECONDS_A_LOOK)
            except queue.Empty:
                continue
            if came is True:
                yield
            elif came is False:
                working -= 1
            elif not isinstance(came, StoppedError):
                failed.append(came)
    finally:
        stop.set()
        until = time.monotonic() + SECONDS_TO_END
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
    if failed:
        raise failed[0]
