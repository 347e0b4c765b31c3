"""Result files that somebody edited: what can't be read is one line with the file's name, and no traceback."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from modelcard.facts.evaluation import read_evaluation
from recipe.errors import UserError
from tests.modelcard.conftest import Put
from tests.modelcard.measured import Measured

ODD: list[Any] = [None, 10**400, float("inf"), -1, True, "odd", [], [1], [[1]], {}, {"odd": [1]}]
FILES: dict[str, Callable[[Measured], Path]] = {
    "leaderboard": lambda one: one.leaderboard()[2],  # mmlu, a group
    "alpaca_eval": lambda one: one.chat()[0],
    "mt_bench": lambda one: one.chat()[1],
    "preference": lambda one: one.preference(),
}


def places(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where each value below one is; of a list the first only."""
    inner = (
        value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    )
    for key, one in inner:
        yield (*above, key)
        yield from places(one, (*above, key))


def edited(content: Any, place: tuple[str | int, ...], value: Any) -> Any:
    found = deepcopy(content)
    part = found
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FILES))
def test_whatever_is_edited_is_read_or_refused_in_one_line(put: Put, name: str) -> None:
    run = put()
    path = FILES[name](Measured(run))
    whole, refused = json.loads(path.read_text()), []
    for place in places(whole["notus"], ("notus",)):
        for value in ODD:
            path.write_text(json.dumps(edited(whole, place, value)))
            try:
                read_evaluation(run)
            except UserError as error:
                refused.append(str(error))
    where = path.relative_to(run.folder).as_posix()
    assert [said for said in refused if not said.startswith(where) or "\n" in said] == []
    assert len(refused) > 100


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("preference", ("notus", "details", "by_source"), 1),
        ("preference", ("notus", "details", "by_source", 0, "accuracy"), [0.5]),
        ("preference", ("notus", "details", "length_controlled", "chosen_longer"), "odd"),
        ("preference", ("notus", "details", "pairs"), "64"),
        ("mt_bench", ("notus", "details", "by_category", 0, "score"), 10**400),
        ("mt_bench", ("notus", "judge"), "odd"),
        ("alpaca_eval", ("notus", "judge", "answered_as"), 1),
        ("leaderboard", ("group_subtasks", "mmlu"), [["mmlu_anatomy"]]),
        ("leaderboard", ("notus", "data", "mmlu_anatomy", "revision"), ["main"]),
        ("leaderboard", ("results", "mmlu", "acc,none"), 10**400),
        ("leaderboard", ("notus", "weights"), "others"),
    ],
)
def test_what_is_edited_is_named(put: Put, name: str, place: tuple[str | int, ...], value: Any) -> None:
    run = put()
    path = FILES[name](Measured(run))
    path.write_text(json.dumps(edited(json.loads(path.read_text()), place, value)))
    with pytest.raises(UserError, match=rf"^{path.relative_to(run.folder).as_posix()}: .*; [^\n]*remove it$"):
        read_evaluation(run)


@pytest.mark.parametrize("row", ["1", '{"prompt": 1}', "{", '{"prompt": "a", "base": "b", "tuned": "c"}'])
def test_answers_that_were_edited_are_named(put: Put, row: str) -> None:
    run = put()
    Measured(run).preference().with_name("samples.jsonl").write_text(row)
    said = r"^samples\.jsonl beside eval/preference/adapter/heldout\.json: .*remove it$"
    with pytest.raises(UserError, match=said):
        read_evaluation(run)
