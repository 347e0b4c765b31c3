"""Ends a training that is stuck: waiting for data, for another rank, for a network that is gone."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OTHERS_SECONDS = 3.0  # that the other ranks have to find the same, and to show their stacks


class Watchdog:
    """Ends the process if nothing was done for too long.

    Args:
        seconds: How long a micro-batch or an exchange between ranks may take.
        stuck: Is called before the process ends.
        code: It ends with this one.
        name: Of the process, in what it says.
    """

    def __init__(self, seconds: float, stuck: Callable[[], None], *, code: int, name: str) -> None:
        self.seconds, self.code, self.name = seconds, code, name
        self._stuck = stuck
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
                self._end()

    def _end(self) -> None:
        sys.stderr.write(f"\n{self.name}: nothing was done for {self.seconds:g} s; its stack:\n")
        sys.stderr.flush()
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        self._stuck()
        self._stopped.wait(OTHERS_SECONDS)
        os._exit(self.code)
