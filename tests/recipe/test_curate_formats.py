"""Each format, each reason for leaving a row out, and what is said of rows that fit no format."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from recipe.curate import CurateSummary, Rules, curate, pairs_in_order
from recipe.curate.formats import FORMATS, Recognizer
from recipe.curate.pair import OPTIONAL, BadRow, Pair, Reason, Turn
from recipe.curate.raw_row import By
from recipe.errors import UserError
from recipe.progress import Reporter

Row = dict[str, Any]

USER, ANSWER, OTHER = (
    {"role": "user", "content": "Hi?"},
    {"role": "assistant", "content": "Hello."},
    {"role": "assistant", "content": "No."},
)


def human(text: str) -> Row:
    return {"from": "human", "value": text}


def gpt(text: str) -> Row:
    return {"from": "gpt", "value": text}


def completion(*ratings: object, score: object = 5.0, response: str | None = "") -> Row:
    aspects = {f"aspect {place}": {"Rating": rating} for place, rating in enumerate(ratings)}
    default = f"rated {ratings} {score}"
    return {
        "model": f"m{ratings}",
        "response": default if response == "" else response,
        "overall_score": score,
        "annotations": aspects,
        "custom_system_prompt": "Be good.",
    }


def rated(*completions: object) -> Row:
    return {"source": "flan", "instruction": "Do.", "completions": list(completions)}


ROWS: dict[str, Row] = {
    "ultrafeedback": rated(completion("5"), completion("1")),
    "argilla": {
        "source": "flan",
        "instruction": "Do.",
        "chosen_response": "Done.",
        "rejected_response": "No.",
        "chosen_avg_rating": 4.5,
        "rejected_avg_rating": 2.0,
        "chosen_model": "gpt-4",
    },
    "pairs": {"prompt": "Do.", "chosen": "Done.", "rejected": "No."},
    "sharegpt": {"conversations": [human("Do.")], "chosen": gpt("Done."), "rejected": gpt("No.")},
    "messages": {"chosen": [USER, ANSWER], "rejected": [USER, OTHER]},
}


def outcome(row: Row, name: str = "auto", **rules: Any) -> Pair | Reason:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text(json.dumps(row))
        ((_, found),) = pairs_in_order([path], rules=Rules(**rules), dataset_format=name)
    return found


def convert(row: Row, name: str = "auto", **rules: Any) -> Pair:
    found = outcome(row, name, **rules)
    assert isinstance(found, Pair)
    return found


def run(folder: Path, rows: list[Row], name: str = "auto") -> CurateSummary:
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    quiet = Reporter(quiet=True)
    return curate([source], None, folder / "out", dataset_format=name, test_size=1, reporter=quiet)


def test_there_is_a_row_here_for_each_format() -> None:
    assert ROWS.keys() == {one.name for one in FORMATS}


@pytest.mark.parametrize("name", ROWS)
def test_recognised_by_itself_and_by_name(name: str) -> None:
    assert Recognizer("auto").recognise(ROWS[name]).name == name
    assert convert(ROWS[name]) == convert(ROWS[name], name)


def test_argilla() -> None:
    assert convert(ROWS["argilla"]) == Pair(
        (Turn("user", "Do."),), "Done.", "No.", "flan", "gpt-4", None, chosen_rating=4.5, rejected_rating=2.0
    )


@pytest.mark.parametrize(
    "scores",
    [
        {"metadata": {"score_chosen": 9, "score_rejected": "8.5"}},
        {"score_chosen": 9.0, "score_rejected": 8.5, "metadata": {"index": 1}},
    ],
)
def test_pairs_with_scores(scores: Row) -> None:
    pair = convert(ROWS["pairs"] | scores)
    assert (pair.chosen_rating, pair.rejected_rating) == (9.0, 8.5)


def test_texts_are_never_stripped() -> None:
    row = {"prompt": " \n Do. ", "chosen": "\tDone.\n\n", "rejected": "  No</s> "}
    pair = convert(row)
    assert [pair.prompt[0].content, pair.chosen, pair.rejected] == [*row.values()]


def test_sharegpt_keeps_all_turns() -> None:
    turns = [{"from": "system", "value": ""}, human("1?"), gpt("1."), human("2?")]
    pair = convert(ROWS["sharegpt"] | {"conversations": turns})
    assert pair.prompt == (
        Turn("system", ""),
        Turn("user", "1?"),
        Turn("assistant", "1."),
        Turn("user", "2?"),
    )


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": [USER, ANSWER], "rejected": [USER, OTHER]},
        {"prompt": "Hi?", "chosen": [USER, ANSWER], "rejected": [USER, OTHER], "messages": [USER, ANSWER]},
        {"prompt": "Hi?", "chosen": [ANSWER], "rejected": [OTHER]},
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER]},
        {"prompt": [USER], "chosen": [USER, ANSWER], "rejected": [USER, OTHER]},
        {"prompt": None, "chosen": [USER, ANSWER], "rejected": [USER, OTHER]},
    ],
)
def test_messages_with_each_kind_of_prompt(row: Row) -> None:
    assert convert(row) == Pair((Turn("user", "Hi?"),), "Hello.", "No.")


def test_messages_keep_the_history_and_scores() -> None:
    history = [{"role": "system", "content": "Be."}, USER, ANSWER, {"role": "user", "content": "And?"}]
    scores = {"score_chosen": 8.0, "score_rejected": 7.5}
    pair = convert({"chosen": [*history, ANSWER], "rejected": [*history, OTHER], **scores})
    assert [turn.role for turn in pair.prompt] == ["system", "user", "assistant", "user"]
    assert (pair.chosen_rating, pair.rejected_rating) == (8.0, 7.5)


def chosen_and_rejected(*completions: Row, by: By = "ratings") -> tuple[float | None, float | None]:
    pair = convert(rated(*completions), by=by)
    assert pair.prompt == (Turn("user", "Do."),)  # without the completion's own system prompt
    return pair.chosen_rating, pair.rejected_rating


def test_ratings_of_every_kind_and_not_rated_aspects() -> None:
    best = completion(5, "4", "N/A", None, 3.0)
    assert chosen_and_rejected(completion("1", "2"), best) == (4.0, 1.5)


def test_an_aspect_may_be_a_list_or_null() -> None:
    row = completion("1") | {"annotations": {"honesty": [{"Rating": "5"}, {"Rating": "4"}], "truth": None}}
    assert chosen_and_rejected(completion("2"), row) == (4.5, 2.0)


def test_overall_score_takes_the_other_rating() -> None:
    fault = completion("1", score="10")
    assert chosen_and_rejected(completion("5", score=7.5), fault) == (5.0, 1.0)
    assert chosen_and_rejected(completion("5", score=7.5), fault, by="overall_score") == (10.0, 7.5)


def test_the_first_of_equally_good_completions_is_chosen_and_no_equal_one_rejected() -> None:
    first, second = completion("5", response="first"), completion("5", response="second")
    for worse in range(20):
        pair = convert(rated(completion("1", response=str(worse)), first, second))
        assert (pair.chosen, pair.rejected) == ("first", str(worse))


def test_not_rated_completions_take_no_part() -> None:
    assert chosen_and_rejected(completion(), completion("2"), completion("N/A"), completion("1")) == (
        2.0,
        1.0,
    )


def messages(*roles: str) -> Row:
    turns = [{"role": role, "content": f"turn {place}"} for place, role in enumerate(roles)]
    return {"chosen": [*turns, ANSWER], "rejected": [*turns, OTHER]}


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        (Reason.NULL_FIELD, ROWS["pairs"] | {"prompt": None}),
        (Reason.NULL_FIELD, ROWS["pairs"] | {"rejected": None}),
        (Reason.NULL_FIELD, ROWS["argilla"] | {"instruction": None}),
        (Reason.NULL_FIELD, ROWS["sharegpt"] | {"chosen": None}),
        (Reason.NULL_FIELD, ROWS["sharegpt"] | {"conversations": None}),
        (Reason.NULL_FIELD, ROWS["sharegpt"] | {"conversations": [human("x") | {"value": None}]}),
        (Reason.NULL_FIELD, ROWS["messages"] | {"chosen": [None]}),
        (Reason.NULL_FIELD, ROWS["ultrafeedback"] | {"completions": None}),
        (Reason.NULL_FIELD, rated(completion("5", response=None), completion("1"))),
        (Reason.UNKNOWN_ROLE, messages("user", "tool", "user")),
        (Reason.UNKNOWN_ROLE, ROWS["sharegpt"] | {"chosen": {"from": "bing", "value": "x"}}),
        (Reason.BAD_TURN_ORDER, messages("user", "assistant")),
        (Reason.BAD_TURN_ORDER, messages("user", "user", "user")),
        (Reason.BAD_TURN_ORDER, messages("user", "system", "user")),
        (Reason.BAD_TURN_ORDER, messages("system")),
        (Reason.BAD_TURN_ORDER, messages("assistant", "user")),
        (Reason.BAD_TURN_ORDER, {"chosen": [USER], "rejected": [USER]}),
        (Reason.BAD_TURN_ORDER, ROWS["sharegpt"] | {"rejected": human("x")}),
        (Reason.PROMPTS_DIFFER, {"chosen": [USER, ANSWER], "rejected": [ANSWER, OTHER]}),
        (Reason.PROMPTS_DIFFER, ROWS["messages"] | {"prompt": "Other?"}),
        (Reason.TOO_FEW_COMPLETIONS, rated()),
        (Reason.TOO_FEW_COMPLETIONS, rated(None, completion("5"))),
        (Reason.TOO_FEW_COMPLETIONS, rated(completion("5"), completion("N/A"))),
        (Reason.TOO_FEW_COMPLETIONS, rated(completion("5"), completion() | {"annotations": None})),
        (Reason.EQUAL_RATINGS, rated(completion("5", "1"), completion("3"))),
        (Reason.EQUAL_RATINGS, ROWS["pairs"] | {"score_chosen": 5, "score_rejected": "5.0"}),
        (Reason.EQUAL_RATINGS, ROWS["argilla"] | {"rejected_avg_rating": 4.5}),
        (Reason.INVALID_UNICODE, ROWS["pairs"] | {"chosen": "half \ud83d"}),
        (Reason.EMPTY_PROMPT, ROWS["pairs"] | {"prompt": " \n"}),
        (Reason.EMPTY_PROMPT, ROWS["sharegpt"] | {"conversations": []}),
        (Reason.EMPTY_PROMPT, {"chosen": [ANSWER], "rejected": [OTHER]}),
        (Reason.EMPTY_RESPONSE, ROWS["pairs"] | {"chosen": "\u3000\t"}),
        (Reason.EMPTY_RESPONSE, ROWS["messages"] | {"rejected": []}),
        (Reason.EMPTY_RESPONSE, rated(completion("5"), completion("1", response=" "))),
        (Reason.EQUAL_ANSWERS, ROWS["pairs"] | {"chosen": "No."}),
    ],
)
def test_reasons(reason: Reason, row: Row) -> None:
    assert outcome(row) is reason


RULED: list[tuple[Reason, Row, dict[str, Any]]] = [
    (Reason.MARGIN_TOO_SMALL, rated(completion("5"), completion("4")), {"min_margin": 1.5}),
    (Reason.MARGIN_TOO_SMALL, ROWS["argilla"], {"min_margin": 3}),
    (Reason.SOURCE_LEFT_OUT, rated(completion("5"), completion("4")), {"drop_sources": ("flan",)}),
    (Reason.SOURCE_LEFT_OUT, ROWS["argilla"], {"only_sources": ("sharegpt",)}),
    (Reason.SOURCE_LEFT_OUT, ROWS["pairs"], {"only_sources": ("sharegpt",)}),
]


@pytest.mark.parametrize(("reason", "row", "rules"), RULED)
def test_reasons_that_a_recipe_asks_for(reason: Reason, row: Row, rules: dict[str, Any]) -> None:
    assert outcome(row, **rules) is reason
    assert isinstance(outcome(row), Pair)


def test_every_reason_is_tested() -> None:
    (mark,) = test_reasons.pytestmark  # type: ignore[attr-defined]
    by_files = {Reason.CONTAMINATED, Reason.OVERRIDDEN}  # in test_audit.py
    assert {reason for reason, *_ in (*mark.args[1], *RULED)} | by_files == set(Reason)


SWITCHED: dict[Reason, list[Row]] = {
    Reason.EQUAL_RATINGS: [
        ROWS["pairs"] | {"score_chosen": 5, "score_rejected": "5.0"},
        ROWS["argilla"] | {"rejected_avg_rating": 4.5},
    ],
    Reason.EMPTY_PROMPT: [ROWS["pairs"] | {"prompt": " \n"}, ROWS["argilla"] | {"instruction": ""}],
    Reason.EMPTY_RESPONSE: [
        ROWS["pairs"] | {"chosen": "\u3000\t"},
        ROWS["pairs"] | {"rejected": ""},
        rated(completion("5"), completion("1", response=" ")),
    ],
    Reason.EQUAL_ANSWERS: [ROWS["pairs"] | {"chosen": "No."}],
}


def test_each_reason_that_a_recipe_may_switch_off_is_tested() -> None:
    assert set(SWITCHED) == set(OPTIONAL)


@pytest.mark.parametrize(
    ("reason", "row"), [(reason, row) for reason, rows in SWITCHED.items() for row in rows], ids=str
)
def test_a_reason_that_is_switched_off_leaves_no_row_out(reason: Reason, row: Row) -> None:
    for others in (OPTIONAL - {reason}, frozenset()):
        pair = convert(row, leave_out=others)
        assert pair.chosen in row.values() or "completions" in row  # as it came, nothing stripped
    for these in (OPTIONAL, frozenset({reason})):
        assert outcome(row, leave_out=these) is reason


def test_each_switch_is_for_one_reason() -> None:
    empty_and_equal = ROWS["pairs"] | {"chosen": "", "rejected": "", "prompt": ""}
    for last, others in (
        (Reason.EMPTY_PROMPT, set()),
        (Reason.EMPTY_RESPONSE, {Reason.EMPTY_PROMPT}),
        (Reason.EQUAL_ANSWERS, {Reason.EMPTY_PROMPT, Reason.EMPTY_RESPONSE}),
    ):
        assert outcome(empty_and_equal, leave_out=OPTIONAL - others) is last
    assert convert(empty_and_equal, leave_out=frozenset()).chosen == ""


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        (Reason.NULL_FIELD, ROWS["pairs"] | {"chosen": None}),
        (Reason.BAD_TURN_ORDER, {"chosen": [USER], "rejected": [USER]}),
        (Reason.INVALID_UNICODE, ROWS["pairs"] | {"chosen": "half \ud83d"}),
        (Reason.TOO_FEW_COMPLETIONS, rated(completion("5"), completion("N/A"))),
        # No pair can be made of these, so that there is nothing to switch off.
        (Reason.EQUAL_RATINGS, rated(completion("5", "1"), completion("3"))),
        (Reason.EMPTY_PROMPT, {"chosen": [ANSWER], "rejected": [OTHER]}),
    ],
)
def test_what_gives_no_pair_is_left_out_whatever_is_switched_off(reason: Reason, row: Row) -> None:
    assert outcome(row, leave_out=frozenset()) is reason


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"question": "x", "answer": "y"}],
            "line 1: no known format has the columns question, answer; known are",
        ),
        ([{}], "line 1: no known format has the columns none"),
        ([{"a\nb": 1}], "line 1: no known format has the columns a b;"),
        ([ROWS["pairs"] | {"chosen": 3}], "(pairs: column 'chosen' is a number, not text)"),
        (
            [ROWS["pairs"], {"prompt": "x", "chosen": "y"}],
            "line 2: column 'rejected' is missing; the format recognised is pairs (prompt, chosen, rejected)",
        ),
        ([ROWS["pairs"], ROWS["pairs"] | {"prompt": {}}], "line 2: column 'prompt' is an object, not text"),
        ([ROWS["pairs"], ROWS["sharegpt"]], "line 2: format sharegpt, but the rows before are pairs"),
        ([ROWS["messages"] | {"prompt": 5}], "line 1: column 'prompt' is a number, not text"),
        (
            [ROWS["messages"] | {"chosen": [{"role": "user"}]}],
            "line 1: turn 1 of column 'chosen' is not an object",
        ),
        (
            [ROWS["messages"] | {"chosen": [USER | {"content": []}]}],
            "'content' of turn 1 of column 'chosen' is a list",
        ),
        ([rated(completion("5"), "x")], "line 1: completion 2 is text, not an object"),
        (
            [rated({"response": "x"})],
            "line 1: completion 1 has no 'annotations', which format ultrafeedback by",
        ),
        ([rated(completion("5") | {"annotations": []})], "annotations of completion 1 is a list"),
        (
            [rated(completion("5") | {"annotations": {"honesty": "5"}})],
            "aspect 'honesty' of completion 1 has no",
        ),
        ([rated(completion("good"))], "Rating of aspect 'aspect 0' of completion 1 is 'good', not a number"),
        ([rated(completion(True))], "is 'True', not a number"),
        (
            [rated(completion("5", score=float("inf")))],
            "overall_score of completion 1 is 'inf', not a number",
        ),
        (
            [rated(completion("1e308"))],
            "Rating of aspect 'aspect 0' of completion 1 is '1e308', not a number",
        ),
        (
            [rated(completion("5", score=-1e10))],
            "overall_score of completion 1 is '-10000000000.0', not a num",
        ),
        ([ROWS["pairs"] | {"score_chosen": [1]}], "the rating of chosen is '[1]', not a number"),
    ],
)
def test_bad_rows(tmp_path: Path, rows: list[Row], message: str) -> None:
    with pytest.raises(UserError) as error:
        run(tmp_path, rows)
    text = str(error.value)
    assert message in text
    assert text.startswith(f"{tmp_path / 'rows.jsonl'}, line {len(rows)}: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("pairs", ROWS["argilla"], "format pairs was asked for, but the row looks like argilla"),
        (
            "argilla",
            {"x": 1},
            "column 'instruction' is missing; the format asked for is argilla (instruction,",
        ),
    ],
)
def test_a_named_format_that_does_not_fit(tmp_path: Path, name: str, row: Row, message: str) -> None:
    with pytest.raises(UserError) as error:
        run(tmp_path, [row], name)
    assert message in str(error.value)


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dataset_format 'hh' is unknown; known are auto, ultrafeedback"):
        run(tmp_path, [ROWS["pairs"]], "hh")


def test_nulls_leave_the_format_open(tmp_path: Path) -> None:
    nulls = {"prompt": None, "chosen": None, "rejected": None}
    row = ROWS["messages"] | {"prompt": "Hi?"}
    summary = run(tmp_path, [nulls, row, row])
    assert (summary.format, summary.left_out) == ("messages", {"null_field": 1})


def test_a_first_row_of_two_formats_decides_for_rows_one_by_one_or_by_columns(tmp_path: Path) -> None:
    both = {"instruction": None, "completions": None, "prompt": "p", "chosen": "a", "rejected": "b"}
    with pytest.raises(UserError, match=r"line 2: format pairs, but the rows before are ultrafeedback"):
        run(tmp_path, [both, ROWS["pairs"], ROWS["pairs"]])


def test_two_files_of_different_formats_are_refused_in_either_order(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text(json.dumps(ROWS["ultrafeedback"]))
    other.write_text(json.dumps(ROWS["pairs"]))
    for files, said in (
        ([one, other], "other.jsonl, line 1: format pairs, but the rows before are ultrafeedback"),
        ([other, one], "one.jsonl, line 1: format ultrafeedback, but the rows before are pairs"),
    ):
        with pytest.raises(UserError, match=said):
            curate(files, None, tmp_path / "out", test_size=1, reporter=Reporter(quiet=True))
        assert not (tmp_path / "out").exists()


def test_a_bad_row_is_no_user_error_by_itself() -> None:
    assert not issubclass(BadRow, UserError)
