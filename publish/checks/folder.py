"""The files of a repository as they came: their names, hashes, and texts, none of them trusted.

Whoever made the files may have meant to harm who looks at them. So texts are read up to a size, JSON has a depth
and every key once, and a name is shown with its odd characters escaped.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from publish.contents import FileHash, hash_file

# The Hub's own file, and the client's folder where it keeps notes of what it downloaded.
IGNORED = {".gitattributes", ".cache"}
MOST_FILES = 10_000
LARGEST_TEXT = 32 << 20  # bytes; the largest text that a release has is a tokenizer
DEEPEST = 64  # of JSON


class BadFileError(Exception):
    """A file is not what a release has under its name.

    Args:
        file: Its path in the repository.
        said: What is wrong with it, as one line without its name.
    """

    def __init__(self, file: str, said: str) -> None:
        super().__init__(f"{file}: {said}")
        self.file = file
        self.said = said


class NotCheckedError(Exception):
    """A check can't be done; the message says for want of what."""


@dataclass(frozen=True)
class Fault:
    """What a check found wrong, as one line, and in which file."""

    said: str
    file: str | None = None


class Folder:
    """A folder with a repository's files; links to files are followed, links to folders are not.

    Attributes:
        files: Where each lies, by its path in the repository, in order.
        faults: What lies there and is no file that a repository can have.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, Path] = {}
        self.faults: list[Fault] = []
        self._hashes: dict[str, FileHash] = {}
        found: dict[str, Path] = {}
        for top, folders, names in os.walk(path, onerror=_not_read):
            here = Path(top)
            if here == path:
                folders[:] = [name for name in folders if name not in IGNORED]
                names = [name for name in names if name not in IGNORED]  # noqa: PLW2901
            links = [name for name in folders if (here / name).is_symlink()]
            found |= {(here / name).relative_to(path).as_posix(): here / name for name in (*names, *links)}
        for name, file in sorted(found.items()):
            if not file.is_file():
                self.faults.append(Fault("no regular file (a broken link, or a link to a folder)", name))
            elif not is_plain_name(name):
                self.faults.append(Fault("not a name that a release has", name))
            self.files |= {name: file} if file.is_file() else {}

    def hash(self, name: str) -> FileHash:
        """Return what identifies a file's content; it is read once."""
        if name not in self._hashes:
            self._hashes[name] = hash_file(self.files[name])
        return self._hashes[name]

    def text(self, name: str, largest: int = LARGEST_TEXT) -> str:
        """Return a file's text of at most `largest` bytes.

        Raises:
            BadFileError: It is not there, larger, or not UTF-8.
        """
        if name not in self.files:
            raise BadFileError(name, "missing")
        with self.files[name].open("rb") as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            raise BadFileError(name, f"larger than {largest / 1e6:,.1f} MB, not read")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise BadFileError(name, "not UTF-8 text") from None

    def json(self, name: str, largest: int = LARGEST_TEXT) -> Any:
        """Return what a JSON file holds.

        Raises:
            BadFileError: It is not there, too large, too deep, not JSON, or has a key twice.
        """
        text = self.text(name, largest)
        try:
            return parse_json(text)
        except ValueError as error:
            raise BadFileError(name, f"not JSON ({error})") from None

    def json_object(self, name: str, largest: int = LARGEST_TEXT) -> dict[str, Any]:
        """Return the object that a JSON file holds.

        Raises:
            BadFileError: As of `json`, or it holds something else.
        """
        value = self.json(name, largest)
        if not isinstance(value, dict):
            raise BadFileError(name, "not a JSON object")
        return value


def parse_json(text: str) -> Any:
    """Return what JSON says where there is one way to read it.

    Raises:
        ValueError: It is not JSON, has a key twice, NaN or Infinity, or is nested deeper than `DEEPEST`.
    """
    try:
        value = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return value
    raise ValueError("nested too deeply")


def is_plain_name(name: str) -> bool:
    """Whether a path stays in its repository and means the same to every system."""
    parts = PurePosixPath(name).parts
    return (
        0 < len(name) <= 512
        and name.isprintable()
        and not set(name) & set('\\:*?"<>|')
        and name == "/".join(parts)
        and not {"..", "/"} & set(parts)
    )


def printable(text: str, longest: int = 200) -> str:
    """Return a text that a terminal shows as it is: one line, odd characters escaped, cut where it is long."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in found if keys.count(key) > 1)!r} comes twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


def _not_read(error: OSError) -> NoReturn:
    raise error


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
