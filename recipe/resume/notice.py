"""The notice that a process will be ended, and the little time it leaves: GCP gives a spot machine 30 seconds."""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

from recipe.errors import ending_signals, signals_given

ENDING_SECONDS = 20.0  # that a rank has to end by itself after a notice, whatever it waits for
LOOK_SECONDS = 0.2


class EndedError(Exception):
    """A training was ended from outside, in the middle of a step, whose gradient is given up.

    Attributes:
        number: The signal that this process has got; None: another rank has.
    """

    def __init__(self, number: int | None = None) -> None:
        super().__init__(f"ended by signal {number}" if number else "ended by another rank")
        self.number = number


class Notice:
    """Takes the signals that end a process, so that training can end where its state is whole.

    Args:
        alone: Whether nobody else passes signals on to this process. A second one ends it at once then.
    """

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self._before: dict[signal.Signals, object] = {}
        self.number: int | None = None

    @property
    def given(self) -> bool:
        """Whether a signal has come."""
        return self.number is not None

    def __enter__(self) -> "Notice":
        if signals_given:  # before training began, and it got lost
            self.number = signals_given[0]
        if threading.current_thread() is threading.main_thread():  # where alone signals can be taken
            self._before = {number: signal.signal(number, self._take) for number in ending_signals()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as it was returned

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.number is None:
            self.number = number
        elif self._alone:
            sys.stderr.write(f"notus: ended at once by a second {signal.Signals(number).name}\n")
            sys.stderr.flush()
            os._exit(128 + number)


@contextmanager
def ending_with(parent: int, ended: Path) -> Iterator[None]:
    """End this process, a rank, with the one that started it; and soon after a notice, whatever it waits for.

    A rank that waits for another one in an exchange can't run Python's handlers, so a thread does it.

    Args:
        parent: The process that started it. Should it be gone, or have been gone already, this one ends at once.
        ended: A file that rank 0 makes once it has saved what there is to save.
    """
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    before = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    try:
        gone = os.pidfd_open(parent)
    except ProcessLookupError:
        os._exit(1)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_end, args=(gone, woken, ended), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        wakes.close()


def _end(gone: int, woken: socket.socket, ended: Path) -> None:
    deadline, number = None, 0
    while True:
        wait = None if deadline is None else LOOK_SECONDS
        found, _, _ = select.select([gone, woken.fileno()], [], [], wait)
        if gone in found:
            os._exit(1)
        if woken.fileno() in found:
            got = woken.recv(64)
            if not got:  # the block is left
                return
            last = got[-1]
            if last in ending_signals() and deadline is None:
                deadline, number = time.monotonic() + ENDING_SECONDS, last
        if deadline is not None and (ended.exists() or time.monotonic() > deadline):
            time.sleep(2 * LOOK_SECONDS)  # this process may be ending in good order
            os._exit(128 + number)
