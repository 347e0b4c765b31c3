"""Ends a training that is stuck: waiting for data, for another rank, for a network that is gone."""

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

OTHERS_SECONDS = 3.0  # that the other ranks have to find the same, and to show their stacks


def wake_siblings() -> None:
    """Have the other ranks of this machine go on if they were stopped, so that they show their stacks and end.

    A stopped process takes no other signal: torchrun would wait for it, and end it by force.
    """
    with contextlib.suppress(psutil.Error):
        for each in psutil.Process(os.getppid()).children():
            if each.pid != os.getpid():
                with contextlib.suppress(psutil.Error):
                    each.resume()


class Watchdog:
    """Ends the process if nothing was done for too long.

    Args:
        seconds: How long a micro-batch or an exchange between ranks may take.
        stuck: Is called before the process ends.
        code: It ends with this one.
        name: Of the process, in what it says.
        others: Says whether another rank is stuck: this one then shows its stack as well, and ends.
    """

    def __init__(
        self,
        seconds: float,
        stuck: Callable[[], None],
        *,
        code: int,
        name: str,
        others: Callable[[], bool] | None = None,
    ) -> None:
        self.seconds, self.code, self.name = seconds, code, name
        self._stuck, self._others = stuck, others
        self._idle = 0.0
        self._stopped = threading.Event()

    def pulse(self) -> None:
        """Take note that something was done."""
        self._idle = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what happens in the block."""
        self._idle = 0.0
        self._stopped.clear()
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _watch(self) -> None:
        every = min(1.0, self.seconds / 10)
        before = time.monotonic()
        while not self._stopped.wait(every):
            now = time.monotonic()
            # A process that was stopped as a whole, or a machine that slept, is not stuck.
            self._idle += min(now - before, 2 * every)
            before = now
            if self._idle > self.seconds:
                self._show(f"nothing was done for {self.seconds:g} s")
                self._stuck()
                self._end()
            elif self._others and self._others():
                self._show("another rank waits")
                self._end()

    def _show(self, why: str) -> None:
        sys.stderr.write(f"\n{self.name}: {why}; its stack:\n")
        sys.stderr.flush()
        faulthandler.dump_traceback(sys.stderr, all_threads=True)

    def _end(self) -> None:
        self._stopped.wait(OTHERS_SECONDS)
        os._exit(self.code)
