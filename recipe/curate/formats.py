"""The formats of preference data: how each is recognised, and how its rows become pairs.

A new format is one more line in `FORMATS`: its name, its columns with what they hold, and a function from a
row to a pair. A null is allowed in every column (the row is left out and counted), a missing column is not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from recipe.curate import feedback
from recipe.curate.pair import (
    BadRow,
    LeftOut,
    Pair,
    Reason,
    Row,
    Turn,
    kind,
    label,
    number,
    refuse_bad_order,
    text,
)
from recipe.errors import UserError


@dataclass(frozen=True)
class Format:
    """A format: its columns with their types, and the function that makes a pair of a row.

    `convert` is None where pairs are made of many rows at once, by columns (`feedback`, `binarize`).
    """

    name: str
    columns: Mapping[str, type]
    convert: Callable[[Row], Pair] | None

    def fits(self, row: Row) -> bool:
        """Whether all columns are there and hold what they should, or null."""
        return not self.misfit(row)

    def misfit(self, row: Row) -> str:
        """Say why the row is not of this format; "" if it is."""
        missing = [column for column in self.columns if column not in row]
        if missing:
            return f"column {missing[0]!r} is missing"
        for column, type_ in self.columns.items():
            value = row[column]
            if value is not None and not isinstance(value, type_):
                return f"column {column!r} is {kind(value)}, not {kind(type_())}"
        return ""

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.columns)})"


def _argilla(row: Row) -> Pair:
    turns = (Turn("user", text(row["instruction"], "column 'instruction'")),)
    ratings = (row["chosen_avg_rating"], row["rejected_avg_rating"])
    return _pair(row, turns, row["chosen_response"], row["rejected_response"], ratings)


def _pairs(row: Row) -> Pair:
    turns = (Turn("user", text(row["prompt"], "column 'prompt'")),)
    return _pair(row, turns, row["chosen"], row["rejected"], _scores(row))


def _messages(row: Row) -> Pair:
    """TRL's conversational rows, with or without a prompt of their own, and the H4 rows of UltraFeedback."""
    *before, chosen = _turns(row["chosen"], "chosen")
    *other, rejected = _turns(row["rejected"], "rejected")
    if before != other:
        raise LeftOut(Reason.PROMPTS_DIFFER)
    if chosen.role != "assistant" or rejected.role != "assistant":
        raise LeftOut(Reason.BAD_TURN_ORDER)
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        turns = _turns(prompt, "prompt") if prompt else []
        # Chosen and rejected go on after the prompt, or repeat it.
        before = before if before[: len(turns)] == turns else turns + before
    elif prompt is not None:
        question = Turn("user", text(prompt, "column 'prompt'"))
        if before and question not in before:
            raise LeftOut(Reason.PROMPTS_DIFFER)
        before = before or [question]
    return _pair(row, tuple(before), chosen.content, rejected.content, _scores(row))


def _sharegpt(row: Row) -> Pair:
    turns = _turns(row["conversations"], "conversations", "from", "value")
    chosen, rejected = (_turns([row[side]], side, "from", "value")[0] for side in ("chosen", "rejected"))
    if chosen.role != "assistant" or rejected.role != "assistant":
        raise LeftOut(Reason.BAD_TURN_ORDER)
    return _pair(row, tuple(turns), chosen.content, rejected.content, _scores(row))


FORMATS = (
    Format("ultrafeedback", feedback.COLUMNS, None),
    Format(
        "argilla",
        {
            "instruction": str,
            "chosen_response": str,
            "rejected_response": str,
            "chosen_avg_rating": object,
            "rejected_avg_rating": object,
        },
        _argilla,
    ),
    Format("pairs", {"prompt": str, "chosen": str, "rejected": str}, _pairs),
    Format("sharegpt", {"conversations": list, "chosen": dict, "rejected": dict}, _sharegpt),
    Format("messages", {"chosen": list, "rejected": list}, _messages),
)

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


class Recognizer:
    """Finds out the format of the rows as they come, and holds every row to it.

    A row full of nulls may fit several formats: these stay possible until a row decides.

    Args:
        name: A format's name, or `auto`.

    Raises:
        UserError: There is no format of that name.
    """

    def __init__(self, name: str) -> None:
        self.named = name != "auto"
        self.possible = [one for one in FORMATS if name in ("auto", one.name)]
        self.rows = 0
        if not self.possible:
            names = ", ".join(one.name for one in FORMATS)
            raise UserError(f"dataset_format {name!r} is unknown; known are auto, {names}")

    @property
    def format(self) -> Format:
        """The format of the rows so far."""
        return self.possible[0]

    def recognise(self, row: Row) -> Format:
        """Return the format of `row`.

        Raises:
            BadRow: It is of no known format, or of another one than the rows before or than the one named.
        """
        possible = [one for one in self.possible if one.fits(row)]
        if not possible:
            raise BadRow(self._explain(row))
        self.possible = possible
        self.rows += 1
        return possible[0]

    def keep(self, *, by_columns: bool) -> None:
        """Leave only those formats possible whose pairs are made by columns, or only the others."""
        self.possible = [one for one in self.possible if (one.convert is None) == by_columns]

    def pair(self, row: Row) -> Pair:
        """Return the pair of `row`.

        Raises:
            LeftOut: It gives none, for this reason.
            BadRow: As `recognise`.
        """
        convert = self.recognise(row).convert
        if convert is None:
            raise TypeError(f"the rows of format {self.format.name} are not converted one by one")
        pair = convert(row)
        refuse_bad_order(pair)
        return pair

    def _explain(self, row: Row) -> str:
        expected, other = self.format, next((one.name for one in FORMATS if one.fits(row)), None)
        if self.named and other:
            return f"format {expected.name} was asked for, but the row looks like {other}: name that, or auto"
        if self.rows and other:
            return f"format {other}, but the rows before are {expected.name}: give one format at a time"
        if self.named or self.rows:
            asked = "asked for" if self.named else "recognised"
            return f"{expected.misfit(row)}; the format {asked} is {expected}: add it or remove the row"
        known = "; ".join(map(str, FORMATS))
        named_alike = [one for one in FORMATS if one.columns.keys() <= row.keys()]
        why = f" ({named_alike[0].name}: {named_alike[0].misfit(row)})" if named_alike else ""
        found = ", ".join(list(row)[:12]) or "none"
        return f"no known format has the columns {found}{why}; known are {known}: rename or convert"


def _pair(row: Row, turns: tuple[Turn, ...], chosen: Any, rejected: Any, ratings: tuple[Any, Any]) -> Pair:
    return Pair(
        prompt=turns,
        chosen=text(chosen, "chosen"),
        rejected=text(rejected, "rejected"),
        source=label(row, "source"),
        chosen_model=label(row, "chosen_model"),
        rejected_model=label(row, "rejected_model"),
        chosen_rating=number(ratings[0], "the rating of chosen"),
        rejected_rating=number(ratings[1], "the rating of rejected"),
    )


def _scores(row: Row) -> tuple[Any, Any]:
    """Return the ratings of chosen and rejected, which stand in the row or in its metadata, if anywhere."""
    metadata = row.get("metadata")
    place = metadata if isinstance(metadata, dict) and "score_chosen" in metadata else row
    return place.get("score_chosen"), place.get("score_rejected")


def _turns(
    raw: list[Any] | None, column: str, role_key: str = "role", text_key: str = "content"
) -> list[Turn]:
    """Return the turns of a conversation, at least one.

    Raises:
        LeftOut: The conversation, or a turn or a text in it, is null; it is empty; or a role is unknown.
        BadRow: A turn lacks a key, or a text is no text.
    """
    if raw is None:
        raise LeftOut(Reason.NULL_FIELD)
    if not raw:
        raise LeftOut(Reason.EMPTY_RESPONSE if column in ("chosen", "rejected") else Reason.EMPTY_PROMPT)
    turns = []
    for place, turn in enumerate(raw, 1):
        what = f"turn {place} of column {column!r}"
        if turn is None:
            raise LeftOut(Reason.NULL_FIELD)
        if not isinstance(turn, dict) or role_key not in turn or text_key not in turn:
            raise BadRow(f"{what} is not an object with {role_key!r} and {text_key!r}")
        role = _ROLES.get(text(turn[role_key], f"{role_key!r} of {what}"))
        if role is None:
            raise LeftOut(Reason.UNKNOWN_ROLE)
        turns.append(Turn(role, text(turn[text_key], f"{text_key!r} of {what}")))
    return turns
