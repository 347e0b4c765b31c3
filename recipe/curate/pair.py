"""A preference pair, and the reasons for which a row of feedback gives none."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

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


class BadRow(Exception):  # noqa: N818  the stage adds the place and makes it a UserError
    """The row is not what its format promises: a mistake in the data that the user has to see."""


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

    @property
    def id(self) -> str:
        """16 hex digits over the texts: two pairs with one id are the same to a model."""
        return digest([self.prompt, self.chosen, self.rejected])


def digest(content: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of `content` as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


OPTIONAL = frozenset({Reason.EMPTY_PROMPT, Reason.EMPTY_RESPONSE, Reason.EQUAL_ANSWERS, Reason.EQUAL_RATINGS})
"""The reasons that a recipe may switch off, one by one: such a pair can be trained on, to little use.

Where there is no pair, nothing can be switched off: raw ratings that are all equal, a conversation without a turn.
"""


def checked(pair: Pair, leave_out: frozenset[Reason] = OPTIONAL) -> Pair:
    """Return `pair` if a model can learn from it.

    Args:
        pair: As its format made it.
        leave_out: Those of the `OPTIONAL` reasons that count; the others always do.

    Raises:
        LeftOut: With the first of the reasons that holds, in the order of the checks below.
    """
    if not pair.prompt:
        raise LeftOut(Reason.EMPTY_PROMPT)
    roles = [turn.role for turn in pair.prompt]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if len(turns) % 2 == 0 or turns != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
        raise LeftOut(Reason.BAD_TURN_ORDER)
    rated_equal = pair.chosen_rating is not None and pair.chosen_rating == pair.rejected_rating
    _leave_out_if(rated_equal, Reason.EQUAL_RATINGS, leave_out)
    labels = (pair.source or "", pair.chosen_model or "", pair.rejected_model or "")
    if not all(map(_encodes, (*(turn.content for turn in pair.prompt), pair.chosen, pair.rejected, *labels))):
        raise LeftOut(Reason.INVALID_UNICODE)
    _leave_out_if(not pair.prompt[-1].content.strip(), Reason.EMPTY_PROMPT, leave_out)
    empty = not pair.chosen.strip() or not pair.rejected.strip()
    _leave_out_if(empty, Reason.EMPTY_RESPONSE, leave_out)
    _leave_out_if(pair.chosen == pair.rejected, Reason.EQUAL_ANSWERS, leave_out)
    return pair


def _leave_out_if(true: bool, reason: Reason, leave_out: frozenset[Reason]) -> None:
    if true and reason in leave_out:
        raise LeftOut(reason)


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


def _encodes(content: str) -> bool:
    if content.isascii():
        return True
    try:
        content.encode()
    except UnicodeEncodeError:
        return False
    return True
