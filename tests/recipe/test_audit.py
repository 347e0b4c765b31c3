"""What the audit counts, to the row: faults planted by hand; fixes, overrides and benchmarks; in the run, by recipe."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recipe.curate import CurateSummary, Rules, curate
from recipe.errors import UserError
from recipe.progress import Reporter
from tests.support import Cli

Row = dict[str, Any]
ASPECTS = ("honesty", "helpfulness")


def answer(rating: object, score: object, response: str | None, model: str = "m") -> Row:
    aspects = {aspect: {"Rating": rating, "Rationale": "so"} for aspect in ASPECTS}
    critique = f"It is worth {rating}."
    return {
        "model": model,
        "response": response,
        "critique": critique,
        "overall_score": score,
        "annotations": aspects,
    }


def row(number: int, *answers: Row | None, source: str = "flan", instruction: str | None = None) -> Row:
    rest = [answer("2", 4, f"third {number}", "c"), answer("1", 2, f"fourth {number}", "d")]
    instruction = f"do {number}" if instruction is None else instruction
    return {"source": source, "instruction": instruction, "completions": [*answers, *rest][:4]}


def plain(number: int, **more: Any) -> Row:
    return row(
        number, answer("5", 9, f"first {number}", "a"), answer("4", 7, f"second {number}", "b"), **more
    )


def audit(folder: Path, rows: list[Row], **rules: Any) -> tuple[dict[str, Any], pl.DataFrame, CurateSummary]:
    folder.mkdir(exist_ok=True)
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    summary = curate(
        [path], None, folder / "out", rules=Rules(**rules), test_size=1, reporter=Reporter(quiet=True)
    )
    found = json.loads((folder / "out" / "audit.json").read_text())
    return found, pl.read_parquet(folder / "out" / "feedback.parquet"), summary


FAULTY = answer("1", 10, "misread", "b")
PLANTED: dict[str, tuple[Row, int]] = {
    "rating_na": (row(1, answer("N/A", 9, "x"), answer("4", 7, "y")), 2),
    "rating_null": (row(2, answer(None, 9, "x"), answer("4", 7, "y")), 2),
    "rating_zero": (row(3, answer("0", 9, "x"), answer("4", 7, "y")), 2),
    "rating_out_of_range": (row(4, answer("6", 9, "x"), answer("4", 7, "y")), 2),
    "unrated": (row(5, answer("N/A", 9, "x"), answer(None, 7, "y")), 2),
    "score_missing": (row(6, answer("5", None, "x"), answer("4", 7, "y")), 1),
    "score_out_of_range": (row(7, answer("5", 11, "x"), answer("4", 0, "y")), 2),
    "score_10_low": (row(8, answer("5", 9, "x"), FAULTY), 1),
    "score_10_between": (row(9, answer("5", 9, "x"), answer("3", 10, "y")), 1),
    "score_10_high": (row(10, answer("5", 10, "x"), answer("4", 7, "y")), 1),
    "score_10_missing": (row(11, answer("N/A", 10, "x"), answer("4", 7, "y")), 1),
    "empty_response": (row(12, answer("5", 9, " \n"), answer("4", 7, "y")), 1),
    "null_response": (row(13, answer("5", 9, None), answer("4", 7, "y")), 1),
    "same_response_other_score": (row(14, answer("5", 9, "same"), answer("4", 9, "same")), 2),
    "edge_whitespace": (row(15, answer("5", 9, " x"), answer("4", 7, "y\n"), instruction="do \t"), 3),
    "replacement_character": (
        row(16, answer("5", 9, "x\ufffd\ufffd"), answer("4", 7, "y"), instruction="\ufffd"),
        2,
    ),
    "special_token": (row(17, answer("5", 9, "x</s></s>"), answer("4", 7, "y"), instruction="<|user|>"), 2),
    "empty_prompt": (row(18, answer("5", 9, "x"), answer("4", 7, "y"), instruction=" "), 1),
    "fewer_completions": (row(19) | {"completions": [answer("5", 9, "x")]}, 1),
    "no_completions": (row(20) | {"completions": []}, 1),
    "null_completions": (row(21) | {"completions": None}, 1),
    "null_completion": (row(22, answer("5", 9, "x"), None), 1),
    "aspect_list": (row(23, answer("5", 9, "x") | {"annotations": {"honesty": [{"Rating": "5"}]}}), 1),
    "invalid_unicode": (row(24, answer("5", 9, "half \ud83d"), answer("4", 7, "y")), 1),
    "chosen_differs": (row(25, answer("5", 7, "x"), answer("4", 9, "y")), 1),
}
SIDE_EFFECTS = {  # what else each of them is noticed for
    "unrated": {"rating_na", "rating_null", "chosen_differs"},
    "score_10_missing": {"rating_na", "unrated", "chosen_differs"},
    "rating_na": {"unrated", "chosen_differs"},
    "rating_null": {"unrated", "chosen_differs"},
    "score_10_low": {"chosen_differs"},
    "score_10_between": {"chosen_differs"},
    "score_missing": {"chosen_differs"},
    "rating_zero": {"chosen_differs"},
    "null_completions": {"no_completions"},
    "null_completion": {"fewer_completions"},
    "aspect_list": {"fewer_completions", "rating_null"},
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_noticed_in_its_row_and_nowhere_else(tmp_path: Path, name: str) -> None:
    planted, count = PLANTED[name]
    found, feedback, _ = audit(tmp_path, [plain(100), planted, plain(101)])
    noticed = found["noticed"]
    assert noticed[name]["count"] == count
    assert noticed[name]["ids"] == [feedback["id"][1]]
    assert set(noticed) - {name} <= SIDE_EFFECTS.get(name, set())
    assert feedback["flags"].to_list() == [[], feedback["flags"].to_list()[1], []]
    assert set(feedback["flags"].to_list()[1]) == set(noticed)


def test_an_aspect_that_comes_late_counts_in_the_mean_and_is_noticed(tmp_path: Path) -> None:
    late = plain(500)
    late["completions"][1]["annotations"]["wit"] = {"Rating": "1"}
    found, feedback, _ = audit(tmp_path, [*(plain(number) for number in range(100)), late])
    assert found["noticed"]["other_aspect"]["ids"] == [feedback["id"][100]]
    assert [one["rating"] for one in feedback["completions"][100]][:2] == [5.0, 3.0]
    assert set(found["ratings"]) == set(ASPECTS)


def test_prompts_and_answers_that_come_again(tmp_path: Path) -> None:
    rows = [
        plain(1),
        plain(2),
        plain(3, instruction="do 1"),
        plain(4),
        plain(5, instruction="do 1"),
        plain(2),
    ]
    found, feedback, _ = audit(tmp_path, rows)
    ids = feedback["id"].to_list()
    assert found["noticed"]["duplicate_prompt"]["ids"] == [ids[2], ids[4], ids[5]]
    assert found["duplicates"] == {
        "prompts": 2,
        "rows": 3,
        "groups": [[ids[0], ids[2], ids[4]], [ids[1], ids[5]]],
        "responses": 4,
        "response_groups": 4,
    }


def test_the_suspicious_come_with_their_critique(tmp_path: Path) -> None:
    rows = [plain(0), *(PLANTED[f"score_10_{name}"][0] for name in ("low", "between", "high", "missing"))]
    found, feedback, summary = audit(tmp_path, rows)
    suspicious = found["suspicious"]
    assert {name: suspicious[name] for name in ("score_10", "low", "between", "high", "missing")} == {
        "score_10": 4,
        "low": 1,
        "between": 1,
        "high": 1,
        "missing": 1,
    }
    assert suspicious["completions"][0] == {
        "id": feedback["id"][1],
        "completion": 1,
        "source": "flan",
        "model": "b",
        "rating": 1.0,
        "class": "low",
        "critique": "It is worth 1.",
    }
    assert summary.ultrafeedback is not None
    assert summary.ultrafeedback["faulty_completions"] == 1


def test_marks_by_source_and_model(tmp_path: Path) -> None:
    rows = [plain(0), plain(1, source="sharegpt"), PLANTED["score_10_low"][0], PLANTED["rating_na"][0]]
    found, _, _ = audit(tmp_path, rows)
    assert (found["rows"], found["completions"]) == (4, 16)
    assert found["by_source"]["sharegpt"] == {
        "rows": 1,
        "completions": 4,
        "mean_rating": 3.0,
        "mean_score": 5.5,
    }
    model = found["by_model"]["b"]
    assert {
        key: model[key] for key in ("completions", "chosen_by_ratings", "chosen_by_score", "score_10_low")
    } == {
        "completions": 3,
        "chosen_by_ratings": 0,
        "chosen_by_score": 1,
        "score_10_low": 1,
    }
    assert found["ratings"]["honesty"] == {"1": 5, "2": 4, "4": 3, "5": 3, "N/A": 1}
    assert found["scores"] == {"2": 4, "4": 4, "7": 3, "9": 4, "10": 1}
    assert [10.0, 1.0, 1] in found["heat"]
    assert sum(count for *_, count in found["heat"]) == 15


def test_where_the_rules_choose_otherwise(tmp_path: Path) -> None:
    rows = [plain(0), plain(1, source="sharegpt"), PLANTED["score_10_low"][0], PLANTED["no_completions"][0]]
    found, feedback, _ = audit(tmp_path, rows)
    assert found["choice"] == {
        "compared": 3,
        "differs": 1,
        "share": round(1 / 3, 6),
        "by_source": {
            "flan": {"compared": 2, "differs": 1, "share": 0.5},
            "sharegpt": {"compared": 1, "differs": 0, "share": 0.0},
        },
        "by_model": {
            "a": {"compared": 2, "differs": 0, "share": 0.0},
            "m": {"compared": 1, "differs": 1, "share": 1.0},
        },
    }
    assert feedback["chosen"].to_list() == [0, 0, 0, None]
    assert feedback["chosen_other"].to_list() == [0, 0, 1, None]
    assert all(one in (1, 2, 3) for one in feedback["rejected"].to_list()[:3])


def test_ties(tmp_path: Path) -> None:
    same = row(1) | {"completions": [answer("3", 6, f"{place}") for place in range(4)]}
    top = row(2, answer("5", 9, "x"), answer("5", 9, "y"))
    found, _, summary = audit(tmp_path, [plain(0), same, top, plain(3)])
    assert found["ties"] == {
        "all_equal_by_ratings": 1,
        "all_equal_by_score": 1,
        "top_by_ratings": 1,
        "top_by_score": 1,
    }
    assert summary.left_out == {"equal_ratings": 1}


def test_agreement_is_of_pairs_of_answers_that_both_order(tmp_path: Path) -> None:
    odd = row(1)
    marks = ((5, 1, 2), (4, 1, 3), (3, 2, 3), (3, None, 9))
    odd["completions"] = [
        answer(None, score, str(place))
        | {"annotations": {"honesty": {"Rating": one}, "helpfulness": {"Rating": other}}}
        for place, (one, other, score) in enumerate(marks)
    ]
    found, _, _ = audit(tmp_path, [odd, plain(1), plain(2)])
    agreement = found["agreement"]
    names = agreement["names"]
    assert names == ["honesty", "helpfulness", "rating", "overall_score"]
    one, other = names.index("honesty"), names.index("helpfulness")
    # Of the odd row's six pairs both order two, each otherwise; of a plain row's all six, alike.
    assert agreement["pairs"][one][other] == agreement["pairs"][other][one] == 14
    assert agreement["share"][one][other] == round(12 / 14, 6)
    assert agreement["share"][one][one] is None


def test_length_of_chosen_over_rejected(tmp_path: Path) -> None:
    long, short = row(1), row(2, source="sharegpt")
    long["completions"] = [answer("5", 9, "x" * 40), answer("1", 2, "y" * 10)]
    short["completions"] = [answer("5", 9, "x" * 10), answer("1", 2, "y" * 20)]
    found, _, _ = audit(tmp_path, [long, short])
    length = found["length"]
    assert (length["pairs"], length["chosen_longer"], length["share"]) == (2, 1, 0.5)
    assert (length["mean_chosen"], length["mean_rejected"]) == (25.0, 15.0)
    assert length["by_source"] == {"flan": 1.0, "sharegpt": 0.0}
    assert length["histogram"] == [[-1.0, 1], [2.0, 1]]
    assert length["median_ratio"] == pytest.approx(2**0.5, abs=1e-4)


def test_the_fix_takes_a_misread_10_for_a_1_and_lists_what_people_have_to_decide(tmp_path: Path) -> None:
    rows = [plain(0), *(PLANTED[f"score_10_{name}"][0] for name in ("low", "between", "high", "missing"))]
    before, _, _ = audit(tmp_path / "before", rows, by="overall_score")
    found, feedback, _ = audit(tmp_path / "fixed", rows, by="overall_score", fix_scores="openbmb")
    ids = feedback["id"].to_list()
    assert before["fixes"] is None
    assert found["fixes"] == {
        "rule": "openbmb",
        "to_1": 1,
        "kept": 1,
        "to_annotate": 2,
        "ids": {"to_1": [ids[1]], "kept": [ids[3]], "to_annotate": [ids[2], ids[4]]},
    }
    assert (before["choice"]["differs"], found["choice"]["differs"]) == (3, 2)
    assert feedback["chosen"].to_list() == [0, 0, 1, 0, 0]
    assert feedback["completions"][1][1]["overall_score"] == 10.0  # the data are shown as they are
    assert found["suspicious"] == before["suspicious"]


def overrides(folder: Path, *lines: Row) -> Path:
    path = folder / "overrides.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_overrides_decide_and_are_counted(tmp_path: Path) -> None:
    rows = [plain(0), PLANTED["score_10_low"][0], plain(2), plain(3)]
    _, feedback, _ = audit(tmp_path, rows)
    ids = feedback["id"].to_list()
    path = overrides(
        tmp_path,
        {"id": ids[1], "completion": 1, "overall_score": 1},
        {"id": ids[0], "completion": 3, "ratings": {"honesty": 5, "helpfulness": 5}},
        {"id": ids[0], "completion": 0, "ratings": {"honesty": 1}},
        {"id": ids[2], "leave_out": True},
    )
    found, after, summary = audit(tmp_path, rows, overrides=path)
    assert found["overrides"] == {"rows": 2, "completions": 3, "left_out": 1}
    assert summary.left_out == {"overridden": 1}
    assert found["left_out"]["overridden"] == {"rows": 1, "ids": [ids[2]]}
    assert after["id"].to_list() == ids
    assert after["chosen"].to_list() == [3, 0, None, 0]
    assert after["chosen_other"].to_list() == [0, 0, 0, 0]  # the mended score no longer wins
    assert after["completions"].to_list() == feedback["completions"].to_list()
    others = audit(tmp_path, rows, overrides=overrides(tmp_path, {"id": ids[3], "leave_out": True}))[1]
    assert others["rejected"].to_list()[:3] == feedback["rejected"].to_list()[:3]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"id": "0" * 16, "leave_out": True}, "line 1: no row of the data has the id 0000000000000000"),
        ({"id": "0" * 16, "completion": 0, "overall_score": 1}, "line 1: no row of the data has the id"),
        ({"completion": 4, "overall_score": 1}, "has 4 completions, counted from 0, and none is number 4"),
        ({"completion": 0, "ratings": {"wit": 1}}, "the data have no aspect 'wit', but honesty, helpfulness"),
    ],
)
def test_overrides_of_what_is_not_there(tmp_path: Path, line: Row, said: str) -> None:
    rows = [plain(0), plain(1)]
    _, feedback, _ = audit(tmp_path / "before", rows)
    path = overrides(tmp_path, {"id": feedback["id"][0]} | line)
    with pytest.raises(UserError) as error:
        audit(tmp_path / "after", rows, overrides=path)
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)
    assert not (tmp_path / "after" / "out").exists()


QUESTION = "What is the capital of the country that won the world cup in nineteen ninety eight?"


def test_prompts_that_a_benchmark_has(tmp_path: Path) -> None:
    rows = [
        plain(0),
        plain(1, instruction=QUESTION.upper()),
        plain(2, instruction=f"Tell me: {QUESTION}", source="truthful_qa"),
        plain(3, instruction="the capital of the country that won the world cup"),
        plain(4),
    ]
    benchmark = tmp_path / "quiz.jsonl"
    benchmark.write_text(json.dumps({"q": QUESTION}) + "\n")
    asked = {"benchmarks": (f"{benchmark}:q",)}
    found, feedback, summary = audit(tmp_path / "seen", rows, **asked)
    ids = feedback["id"].to_list()
    assert found["contamination"]["rows"] == {"exact": [ids[1]], "13-gram": [ids[2]], "8-gram": [ids[3]]}
    assert found["contamination"]["files"] == {
        "quiz.jsonl:q": {"texts": 1, "exact": 1, "13-gram": 1, "8-gram": 1}
    }
    assert found["contamination"]["by_source"]["truthful_qa"] == {"exact": 0, "13-gram": 1, "8-gram": 0}
    assert summary.left_out == {}
    for level, dropped in (("exact", 1), ("13-gram", 2), ("8-gram", 3)):
        _, feedback, summary = audit(tmp_path / level, rows, drop_contaminated=level, **asked)
        assert summary.left_out == {"contaminated": dropped}
        assert feedback["reason"].to_list() == [None, *["contaminated"] * dropped, *[None] * (4 - dropped)]


def test_keys_that_look_alike_add_up_or_stay_apart(tmp_path: Path) -> None:
    rows = [plain(0), *(plain(number, source=None) for number in (1, 2)), plain(3, source="null")]
    rows[0]["completions"][0]["overall_score"] = 9.0000001
    found, _, _ = audit(tmp_path, rows)
    assert {name: one["rows"] for name, one in found["by_source"].items()} == {"flan": 1, "null": 3}
    assert found["scores"] == {"2": 4, "4": 4, "7": 4, "9": 3, "9.0000001": 1}
    assert set(found["length"]["by_source"]) == {"flan", "null"}


def test_aspects_may_be_called_like_anything_else(tmp_path: Path) -> None:
    rows = [plain(0), plain(1)]
    for one in rows:
        for number, each in enumerate(one["completions"]):
            names = ("rating", "overall_score", "row", "x", "x of the other", "place", "model", "\ud83d")
            each["annotations"] = {name: {"Rating": str(5 - number)} for name in names}
    found, feedback, _ = audit(tmp_path, rows)
    assert found["agreement"]["names"][:2] == ["rating", "overall_score"]
    assert found["noticed"]["other_aspect"]["count"] == 2
    assert feedback["chosen"].to_list() == [0, 0]


def test_many_answers(tmp_path: Path) -> None:
    many = row(1) | {
        "completions": [answer("5" if place == 299 else "1", 5, f"{place}") for place in range(300)]
    }
    assert audit(tmp_path, [many, plain(2), plain(3)])[1]["chosen"].to_list() == [299, 0, 0]


def test_a_source_that_no_row_has_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit(tmp_path, [plain(0), plain(1)], drop_sources=("truthfulqa",))
    assert "warning: the recipe names source truthfulqa, which no row has" in capsys.readouterr().err


def test_a_file_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(plain(0)) + "\n")
    with pytest.raises(UserError, match=r"rows\.jsonl: given twice"):
        curate([path, path], None, tmp_path / "out", test_size=1, reporter=Reporter(quiet=True))


def test_pairs_are_audited_too(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a </s>", "chosen": " x", "rejected": "y", "source": "one"},
        {"prompt": "b", "chosen": "x", "rejected": "", "source": "two"},
        {"prompt": "b", "chosen": "x", "rejected": "y"},
        {"prompt": "c", "chosen": None, "rejected": "y"},
        {"prompt": "d", "chosen": "xx", "rejected": "y"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    curate([path], None, tmp_path / "out", test_size=1, reporter=Reporter(quiet=True))
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert not (tmp_path / "out" / "feedback.parquet").exists()
    assert {name: part["count"] for name, part in found["noticed"].items()} == {
        "edge_whitespace": 1,
        "special_token": 1,
        "empty_response": 1,
        "duplicate_prompt": 1,
    }
    assert {reason: part["rows"] for reason, part in found["left_out"].items()} == {
        "empty_response": 1,
        "null_field": 1,
    }
    assert found["by_source"] == {"one": {"rows": 1}, "two": {"rows": 1}, "null": {"rows": 3}}
    assert "choice" not in found
    assert (found["length"]["pairs"], found["length"]["chosen_longer"], found["length"]["equal"]) == (3, 2, 1)


def test_a_recipe_asks_for_it_and_its_files_are_inputs(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    benchmark = tmp_path / "quiz.txt"
    benchmark.write_text("nothing like it\n")
    asked = [
        "contamination=" + json.dumps([str(benchmark)]),
        "binarize_rejected=lowest",
        "binarize_min_margin=0.5",
    ]
    sets = [part for one in asked for part in ("--set", one)]
    run = tmp_path / "run"
    assert cli("curate", tiny / "tiny.yaml", "--run", run, *sets).code == 0
    found = json.loads((run / "data" / "audit.json").read_text())
    assert found["contamination"]["files"]["quiz.txt"]["texts"] == 1
    assert (found["rules"]["rejected"], found["rules"]["min_margin"]) == ("lowest", 0.5)
    assert found["rules"]["benchmarks"] == ["quiz.txt"]
    inputs = json.loads((run / "inputs" / "inputs.json").read_text())
    assert list(inputs["files"]) == ["quiz.txt"]
    assert str(tmp_path) not in (run / "data" / "audit.json").read_text()
    benchmark.write_text("now another text\n")
    refused = cli("curate", tiny / "tiny.yaml", "--run", run, *sets)
    assert refused.code == 2
    assert "the base or the data have changed since this run was made" in refused.err


def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[Row], **rules: Any) -> str:
    audit(tmp_path / "told", rows, **rules)
    return capsys.readouterr().err


def test_what_a_recipe_asks_for_in_vain_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [plain(0), PLANTED["score_10_low"][0], plain(2)]
    id_ = audit(tmp_path / "before", rows)[1]["id"][1]
    score = overrides(tmp_path, {"id": id_, "completion": 1, "overall_score": 1})
    assert "1 overrides are of an overall_score only" in told(tmp_path, capsys, rows, overrides=score)
    assert told(tmp_path, capsys, rows, overrides=score, by="overall_score") == ""
    assert "fix_scores mends overall scores" in told(tmp_path, capsys, rows, fix_scores="openbmb")
    assert told(tmp_path, capsys, rows, fix_scores="openbmb", by="overall_score") == ""
    assert "overrides.jsonl: holds no override" in told(tmp_path, capsys, rows, overrides=overrides(tmp_path))
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"{n}", "chosen": "a", "rejected": "b"}) + "\n" for n in range(3))
    )
    rules = Rules(fix_scores="openbmb", rejected="lowest")
    curate([path], None, tmp_path / "out", rules=rules, test_size=1, reporter=Reporter(quiet=True))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"warning: {key} has no effect on rows that are pairs already (pairs)"
        for key in ("fix_scores", "binarize_rejected")
    ]


@pytest.mark.parametrize(
    ("rules", "mend"),
    [
        ({"only_sources": ("thnk",)}, "source_left_out 2; change the recipe's only_sources or drop_sources"),
        ({"min_margin": 9.0}, "margin_too_small 2; change the recipe's binarize_min_margin"),
    ],
)
def test_where_the_recipe_leaves_nothing_it_is_the_recipe_that_is_to_change(
    tmp_path: Path, rules: dict[str, Any], mend: str
) -> None:
    with pytest.raises(UserError, match=mend):
        audit(tmp_path, [plain(0), plain(1)], **rules)


def test_after_a_mistake_in_the_data_nothing_is_left_that_refuses_the_mended_ones(
    tiny: Path, tmp_path: Path, cli: Cli
) -> None:
    run, corrections, rows = tmp_path / "run", tmp_path / "ov.jsonl", tmp_path / "rows.jsonl"
    sets = ("--set", f"overrides={corrections}", "--set", f"dataset={rows}", "--set", "test_size=1")
    command = ("curate", tiny / "tiny.yaml", "--run", run, *sets)
    assert "there is no" in cli(*command).mistake
    rows.write_text("".join(json.dumps(plain(number)) + "\n" for number in range(4)) + "{")
    corrections.write_text(json.dumps({"id": "f" * 16, "leave_out": True}) + "\n")
    assert "rows.jsonl, line 5: broken JSON" in cli(*command).mistake
    assert not run.exists()
    rows.write_text(rows.read_text()[:-1])
    assert "no row of the data has the id" in cli(*command).mistake
    assert not run.exists()
    ids = audit(tmp_path / "ids", [plain(number) for number in range(4)])[1]["id"]
    corrections.write_text(json.dumps({"id": ids[2], "leave_out": True}) + "\n")
    done = cli(*command)
    assert done.code == 0
    assert "overrides: 0 answers of 0 rows corrected, 1 rows left out" in done.out
    # Now there is something to keep.
    corrections.write_text("{")
    assert cli(*command).code == 2
    assert (run / "data" / "train.parquet").is_file()
