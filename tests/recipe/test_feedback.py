"""Raw feedback by columns: the same as value by value, the same choice as a loop makes, and what is noticed."""

import hashlib
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recipe.curate.binarize import pick
from recipe.curate.feedback import ASPECTS, Chunk, FeedbackReader, find_aspects
from recipe.curate.pair import Reason
from recipe.curate.raw_row import By
from recipe.curate.read import Source
from recipe.curate.rules import Rules

Row = dict[str, Any]


def answer(*ratings: object, score: object = 5.0, response: object = "words", **more: object) -> Row:
    aspects = {name: {"Rating": rating} for name, rating in zip(ASPECTS, ratings, strict=False)}
    return {"model": "m", "response": response, "overall_score": score, "annotations": aspects, **more}


def row(*answers: object, **more: object) -> Row:
    return {"source": "flan", "instruction": "Do.", "completions": list(answers), **more}


def read(rows: list[Row], *, exactly: bool = False, ascii_only: bool = True, by: By = "ratings") -> Chunk:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        lines = (json.dumps(one, ensure_ascii=ascii_only) + "\n" for one in rows)
        path.write_text("".join(lines), encoding="utf-8", errors="surrogatepass" if ascii_only else "strict")
        source = Source(path, path.name)
        reader = FeedbackReader(find_aspects([source]), by, lambda _: None)
        if exactly:
            object.__setattr__(reader, "_decode", lambda _: [])
        chunks = list(reader.chunks(source, 0))
    return Chunk(*(pl.concat(tables) for tables in zip(*chunks, strict=True)))


RATING = st.sampled_from(
    ["1", "5", "N/A", " N/A ", "0", None, 3, 4.5, " 2 ", "1e0", "\u0662", math.nan, "nan", 1.1, 2.6, 2.3]
)
TEXT = st.sampled_from(
    [
        None,
        "",
        " ",
        "a",
        "4",
        "true",
        "-1e5",
        "null",
        "half \ud83d",
        "a\ud83d\ue000",
        "\udbff\uffff",
        "\ude00\ud83d",
        "\\ud83d",
        "\U0001f600",
        "\x00",
        '"Rating"',
        "Rating",
        "\ufffd",
    ]
)
NOTE = st.fixed_dictionaries({"Rating": RATING}, optional={"Rationale": TEXT, "Rating of it": TEXT})
ASPECT = NOTE | st.none() | st.lists(NOTE | st.none(), max_size=2)
ANNOTATIONS = st.none() | st.dictionaries(
    st.sampled_from([*ASPECTS, "model", "row", "other"]), ASPECT, max_size=5
)
ANSWER = st.none() | st.fixed_dictionaries(
    {"response": TEXT, "overall_score": RATING, "annotations": ANNOTATIONS},
    optional={"model": TEXT | st.just(3), "critique": TEXT | st.just(True)},
)
ROW = st.fixed_dictionaries(
    {"instruction": TEXT, "completions": st.none() | st.lists(ANSWER, max_size=5)},
    optional={"source": TEXT | st.just(5), "models": st.just(["a"])},
)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12))
def test_by_columns_is_the_same_as_value_by_value(rows: list[Row]) -> None:
    fast, slow = read(rows), read(rows, exactly=True)
    assert_frame_equal(fast.rows, slow.rows)
    assert_frame_equal(fast.answers, slow.answers)


def test_of_a_key_that_comes_twice_the_last_counts_wherever_it_stands() -> None:
    once = json.dumps(row(answer("1"), answer("5")))
    twice = [
        once.replace('"source": "flan"', '"source": "flan", "source": "other"'),
        once.replace('"response": "words"', '"response": "words", "response": "more words"', 1),
        once.replace('"overall_score": 5.0', '"overall_score": 5.0, "overall_score": 6.0', 1),
        once.replace('{"Rating": "1"}', '{"Rating": "1", "Rating": "2"}'),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("\n".join([once, *twice]) + "\n")
        reader = FeedbackReader(ASPECTS, "ratings", lambda _: None)
        (chunk,) = reader.chunks(Source(path, path.name), 0)
    assert chunk.rows["source"].to_list() == ["flan", "other", "flan", "flan", "flan"]
    first = chunk.answers.filter(place=0)
    assert first["response"].to_list() == ["words", "words", "more words", "words", "words"]
    assert first["overall_score"].to_list() == [5.0, 5.0, 5.0, 6.0, 5.0]
    assert first["rating"].to_list() == [1.0, 1.0, 1.0, 1.0, 2.0]


def test_regular_rows_are_read_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("read one by one")

    monkeypatch.setattr(FeedbackReader, "_read", fail)
    regular = row(
        answer("1", "N/A", "3", "4", critique='So "Rating": 5 it is'), answer("5", "4", "3", "2", score=7.5)
    )
    chunk = read([regular] * 1000, ascii_only=False)
    assert (len(chunk.rows), len(chunk.answers)) == (1000, 2000)
    assert chunk.answers["rating"].to_list()[:2] == [8 / 3, 3.5]


def test_one_odd_row_among_many_is_read_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    one_by_one = FeedbackReader._read

    def note(reader: FeedbackReader, source: Source, lines: pl.DataFrame) -> Chunk:
        seen.extend(lines["row"])
        return one_by_one(reader, source, lines)

    monkeypatch.setattr(FeedbackReader, "_read", note)
    rows = [row(answer("1", "2", "3", "4"), answer("5", "4", "3", "2")) for _ in range(500)]
    rows[333] = row(answer() | {"annotations": {"honesty": [{"Rating": "5"}, {"Rating": "4"}]}}, answer("1"))
    chunk = read(rows)
    assert 333 in seen
    assert len(seen) <= 8  # its neighbours in a block that is halved until it can be decoded
    assert chunk.answers.filter(row=333)["rating"].to_list() == [4.5, 1.0]
    assert chunk.rows["notes"].to_list()[333] == ["aspect_list"]


def test_an_id_is_of_the_texts_whatever_their_marks_and_place() -> None:
    one = row(answer("1"), answer("5", response="other"))
    marked = row(answer("4", score=1), answer("N/A", response="other"), source="else")
    ids = read(
        [one, row(answer("1")), marked, row(*reversed(one["completions"])), row(instruction="Do.")]
    ).rows["id"]
    assert ids[0] == ids[2]
    assert ids.n_unique() == 4
    assert ids.str.contains("^[0-9a-f]{16}$").all()


def test_an_id_does_not_depend_on_where_a_text_ends() -> None:
    texts = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("a1:b", "c"), ("a", "1:bc")]
    rows = [row(answer("1", response=two, model=one)) for one, two in texts]
    rows += [row(answer("1", response=None, model="abc")), row(answer("1", response="abc") | {"model": None})]
    assert read(rows).rows["id"].n_unique() == len(rows)


# The choice, against a loop over rows that can be read at once.

MARK = st.sampled_from([None, 1.0, 2.0, 2.5, 3.0, 10 / 3, 5.0])


def brute_force(marks: list[float | None], rules: Rules) -> tuple[int | None, set[int], Reason | None]:
    """Return the place of the chosen answer, those that may be rejected, and why there is no pair."""
    rated = {place: mark for place, mark in enumerate(marks) if mark is not None}
    if len(rated) < 2:
        return None, set(), Reason.TOO_FEW_COMPLETIONS
    top = max(rated.values())
    chosen = min(place for place, mark in rated.items() if mark == top)
    lower = {place: mark for place, mark in rated.items() if mark < top}
    if rules.rejected == "other":
        lower = {place: mark for place, mark in rated.items() if place != chosen}
    if not lower:
        return None, set(), Reason.EQUAL_RATINGS
    lower = {place: mark for place, mark in lower.items() if top - mark >= rules.min_margin - 1e-9}
    if not lower:
        return None, set(), Reason.MARGIN_TOO_SMALL
    if rules.rejected == "lowest":
        return chosen, {min(lower, key=lambda place: (lower[place], place))}, None
    if rules.rejected == "next":
        return chosen, {min(lower, key=lambda place: (-lower[place], place))}, None
    return chosen, set(lower), None


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(st.tuples(MARK, MARK), max_size=5), min_size=1, max_size=20),
    by=st.sampled_from(["ratings", "overall_score"]),
    rejected=st.sampled_from(["random", "lowest", "next", "other"]),
    min_margin=st.sampled_from([0.0, 0.5, 4 / 3, 2.0]),
)
def test_the_choice_is_that_of_a_loop(
    rows: list[list[tuple[float | None, float | None]]], **asked: Any
) -> None:
    rules = Rules(**asked)
    answers = [
        {"row": number, "place": place, "rating": rating, "overall_score": score}
        for number, marks in enumerate(rows)
        for place, (rating, score) in enumerate(marks)
    ]
    schema = {"row": pl.Int64, "place": pl.Int64, "rating": pl.Float64, "overall_score": pl.Float64}
    ids = pl.DataFrame({"row": range(len(rows)), "id": [f"{number:016x}" for number in range(len(rows))]})
    picks = pick(Chunk(ids, pl.DataFrame(answers, schema=schema)), rules)
    assert picks["row"].to_list() == list(range(len(rows)))
    for marks, found in zip(rows, picks.iter_rows(named=True), strict=True):
        chosen, rejectable, reason = brute_force([mark[rules.by == "overall_score"] for mark in marks], rules)
        assert (found["chosen"], found["reason"]) == (chosen, reason)
        assert found["rejected"] in rejectable if rejectable else found["rejected"] is None
        for side, name in enumerate(("by_ratings", "by_score")):
            assert found[name] == brute_force([mark[side] for mark in marks], Rules(by=rules.by))[0]


def test_ratings_that_differ_in_the_order_of_their_sum_are_equal() -> None:
    rows = [row(answer(1.2, 1.1, 2.6, 2.3), answer(2.3, 1.1, 2.6, 1.2, response="else"))]
    ratings = read(rows).answers["rating"]
    assert ratings[0] != ratings[1]
    assert pick(read(rows), Rules())["reason"].to_list() == ["equal_ratings"]


def test_zephyr_s_rule_drops_no_row_for_equal_scores() -> None:
    equal, same = (
        row(*(answer("3", score=7, response=f"{place}") for place in range(4))),
        row(answer("3", score=7)),
    )
    rows = [equal, row(answer("5", score=9), answer("4", score=9), answer("3", score=1)), same]
    rules = Rules(by="overall_score", rejected="other", leave_out=frozenset())
    picks = pick(read(rows), rules)
    assert picks["chosen"].to_list() == [0, 0, None]
    assert all(place in (1, 2, 3) for place in picks["rejected"].to_list()[:2])
    assert picks["reason"].to_list() == [None, None, "too_few_completions"]


def draws(seed: int, ids: list[str]) -> list[int]:
    rows = pl.DataFrame({"row": range(len(ids)), "id": ids})
    answers = pl.DataFrame({"row": [number for number in range(len(ids)) for _ in range(4)]}).with_columns(
        place=pl.int_range(pl.len()) % 4,
        rating=pl.lit(5.0) - pl.int_range(pl.len()) % 4,
        overall_score=pl.lit(1.0),
    )
    found: list[int] = pick(Chunk(rows, answers), Rules(seed=seed))["rejected"].to_list()
    return found


def test_the_draw_is_even_and_stays_the_same() -> None:
    ids = [f"{number:016x}" for number in range(9000)]
    found = draws(42, ids)
    for place in (1, 2, 3):
        assert abs(found.count(place) - 3000) < 150  # 45 is one standard deviation
    # No library's own hash, which its next version may change.
    assert found == [1 + int(hashlib.sha256(f"42:{one}".encode()).hexdigest()[:15], 16) % 3 for one in ids]
    assert draws(43, ids) != found
    assert draws(42, ids[::-1]) == found[::-1]
