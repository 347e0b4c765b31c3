"""Rows out of JSONL, JSON arrays and Parquet: one after the other, or as lines of JSON by the block."""

import codecs
import hashlib
import io
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recipe.curate.files import SUFFIXES
from recipe.curate.pair import Row, kind
from recipe.errors import UserError

_CHUNK = 1 << 20  # characters of an array, or bytes to hash, taken at a time
_BATCH = 1024  # rows of Parquet or of an array held at a time
_BLOCK = 1 << 24  # bytes of lines held at a time
LONGEST_LINE = 1 << 28
"""Bytes of a line, or characters of an item: more is no row of text, and would fill the memory."""


class Place(NamedTuple):
    """Where a row stands: `number` counts lines, items of an array or rows of a table from 1."""

    path: Path
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.path}, {self.unit} {self.number}"


class Block(NamedTuple):
    """Some rows of a file: `lines` each one JSON object, `numbers` where each stands, counted from 1."""

    numbers: pl.Series
    lines: pl.Series


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
            values = _parquet(self.path)
        elif self._is_array:
            values = _array(self.path)
        else:
            values = _lines(self.path)
        for number, value in values:
            yield self.place(number), self.row(number, value)

    def blocks(self, columns: Collection[str]) -> Iterator[Block]:
        """Yield the rows as lines of JSON, some megabytes at a time; blank lines are no rows.

        Args:
            columns: Those that are wanted; of Parquet only they are read.

        Raises:
            UserError: As `rows`, but for lines that are no JSON or no object: these come as they are.
        """
        self.check()
        if self.path.suffix == ".parquet":
            yield from _parquet_blocks(self.path, columns)
        elif self._is_array:
            items = _array(self.path)
            while some := list(islice(items, _BATCH)):
                numbers = pl.Series([number for number, _ in some], dtype=pl.Int64)
                yield Block(numbers, pl.Series([json.dumps(item) for _, item in some]))
        else:
            yield from _line_blocks(self.path)

    def parse(self, number: int, line: str) -> Row:
        """Return the row of a line that `blocks` gave.

        Raises:
            UserError: It is no JSON, or no object.
        """
        return self.row(number, _parsed(self.path, number, line))

    def row(self, number: int, value: object) -> Row:
        """Return `value`, which stands at `number`, if it is a row."""
        if not isinstance(value, dict):
            place = self.place(number)
            raise UserError(f"{place}: {kind(value)}, but a row is an object with named columns; mend it")
        return value

    def place(self, number: int) -> Place:
        """Return where row `number` stands."""
        unit = "row" if self.path.suffix == ".parquet" else "item" if self._is_array else "line"
        return Place(self.path, unit, number)

    def check(self) -> None:
        """Raise UserError if there is no such file, or none that can be read."""
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such file; check the path in the recipe")
        if self.path.suffix not in SUFFIXES:
            raise UserError(f"{self.path}: unknown file format; convert it to one of {', '.join(SUFFIXES)}")
        refuse_unreadable(self.path)

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
            rows = None if self._is_array else lines
        return sha256.hexdigest(), rows

    def count(self) -> int:
        """Return how many rows there are.

        Raises:
            UserError: As `rows`.
        """
        self.check()
        if self.path.suffix == ".parquet":
            return int(_open_parquet(self.path).metadata.num_rows)
        if self._is_array:
            return sum(1 for _ in self.rows())
        with self.path.open("rb") as file:
            first = file.readline().removeprefix(codecs.BOM_UTF8)
            return sum(1 for line in chain([first], file) if line.strip())

    @cached_property
    def _is_array(self) -> bool:
        """Whether a `.json` file is an array; if not, it holds one object a line."""
        if self.path.suffix != ".json":
            return False
        with self.path.open("rb") as file:
            head = file.read(4096)
        return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def refuse_unreadable(path: Path) -> None:
    """Raise UserError if the file may not be read."""
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    # Only "\n" ends a line: a text may hold U+2028 and its like.
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise _too_long(path, number)
            try:
                content = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode()
            except UnicodeDecodeError as error:
                raise _not_utf8(path) from error
            if not content.isspace() and content:
                yield number, _parsed(path, number, content)


def _parsed(path: Path, number: int, content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _broken(path, number, error) from error


def _line_blocks(path: Path) -> Iterator[Block]:
    with path.open("rb") as file:
        before, rest = 0, b""
        while chunk := file.read(_BLOCK):
            end = chunk.rfind(b"\n") + 1
            if not end:
                rest += chunk
                if len(rest) > LONGEST_LINE:
                    raise _too_long(path, before + 1)
                continue
            block = _lines_of(path, before, rest + chunk[:end])
            before, rest = before + block.lines.len(), chunk[end:]
            yield _without_blanks(block)
        if rest:
            yield _without_blanks(_lines_of(path, before, rest))


def _lines_of(path: Path, before: int, content: bytes) -> Block:
    if before == 0:
        content = content.removeprefix(codecs.BOM_UTF8)
    try:
        lines = pl.read_lines(io.BytesIO(content)).to_series()
    except pl.exceptions.ComputeError:
        raise _not_utf8(path) from None
    numbers = pl.int_range(before + 1, before + 1 + len(lines), eager=True)
    longest = lines.str.len_bytes().max() or 0
    if isinstance(longest, int) and longest > LONGEST_LINE:
        raise _too_long(path, before + 1 + (lines.str.len_bytes().arg_max() or 0))
    return Block(numbers, lines)


def _without_blanks(block: Block) -> Block:
    filled = block.lines.str.strip_chars() != ""
    return block if filled.all() else Block(block.numbers.filter(filled), block.lines.filter(filled))


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
        if chunk and len(rest) > LONGEST_LINE:
            raise _too_long(self.path, self.line)
        self.text, self.at = rest + chunk, 0
        return bool(chunk)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    for batch in _parquet_batches(path):
        try:
            rows = batch.to_pylist()
        except (ValueError, OverflowError) as error:  # no UTF-8, or a time that Python has not
            raise _broken_parquet(path, number, error) from error
        for row in rows:
            number += 1
            yield number, row


def _parquet_blocks(path: Path, wanted: Collection[str]) -> Iterator[Block]:
    before = 0
    columns = [name for name in _open_parquet(path).schema_arrow.names if name in wanted]
    for batch in _parquet_batches(path, columns):
        # A not-a-number would become null: it is nothing that a rating can be either way.
        frame = pl.DataFrame(pl.from_arrow(batch))
        lines = frame.select(pl.struct(pl.all()).struct.json_encode()).to_series()
        yield Block(pl.int_range(before + 1, before + 1 + len(lines), eager=True), lines)
        before += len(lines)


def _parquet_batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    number = 0
    try:
        for batch in _open_parquet(path).iter_batches(batch_size=_BATCH, columns=columns):
            yield batch
            number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _broken_parquet(path, number, error) from error


def _broken_parquet(path: Path, number: int, error: object) -> UserError:
    return UserError(f"{path}: broken Parquet after row {number} ({_first_line(error)}); fetch it again")


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({_first_line(error)}); fetch it again") from error
    names = file.schema_arrow.names
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}: has column {twice[0]!r} twice; keep one")
    return file


def _broken(path: Path, line: int, error: object) -> UserError:
    what = error.msg if isinstance(error, json.JSONDecodeError) else _first_line(error)
    hint = (
        "a .json file holds one array, or one object a line"
        if path.suffix == ".json"
        else "each line is one object"
    )
    return UserError(f"{path}, line {line}: broken JSON ({what}); {hint}")


def _too_long(path: Path, line: int) -> UserError:
    return UserError(
        f"{path}, line {line}: longer than {LONGEST_LINE >> 20} MiB, which is no row of text; end each row's line"
    )


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
