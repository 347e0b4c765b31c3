"""A preference pair, and the reasons for which a row of feedback gives none."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from recipe.errors import UserError

Row = dict[str, Any]
"""A row as it was read: columns by name, values as JSON or Arrow gave them."""


class Reason(StrEnum):
    """Why a row was left out. Every row that is not used is counted under exactly one of these."""

    NULL_FIELD = "null_field"
    """A text that the pair needs is null."""
    UNKNOWN_ROLE = "unknown_role"
    """A turn is by somebody else than the system, the user or the assistant."""
    BAD_TURN_ORDER = "bad_turn_order"
    """Turns do not go (system,) user, assistant, ..., user, and then the assistant's answer."""
    PROMPTS_DIFFER = "prompts_differ"
    """Chosen and rejected answer different conversations, or another one than the row's prompt."""
    TOO_FEW_COMPLETIONS = "too_few_completions"
    """Fewer than two completions have a rating."""
    EQUAL_RATINGS = "equal_ratings"
    """No answer is rated better than another."""
    MARGIN_TOO_SMALL = "margin_too_small"
    """No answer is rated worse by as much as the recipe asks for."""
    SOURCE_LEFT_OUT = "source_left_out"
    """The recipe leaves out the rows of this source."""
    OVERRIDDEN = "overridden"
    """A person threw the row out, by an override."""
    CONTAMINATED = "contaminated"
    """The prompt overlaps with a benchmark's text, as much as the recipe asks for."""
    INVALID_UNICODE = "invalid_unicode"
    r"""A text holds half a character (a lone surrogate such as `\ud83d`), which UTF-8 cannot write."""
    EMPTY_PROMPT = "empty_prompt"
    """There is no turn before the answers, or the user's last one is empty or white space."""
    EMPTY_RESPONSE = "empty_response"
    """An answer is empty or white space."""
    EQUAL_ANSWERS = "equal_answers"
    """Both answers are the same text."""


class LeftOut(Exception):  # noqa: N818  an outcome, not an error
    """The row is sound but gives no pair, for this reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class BadRow(Exception):  # noqa: N818  with its place it becomes a UserError
    """The row is not what its format promises: a mistake in the data that the user has to see."""

    def at(self, place: object) -> UserError:
        """Return it as the mistake that it is, at `place`."""
        return UserError(" ".join(f"{place}: {self}".splitlines()))


class Turn(NamedTuple):
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one conversation, the better one and the worse one, texts exactly as they came."""

    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str
    source: str | None = None
    chosen_model: str | None = None
    rejected_model: str | None = None
    chosen_rating: float | None = None
    rejected_rating: float | None = None


def prompt_text(turns: Sequence[Mapping[str, str]]) -> str:
    """Return a prompt as one text: a single turn as it is, of several each under its role."""
    if len(turns) == 1 and turns[0]["role"] == "user":
        return turns[0]["content"]
    return "\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in turns)


def digest(content: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of `content` as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


OPTIONAL = frozenset({Reason.EMPTY_PROMPT, Reason.EMPTY_RESPONSE, Reason.EQUAL_ANSWERS, Reason.EQUAL_RATINGS})
"""The reasons that a recipe may switch off, one by one: such a pair can be trained on, to little use.

Where there is no pair, nothing can be switched off: raw ratings that are all equal, a conversation without a turn.
"""


def refuse_bad_order(pair: Pair) -> None:
    """Raise LeftOut if the turns of the prompt can't come before an answer, or a text is no Unicode."""
    if not pair.prompt:
        raise LeftOut(Reason.EMPTY_PROMPT)
    roles = [turn.role for turn in pair.prompt]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if len(turns) % 2 == 0 or turns != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
        raise LeftOut(Reason.BAD_TURN_ORDER)
    labels = (pair.source or "", pair.chosen_model or "", pair.rejected_model or "")
    if not all(map(encodes, (*(turn.content for turn in pair.prompt), pair.chosen, pair.rejected, *labels))):
        raise LeftOut(Reason.INVALID_UNICODE)


def text(value: object, what: str) -> str:
    """Return `value`, which `what` names, as text.

    Raises:
        LeftOut: It is null.
        BadRow: It is something else than text.
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise LeftOut(Reason.NULL_FIELD)
    raise BadRow(f"{what} is {kind(value)}, not text")


_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def kind(value: object) -> str:
    """Say what `value` is, in JSON's words."""
    return _KINDS.get(type(value), type(value).__name__)


def encodes(content: str) -> bool:
    """Whether UTF-8 can write `content`: it holds no half of a character."""
    if content.isascii():
        return True
    try:
        content.encode()
    except UnicodeEncodeError:
        return False
    return True


LARGEST = 1e9
"""No rating and no score is larger; sums of them are numbers still."""


def number(value: object, what: str) -> float | None:
    """Return a rating, which `what` names, as a number; None for null, NaN and "N/A".

    Raises:
        BadRow: It is no number, or larger than any mark.
    """
    if value is None or (isinstance(value, str) and value.strip() == "N/A"):
        return None
    try:
        parsed = (
            float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.inf
        )
    except (ValueError, OverflowError):
        parsed = math.inf
    if abs(parsed) > LARGEST:
        raise BadRow(f"{what} is {str(value)[:20]!r}, not a number, null or 'N/A'")
    return None if math.isnan(parsed) else parsed


def label(row: Row, column: str) -> str | None:
    """Return a text that only describes the row (its source, the model that answered), or None."""
    value = row.get(column)
    return value if isinstance(value, str) else None
