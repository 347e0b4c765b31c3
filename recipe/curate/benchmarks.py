"""The texts of benchmarks, out of the files that the user has of them."""

import codecs
import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe.curate.files import SUFFIXES
from recipe.curate.pair import Row, kind
from recipe.curate.read import Place, Source, refuse_unreadable
from recipe.errors import UserError
from recipe.schema import split_column

COLUMNS = (
    "question",
    "prompt",
    "instruction",
    "text",
    "query",
    "problem",
    "ctx",
    "sentence",
    "turns",
    "messages",
    "conversations",
)
"""Where benchmarks keep what they ask. The first one that a file has is read; case does not matter."""

_SUFFIXES = (*SUFFIXES, ".csv", ".txt")
_USERS = ("user", "human")


@dataclass(frozen=True)
class BenchmarkFile:
    """A benchmark's file, and the column that holds its texts; None: the first of `COLUMNS` that it has."""

    path: Path
    column: str | None = None

    @classmethod
    def named(cls, name: str | Path) -> "BenchmarkFile":
        """Return what `FILE` or `FILE:COLUMN` names. A file whose own name has a colon is found too."""
        file, column = split_column(str(name))
        return cls(Path(file).expanduser(), column)

    def texts(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of each row (line, item or row, from 1) with its texts.

        A text is one, and so is each of the user's turns in a conversation, or of a list of texts. Of null,
        and of what is empty or white space, there are none.

        Raises:
            UserError: The file is missing, of an unknown format, broken, has no column to read, or something
                else than text in it; or there is no text in all of it.
        """
        self._check()
        column, empty = None, True
        for place, row in self._rows():
            column = column or self._column(row)
            if column not in row:
                raise UserError(f"{place}: no column {column!r}, which the rows before have; mend the row")
            texts = [one for one in _texts(row[column], place, column) if one.strip()]
            empty = empty and not texts
            yield place.number, texts
        if empty:
            where = f" in column {column!r}" if column else ""
            raise UserError(f"{self.path}: no text{where}; name another file, or a column by FILE:COLUMN")

    def _check(self) -> None:
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such file; check the benchmark's path")
        if self.path.suffix not in _SUFFIXES:
            known = ", ".join(_SUFFIXES)
            raise UserError(f"{self.path}: unknown format of a benchmark; convert it to one of {known}")
        if self.path.suffix == ".txt" and self.column is not None:
            raise UserError(
                f"{self.path}: has no columns, so no {self.column!r}: each line is a text; name the file alone"
            )
        refuse_unreadable(self.path)

    def _rows(self) -> Iterator[tuple[Place, Row]]:
        if self.path.suffix == ".txt":
            for number, line in _lines(self.path):
                yield Place(self.path, "line", number), {"text": line}
        elif self.path.suffix == ".csv":
            yield from _csv_rows(self.path)
        else:
            yield from Source(self.path, self.path.name).rows()

    def _column(self, row: Row) -> str:
        """Return the column to read, by the first row."""
        found = ", ".join(map(repr, list(row)[:12])) or "none"
        if self.column is not None:
            if self.column in row:
                return self.column
            raise UserError(
                f"{self.path}: no column {self.column!r}; columns found: {found}; name one of them"
            )
        lower = {name.lower(): name for name in reversed(row)}
        for name in COLUMNS:
            if name in lower:
                return lower[name]
        raise UserError(
            f"{self.path}: which column holds the texts? Found: {found}; known: {', '.join(COLUMNS)}; "
            f"name it as {self.path}:COLUMN"
        )


def labels(files: Sequence[BenchmarkFile]) -> list[str]:
    """Return what the files are called in reports: by name, with as many folders as it takes to tell them apart.

    A column that was asked for is part of it.

    Raises:
        UserError: The same texts are named twice.
    """
    twice = [
        file for file, count in Counter((f.path.resolve(), f.column) for f in files).items() if count > 1
    ]
    if twice:
        raise UserError(f"{twice[0][0]}: named twice as a benchmark; name it once")
    parts = [file.path.resolve().parts for file in files]
    names = []
    for file, own in zip(files, parts, strict=True):
        others = {other for other in parts if other != own}
        depth = next(n for n in range(1, len(own) + 1) if all(other[-n:] != own[-n:] for other in others))
        names.append("/".join(own[-depth:]) + (f":{file.column}" if file.column else ""))
    return names


def _texts(value: Any, place: Place, column: str) -> list[str]:
    """Return the texts of a value: itself, the texts of a list, or the user's turns."""
    if value is None:
        return []
    texts = []
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            texts.append(_whole(one))
        elif isinstance(value, list) and isinstance(one, dict) and ("role" in one or "from" in one):
            role, text = one.get("role", one.get("from")), one.get("content", one.get("value"))
            if role not in _USERS or text is None:
                continue
            if not isinstance(text, str):
                raise UserError(
                    f"{place}: a user's turn in column {column!r} is {kind(text)}, not text; mend it"
                )
            texts.append(_whole(text))
        else:
            what = f"a list with {kind(one)}" if isinstance(value, list) else kind(value)
            raise UserError(
                f"{place}: column {column!r} is {what}, not text or turns; name another by FILE:COLUMN"
            )
    return texts


def _whole(text: str) -> str:
    """Return the text with half characters (lone surrogates) replaced, which no table can hold."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines with their ends, numbered from 1. Only a line feed ends one."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield number, (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: not UTF-8; convert the file (iconv -t utf-8)"
                ) from error


def _csv_rows(path: Path) -> Iterator[tuple[Place, Row]]:
    """Yield the rows under the header, numbered from 1."""
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    header, number = None, 0
    try:
        for values in reader:
            if not values:
                continue
            if header is None:
                header = values
                continue
            number += 1
            if len(values) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(values)} values, but the header has {len(header)}; mend it"
                )
            yield Place(path, "row", number), dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: broken CSV ({error}); mend it") from error
