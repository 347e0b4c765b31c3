"""Lines that are only ever added to a file, each on the disk before it counts: what outlives a kill at any moment."""

import contextlib
import errno
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Ledger:
    """JSON objects by key, a line each. Of a key the first one counts; a line that was cut short never does.

    Safe for many threads of one process; a run folder's lock keeps other processes out.

    Args:
        path: The file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._entries: dict[str, Mapping[str, Any]] = {}
        if path.is_file():
            self._read()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: str) -> Mapping[str, Any] | None:
        """Return what was kept by a key."""
        return self._entries.get(key)

    def add(self, key: str, entry: Mapping[str, Any]) -> None:
        """Keep an entry, once and for all: it is on the disk when this returns.

        Raises:
            OSError: The disk is full, or can't be written.
        """
        line = (json.dumps({"key": key, **entry}, ensure_ascii=False, allow_nan=False) + "\n").encode()
        with self._lock:
            if key in self._entries:
                return
            with self.path.open("ab", buffering=0) as file:
                begin = file.tell()
                try:
                    written = file.write(line)
                    if written < len(line):  # a disk that is just full takes a part of it, without a word
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                    os.fsync(file.fileno())
                except OSError:
                    with contextlib.suppress(OSError):
                        file.truncate(begin)  # what another thread adds is not to go on in this line
                    raise
            self._entries[key] = dict(entry)

    def _read(self) -> None:
        kept = 0
        with self.path.open("rb+") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    file.truncate(kept)  # or the next line would go on in this one
                    break
                kept += len(line)
                try:
                    entry = json.loads(line)
                    key = entry.pop("key")
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue  # a full disk's: as if it had not been written
                self._entries.setdefault(key, entry)
