"""Rows out of JSONL, JSON arrays and Parquet, one after the other, each with its place."""

import codecs
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from recipe.curate.files import SUFFIXES
from recipe.curate.pair import Row, kind
from recipe.errors import UserError

_CHUNK = 1 << 20  # characters of an array, or bytes to hash, taken at a time
_BATCH = 1024  # Parquet rows held at a time


class Place(NamedTuple):
    """Where a row stands: `number` counts lines, items of an array or rows of a table from 1."""

    path: Path
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.path}, {self.unit} {self.number}"


@dataclass(frozen=True)
class Source:
    """A data file and what it is called in reports, where the path on one machine says nothing."""

    path: Path
    name: str

    def rows(self) -> Iterator[tuple[Place, Row]]:
        """Yield the rows with their places, holding few of them at a time.

        Raises:
            UserError: The file is missing, of an unknown format, broken, not UTF-8, or holds something else
                than objects; the message names the place.
        """
        self.check()
        if self.path.suffix == ".parquet":
            unit, values = "row", _parquet(self.path)
        elif self._is_array():
            unit, values = "item", _array(self.path)
        else:
            unit, values = "line", _lines(self.path)
        for number, value in values:
            place = Place(self.path, unit, number)
            if not isinstance(value, dict):
                raise UserError(f"{place}: {kind(value)}, but a row is an object with named columns; mend it")
            yield place, value

    def check(self) -> None:
        """Raise UserError if there is no such file, or none that can be read."""
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such file; check the path in the recipe")
        if self.path.suffix not in SUFFIXES:
            raise UserError(f"{self.path}: unknown file format; convert it to one of {', '.join(SUFFIXES)}")
        try:
            with self.path.open("rb"):
                pass
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be read ({error.strerror}); check its permissions"
            ) from error

    def survey(self) -> tuple[str, int | None]:
        """Return the SHA-256 and about how many rows there are, None if only reading them would tell."""
        self.check()
        sha256, lines = hashlib.sha256(), 0
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
                lines += chunk.count(b"\n")
        if self.path.suffix == ".parquet":
            rows: int | None = _open_parquet(self.path).metadata.num_rows
        else:
            rows = None if self._is_array() else lines
        return sha256.hexdigest(), rows

    def count(self) -> int:
        """Return how many rows there are.

        Raises:
            UserError: As `rows`.
        """
        self.check()
        if self.path.suffix == ".parquet":
            return int(_open_parquet(self.path).metadata.num_rows)
        if self._is_array():
            return sum(1 for _ in self.rows())
        with self.path.open("rb") as file:
            return sum(1 for line in file if line.strip())

    def _is_array(self) -> bool:
        """Whether a `.json` file is an array; if not, it holds one object a line."""
        if self.path.suffix != ".json":
            return False
        with self.path.open("rb") as file:
            head = file.read(4096)
        return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    # Only "\n" ends a line: a text may hold U+2028 and its like.
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                content = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode()
            except UnicodeDecodeError as error:
                raise _not_utf8(path) from error
            if content.isspace() or not content:
                continue
            try:
                yield number, json.loads(content)
            except (ValueError, RecursionError) as error:
                raise _broken(path, number, error) from error


def _array(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from enumerate(_ArrayScanner(path, file).items(), 1)
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error


class _ArrayScanner:
    """Takes a JSON array apart item by item, a few chunks of its text in memory."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self.file = path, file
        self.text, self.at, self.line = "", 0, 1
        self.decoder = json.JSONDecoder()

    def items(self) -> Iterator[Any]:
        self._expect("[")
        if self._peek() != "]":
            yield self._value()
            while self._peek() == ",":
                self._expect(",")
                yield self._value()
        self._expect("]")
        if self._peek():
            raise _broken(self.path, self.line, "text after the array's end")

    def _peek(self) -> str:
        """Return the next character that is not white space, "" at the end."""
        while True:
            while self.at < len(self.text):
                character = self.text[self.at]
                if character not in " \t\r\n":
                    return character
                self.line += character == "\n"
                self.at += 1
            if not self._more():
                return ""

    def _expect(self, character: str) -> None:
        found = self._peek()
        if found != character:
            raise _broken(
                self.path, self.line, f"{character!r} expected, {found!r} found" if found else "cut off"
            )
        self.at += 1

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                # Cut by the chunk's end, or broken: only more text can tell.
                if not self._more():
                    line = self.line + self.text.count("\n", self.at, error.pos)
                    raise _broken(self.path, line, error.msg) from error
            except (ValueError, RecursionError) as error:
                raise _broken(self.path, self.line, error) from error
            else:
                self.line += self.text.count("\n", self.at, end)
                self.at = end
                return value

    def _more(self) -> bool:
        """Drop what was used and read on, more each time an item is long; False at the file's end."""
        rest = self.text[self.at :]
        chunk = self.file.read(max(_CHUNK, len(rest)))
        self.text, self.at = rest + chunk, 0
        return bool(chunk)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        for batch in _open_parquet(path).iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: broken Parquet after row {number} ({_first_line(error)}); fetch it again"
        ) from error


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({_first_line(error)}); fetch it again") from error


def _broken(path: Path, line: int, error: object) -> UserError:
    what = error.msg if isinstance(error, json.JSONDecodeError) else _first_line(error)
    hint = (
        "a .json file holds one array, or one object a line"
        if path.suffix == ".json"
        else "each line is one object"
    )
    return UserError(f"{path}, line {line}: broken JSON ({what}); {hint}")


def _not_utf8(path: Path) -> UserError:
    """Find the first byte of the file that is not UTF-8."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                place = f"{path}, line {number}, byte offset {offset + error.start}"
                return UserError(f"{place}: not UTF-8; convert the file (iconv -t utf-8)")
            offset += len(line)
    return UserError(f"{path}: not UTF-8; convert the file (iconv -t utf-8)")


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
