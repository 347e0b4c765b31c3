"""Collections on disk: DIR/collections/<24 hex digits>.json, one each; two may have the same title, as on the Hub."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import Any

from filelock import FileLock

from publish.localhub.errors import CollectionNotFoundError

Fields = dict[str, Any]


class Collections:
    """All collections of a Hub."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "collections"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(root / "collections.lock", thread_local=False)

    def get(self, id_: str) -> Fields:
        """Return a collection by its id.

        Raises:
            CollectionNotFoundError: there is none.
        """
        try:
            held: Fields = json.loads((self.folder / f"{id_}.json").read_text())
        except FileNotFoundError:
            raise CollectionNotFoundError("Collection not found") from None
        return held

    def all(self) -> list[Fields]:
        """Return all, the one that changed last first."""
        found = []
        for path in self.folder.glob("*.json"):
            with suppress(CollectionNotFoundError):  # deleted meanwhile
                found.append(self.get(path.stem))
        return sorted(found, key=lambda held: -held["updated"])

    def create(self, held: Fields) -> None:
        """Keep a new one, whole or not at all."""
        with self._lock:
            self._write(held)

    @contextmanager
    def changing(self, id_: str) -> Iterator[Fields]:
        """Give a collection to change, alone; it is kept if nothing is raised.

        Raises:
            CollectionNotFoundError: there is none.
        """
        with self._lock:
            held = self.get(id_)
            yield held
            held["updated"] = time()
            self._write(held)

    def delete(self, id_: str) -> None:
        """Delete a collection, not what is in it.

        Raises:
            CollectionNotFoundError: there is none.
        """
        with self._lock:
            self.get(id_)
            (self.folder / f"{id_}.json").unlink()

    def _write(self, held: Fields) -> None:
        aside = self.folder / f"{held['id']}.aside"
        aside.write_text(json.dumps(held))
        aside.replace(self.folder / f"{held['id']}.json")
