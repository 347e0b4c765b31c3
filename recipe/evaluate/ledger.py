"""Lines that are only ever added to a file, each on the disk before it counts: what outlives a kill at any moment."""

import contextlib
import errno
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipe.disk import write_text


class Ledger:
    """JSON objects by key, a line each. Of a key the first one counts; a line that was cut short never does.

    Safe for many threads of one process; a run folder's lock keeps other processes out.

    Args:
        path: The file; it need not be there.
        before: Another one that may be there, of a time before: what is in it is kept too.
    """

    def __init__(self, path: Path, before: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._entries: dict[str, Mapping[str, Any]] = {}
        if path.is_file():
            self._cut()
            self._read(path)
        if before is not None and before.is_file():
            self._read(before)

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[Mapping[str, Any]]:
        """Return all that was kept."""
        return list(self._entries.values())

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

    def write_all(self, path: Path) -> None:
        """Write all that was kept to a file of its own, in the order of keys: a ledger again.

        What nobody asked for this time is in it too: another judge's answers were paid for, and may be asked for again.
        """
        entries = ({"key": key, **self._entries[key]} for key in sorted(self._entries))
        write_text(path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))

    def _cut(self) -> None:
        """Cut off the end of a line that was not written whole: the next one would go on in it."""
        with self.path.open("rb+") as file:
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)

    def _read(self, path: Path) -> None:
        for line in path.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
                key = entry.pop("key")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # a full disk's: as if it had not been written
            if not isinstance(key, str):
                continue
            self._entries.setdefault(key, entry)
