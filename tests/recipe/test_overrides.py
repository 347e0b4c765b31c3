"""Overrides by row id: what a line may say, what is refused, and what becomes of the table."""

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recipe.curate.overrides import Overrides, apply, offered, read_overrides, refuse_unknown
from recipe.errors import UserError
from tests.feedback_table import ASPECTS, NA, SCHEMA, answer, mean, row, table

ONE, TWO, SIX = (f"{number:016x}" for number in (1, 2, 6))


@pytest.fixture
def feedback() -> pl.DataFrame:
    """Rows 0 to 5; rows 1 and 4 are equal, 2 has an N/A, a null and a completion without ratings, 3 has nothing."""
    return table(
        row(0, [answer("a", 7.5, 4, 4, 4, 4), answer("b", 5, 3, 3, 3, 3)]),
        row(1, [answer("a", 10, 1, 1, 2, 1), answer("b", 8, 4, 5, 4, 4), answer("c", 6, 3, 3, 3, 2)]),
        row(2, [answer("a", 10, 3, NA, 4), answer("b", None), {**answer("c", 2), "aspects": None}]),
        row(3, None),
        row(4, [answer("a", 10, 1, 1, 2, 1), answer("b", 8, 4, 5, 4, 4), answer("c", 6, 3, 3, 3, 2)], id=ONE),
        row(5, []),
    )


def written(folder: Path, *lines: dict[str, Any] | str | bytes) -> Path:
    path = folder / "overrides.jsonl"
    texts = [line if isinstance(line, str | bytes) else json.dumps(line) for line in lines]
    path.write_bytes(b"\n".join(text if isinstance(text, bytes) else text.encode() for text in texts))
    return path


def read(folder: Path, *lines: dict[str, Any] | str | bytes) -> Overrides:
    return read_overrides(written(folder, *lines))


def refused(folder: Path, *lines: dict[str, Any] | str | bytes) -> str:
    """Return what is wrong with the lines; without the path, which has to come first."""
    with pytest.raises(UserError) as caught:
        read(folder, *lines)
    path = str(folder / "overrides.jsonl")
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(path).removeprefix(", ")


def test_a_corrected_score_changes_nothing_else(tmp_path: Path, feedback: pl.DataFrame) -> None:
    new = apply(feedback, read(tmp_path, {"id": TWO, "completion": 0, "overall_score": 1}))
    assert new.schema == SCHEMA
    completions = new["completions"][2].to_list()
    assert completions[0]["overall_score"] == 1
    assert completions[0]["rating"] == 3.5
    assert math.isnan(completions[0]["aspects"]["honesty"])
    assert completions[0]["aspects"]["helpfulness"] is None
    assert completions[1:] == feedback["completions"][2].to_list()[1:]
    assert_frame_equal(new.drop("completions"), feedback.drop("completions"))
    others = pl.col("row") != 2
    assert_frame_equal(new.filter(others), feedback.filter(others))


def test_corrected_ratings_give_another_mean(tmp_path: Path, feedback: pl.DataFrame) -> None:
    ratings = {"honesty": 2, "truthfulness": None, "helpfulness": 4.5}
    new = apply(feedback, read(tmp_path, {"id": TWO, "completion": 0, "ratings": ratings}))
    completion = new["completions"][2].to_list()[0]
    assert completion["overall_score"] == 10
    assert math.isnan(completion["aspects"].pop("truthfulness"))
    assert completion["aspects"] == {"instruction_following": 3, "honesty": 2, "helpfulness": 4.5}
    assert completion["rating"] == pytest.approx((3 + 2 + 4.5) / 3)


def test_what_was_not_rated_can_be(tmp_path: Path, feedback: pl.DataFrame) -> None:
    """Of a completion without any annotation too: its aspects are null as a whole."""
    lines = [
        {"id": TWO, "completion": place, "overall_score": 3, "ratings": {"honesty": 2}} for place in (1, 2)
    ]
    for completion in apply(feedback, read(tmp_path, *lines))["completions"][2].to_list()[1:]:
        assert completion["aspects"] == dict.fromkeys(ASPECTS) | {"honesty": 2}
        assert (completion["rating"], completion["overall_score"]) == (2, 3)


def test_null_takes_score_and_rating_away(tmp_path: Path, feedback: pl.DataFrame) -> None:
    line = {"id": TWO, "completion": 0, "overall_score": None, "ratings": dict.fromkeys(ASPECTS)}
    completion = apply(feedback, read(tmp_path, line))["completions"][2].to_list()[0]
    assert completion["overall_score"] is None
    assert completion["rating"] is None
    assert all(math.isnan(rating) for rating in completion["aspects"].values())


def test_rows_that_share_an_id_change_alike(tmp_path: Path, feedback: pl.DataFrame) -> None:
    lines = [{"id": ONE, "completion": place, "overall_score": score} for place, score in ((2, 9), (0, 1))]
    new = apply(feedback, read(tmp_path, *lines))
    for number in (1, 4):
        assert [one["overall_score"] for one in new["completions"][number].to_list()] == [1, 8, 9]


def test_rows_to_be_left_out_stay_and_are_told(tmp_path: Path, feedback: pl.DataFrame) -> None:
    overrides = read(tmp_path, {"id": ONE, "leave_out": True, "annotator": "ana", "note": "no question"})
    new = apply(feedback, overrides)
    assert_frame_equal(new, feedback)
    assert overrides.left_out == [ONE]


def test_no_overrides(tmp_path: Path, feedback: pl.DataFrame) -> None:
    overrides = read(tmp_path, b"\xef\xbb\xbf", "  ", "")
    assert overrides.ids == []
    assert_frame_equal(apply(feedback, overrides), feedback)
    assert overrides.left_out == []
    refuse_unknown(overrides, offered(feedback, overrides))


def test_in_pieces_as_whole(tmp_path: Path, feedback: pl.DataFrame) -> None:
    overrides = read(
        tmp_path,
        {"id": ONE, "completion": 0, "overall_score": 1, "ratings": {"honesty": 2}},
        {"id": TWO, "completion": 1, "ratings": {"helpfulness": 5}},
    )
    whole = apply(feedback, overrides)
    assert not whole.equals(feedback)
    assert_frame_equal(pl.concat(apply(feedback[at], overrides) for at in range(len(feedback))), whole)


OLD = st.one_of(st.none(), st.just(NA), st.integers(1, 5).map(float))
NEW = st.one_of(st.none(), st.integers(2, 10).map(lambda half: half / 2))
RATINGS = st.dictionaries(st.sampled_from(ASPECTS), NEW, min_size=1)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.tuples(OLD, OLD, OLD, OLD), max_size=4), min_size=1, max_size=5),
    st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 3)), RATINGS, max_size=6),
)
def test_as_one_would_by_hand(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[tuple[float | None, ...]]],
    changes: dict[tuple[int, int], dict[str, float | None]],
) -> None:
    before = [
        row(number, [answer(f"m{place}", 5, *ratings) for place, ratings in enumerate(answers)])
        for number, answers in enumerate(rows)
    ]
    lines = [
        {"id": f"{number:016x}", "completion": place, "ratings": ratings}
        for (number, place), ratings in changes.items()
    ]
    overrides = read(tmp_path_factory.mktemp("by-hand"), *lines)
    found = apply(table(*before), overrides)
    for (number, place), ratings in changes.items():
        if number < len(before) and place < len(before[number]["completions"]):
            completion = before[number]["completions"][place]
            completion["aspects"] |= {aspect: NA if new is None else new for aspect, new in ratings.items()}
            completion["rating"] = mean(completion["aspects"])
    assert_frame_equal(found, table(*before), check_exact=True)


def test_an_aspect_that_the_data_do_not_have(tmp_path: Path, feedback: pl.DataFrame) -> None:
    overrides = read(tmp_path, "", {"id": ONE, "completion": 0, "ratings": {"honesti": 3}})
    with pytest.raises(
        UserError, match=r"line 2: the data have no aspect 'honesti', but instruction_following"
    ):
        apply(feedback, overrides)


def test_a_row_that_does_not_exist(tmp_path: Path, feedback: pl.DataFrame) -> None:
    overrides = read(tmp_path, {"id": TWO, "leave_out": True}, {"id": SIX, "leave_out": True})
    with pytest.raises(UserError, match=rf"overrides\.jsonl, line 2: no row of the data has the id {SIX}"):
        refuse_unknown(overrides, offered(feedback, overrides))


@pytest.mark.parametrize(("number", "place", "has"), [(1, 3, 3), (3, 0, 0), (5, 0, 0)])
def test_a_completion_that_does_not_exist(
    tmp_path: Path, feedback: pl.DataFrame, number: int, place: int, has: int
) -> None:
    id_ = f"{number:016x}"
    overrides = read(tmp_path, {"id": id_, "completion": place, "overall_score": 1})
    assert_frame_equal(apply(feedback, overrides), feedback)
    with pytest.raises(
        UserError, match=rf"line 1: row {id_} has {has} completions, .* none is number {place}"
    ):
        refuse_unknown(overrides, offered(feedback, overrides))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_overrides(tmp_path / "nowhere.jsonl")
    with pytest.raises(UserError, match="cannot be read"):
        read_overrides(tmp_path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "broken JSON"),
        ("[" * 100_000, "broken JSON"),
        ("1", "not an object"),
        (b'{"id": "\xff"}', "not UTF-8"),
        ('{"id": "0", "id": "1"}', "the key 'id' stands there twice"),
        ({"completion": 0, "overall_score": 1}, "the key 'id' is missing"),
        ({"id": ONE, "overall_score": 1}, "the key 'completion' is missing"),
        ({"id": ONE, "completion": 0}, "neither 'overall_score' nor 'ratings'"),
        ({"id": ONE, "completion": 0, "ratings": {}}, "neither 'overall_score' nor 'ratings'"),
        (
            {"id": ONE, "completion": 0, "score": 1},
            "unknown key 'score'; it may have id, annotator, note, comp",
        ),
        ({"id": ONE, "completion": 0, "leave_out": True}, "unknown key 'completion'; it may have id"),
        ({"id": ONE, "leave_out": False}, "leave_out: input should be True, not False"),
        ({"id": "1", "leave_out": True}, "id: "),
        ({"id": ONE.upper().replace("0", "A"), "leave_out": True}, "id: "),
        ({"id": 1, "leave_out": True}, "id: "),
        ({"id": ONE, "completion": -1, "overall_score": 1}, "completion: "),
        ({"id": ONE, "completion": 1.0, "overall_score": 1}, "completion: "),
        ({"id": ONE, "completion": "1", "overall_score": 1}, "completion: "),
        ({"id": ONE, "completion": True, "overall_score": 1}, "completion: "),
        ({"id": ONE, "completion": 0, "overall_score": "1"}, "overall_score: "),
        ({"id": ONE, "completion": 0, "overall_score": True}, "overall_score: "),
        ({"id": ONE, "completion": 0, "overall_score": 85}, "overall_score: "),
        ({"id": ONE, "completion": 0, "overall_score": 0}, "overall_score: "),
        ({"id": ONE, "completion": 0, "overall_score": NA}, "overall_score: "),
        ({"id": ONE, "completion": 0, "overall_score": math.inf}, "overall_score: "),
        ({"id": ONE, "completion": 0, "ratings": {"honesty": 6}}, "ratings.honesty: "),
        ({"id": ONE, "completion": 0, "ratings": {"honesty": "N/A"}}, "ratings.honesty: "),
        ({"id": ONE, "completion": 0, "ratings": None}, "ratings: "),
        ({"id": ONE, "leave_out": True, "annotator": 7}, "annotator: "),
    ],
)
def test_a_line_that_is_not_as_it_has_to_be(
    tmp_path: Path, line: dict[str, Any] | str | bytes, says: str
) -> None:
    good = {"id": TWO, "completion": 0, "overall_score": 1}
    assert refused(tmp_path, good, "", line).startswith(f"line 3: {says}")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ({"id": ONE, "completion": 1, "overall_score": 2}, f"row {ONE}, completion 1,"),
        ({"id": ONE, "leave_out": True}, f"row {ONE}"),
    ],
)
def test_the_same_overridden_twice_names_both_lines(tmp_path: Path, line: dict[str, Any], what: str) -> None:
    between = {"id": TWO, "completion": 1, "overall_score": 2}
    message = refused(tmp_path, line, between, line | {"note": "again"})
    assert message == f"line 3: {what} is overridden in line 1 already; keep one"


def test_a_row_may_have_both_forms_and_several_completions(tmp_path: Path) -> None:
    lines = [{"id": ONE, "completion": place, "overall_score": 2} for place in range(3)]
    overrides = read(tmp_path, *lines, {"id": ONE, "leave_out": True})
    assert overrides.ids == overrides.left_out == [ONE]
    assert len(overrides.completions[ONE]) == 3
