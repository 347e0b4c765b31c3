"""A judge's key: of the environment, or of the file that it names. It is never told."""

import os
from pathlib import Path

from recipe.errors import UserError

KEY, KEY_PATH = "OPENAI_API_KEY", "NOTUS_JUDGE_KEY_PATH"


def judge_key() -> str | None:
    """Return the key; None if neither the environment nor a file has one.

    Raises:
        UserError: The file can't be read or is empty, or the key is none that a request's header could hold.
    """
    if key := os.environ.get(KEY, "").strip():
        return _sound(key, KEY)
    place = os.environ.get(KEY_PATH)
    if not place:
        return None
    try:
        key = Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"chat: {KEY_PATH} names {place}, which can't be read ({error})") from None
    if not key:
        raise UserError(f"chat: {KEY_PATH} names {place}, which is empty; write the judge's key into it")
    return _sound(key, f"{KEY_PATH} names {place}, which")


def _sound(key: str, what: str) -> str:
    """Return a key that can stand in a request's header; it is not repeated where it can't."""
    if key.isascii() and key.isprintable():
        return key
    raise UserError(f"chat: {what} holds characters that no key has; set it to the key alone, in one line")
