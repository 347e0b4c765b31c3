"""Files of results, read: JSON, JSON Lines or CSV, whole or refused."""

import csv
import hashlib
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recipe.errors import UserError
from recipe.evaluate.imports.found import Source

DATED = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d)[-:](\d\d)[-:](\d\d)")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
FARTHEST_WEST = 12 * 3600  # seconds: no clock is later behind that of Greenwich


def read(path: Path) -> Source:
    """Return what a file says.

    Raises:
        UserError: It can't be read, or is cut short.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); name a file of results") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text, and so no file of results") from None
    if not text.strip():
        raise UserError(f"{path}: empty; copy it again")
    return Source(path, _parsed(path, text), hashlib.sha256(content).hexdigest(), _date_of(path.name))


def _parsed(path: Path, text: str) -> Any:
    match path.suffix.lower():
        case ".csv":
            return _csv(path, text)
        case ".jsonl":
            return _lines(path, text)
        case _:
            return _json(path, text)


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken(path, text, f"line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise _odd(path, error) from None


def _lines(path: Path, text: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise _broken(path, line, f"line {number}: {error.msg}") from None
            except (ValueError, RecursionError) as error:
                raise _odd(path, error) from None
    return found


def _csv(path: Path, text: str) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise UserError(f"{path}: not CSV ({error}); name a file of results") from None
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise UserError(
                f"{path}: row {number} has not as many columns as the first line; copy the file again"
            )
    return rows


def _broken(path: Path, text: str, what: str) -> UserError:
    outside = STRING.sub("", text)
    opened = sum(map(outside.count, "{[")) - sum(map(outside.count, "}]"))
    if opened > 0 or '"' in outside:
        return UserError(f"{path}: cut short ({what}); copy or download it again")
    return UserError(f"{path}: not JSON ({what}); name a file of results")


def _odd(path: Path, error: Exception) -> UserError:
    """Return what to say of JSON that Python does not read: thousands of digits, or of brackets within brackets."""
    return UserError(f"{path}: no results ({error}); name a file of results")


def _date_of(name: str) -> float | None:
    """Return the last moment that the time in a file's name, of some clock, can mean."""
    found = DATED.search(name)
    try:
        moment = datetime.strptime("-".join(found.groups()), "%Y-%m-%d-%H-%M-%S") if found else None
    except ValueError:  # the 41st of a month
        return None
    return moment.replace(tzinfo=UTC).timestamp() + FARTHEST_WEST if moment else None
