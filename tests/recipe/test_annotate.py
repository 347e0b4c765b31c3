"""Doubtful completions to Argilla and back, through its own SDK."""

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recipe.curate.annotate import DATASET_NAME, argilla, export_for_argilla
from recipe.curate.answers import Imported, import_answers
from recipe.curate.overrides import apply, offered, read_overrides, refuse_unknown
from recipe.errors import UserError
from tests.feedback_table import ASPECTS, NA, answer, row, write_data
from tests.recipe.fake_argilla import FakeArgilla
from tests.support import Cli

ANA, BEN, CLEO = (uuid.UUID(int=number) for number in (2, 3, 4))
pytestmark = pytest.mark.filterwarnings("ignore:Workspace not provided")

ROWS = (
    row(0, [answer("a", 10, 1, 1, 2, 1), answer("b", 8, 4, 4, 4, 4)], "score_10_low"),
    row(
        1,
        [answer("a", 9, 4, 4, 4, 4), answer("b", 10, 3, NA, 4), answer("c", 10, 2, 2)],
        "score_10_between",
        "score_10_low",
    ),
    row(2, [answer("a", 10, 5, 5, 5, 5), answer("b", 2, 1, 1, 1, 1)], "score_10_high", "chosen_differs"),
    row(3, None, "score_10_low"),
    row(
        4,
        [answer("a", 10, 3), answer("é\u2028", 6)],
        "score_10_between",
        source=None,
        instruction=None,
    ),
    row(5, [answer("a", 10, 1, 1, 2, 1), answer("b", 8, 4, 4, 4, 4)], "score_10_low", id=f"{0:016x}"),
)
RECORDS = [f"{0:016x}-0", f"{1:016x}-1", f"{1:016x}-2", f"{4:016x}-0"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The `data/` of a run; row 5 is row 0 again, and row 3 has no completions."""
    return write_data(tmp_path / "run" / "data", *ROWS)


def uploaded(folder: Path) -> Any:
    """Load an export into a server, as a person would, and return the SDK's data set."""
    sdk = argilla()
    client = sdk.Argilla(api_url="http://argilla.invalid", api_key="key", mounts=FakeArgilla().mounts)
    return sdk.Dataset.from_disk(str(folder), workspace="argilla", client=client)


def answered(
    dataset: Any, record: str, annotator: uuid.UUID, status: str = "submitted", **values: object
) -> None:
    """Answer a record's questions as `annotator`, beside what others answered."""
    sdk = argilla()
    stored = next(one for one in dataset.records if one.id == record)
    for question, value in values.items():
        stored.responses.add(sdk.Response(question, value, user_id=annotator, status=status))
    dataset.records.log([stored])


def flat(dataset: Any, folder: Path) -> Path:
    path = folder / "answers.jsonl"
    path.unlink(missing_ok=True)
    dataset.records.to_datasets().to_json(path)
    return path


@pytest.fixture
def dataset(data: Path, tmp_path: Path) -> Any:
    export_for_argilla(data, tmp_path / "export")
    return uploaded(tmp_path / "export")


def imported(path: Path) -> tuple[list[dict[str, Any]], Imported]:
    out = path.parent / "overrides.jsonl"
    out.unlink(missing_ok=True)
    found = import_answers(path, out)
    assert read_overrides(out).path == out  # it is what it should be
    return [json.loads(line) for line in out.read_text().splitlines()], found


def test_what_the_sdk_reads(data: Path, tmp_path: Path) -> None:
    exported = export_for_argilla(data, tmp_path / "new" / "export")
    assert (exported.records, exported.rows) == (4, 3)
    assert exported.by_flag == {"score_10_low": 2, "score_10_between": 2}
    dataset = uploaded(tmp_path / "new" / "export")
    assert dataset.name == DATASET_NAME
    records = {record.id: record for record in dataset.records}
    assert list(records) == RECORDS
    low, between, _, bare = records.values()
    assert dict(low.fields) == {
        "instruction": "question 0",
        "response": "a answers",
        "critique": "on a",
        "ratings": "overall score 10, mean rating 1.25; "
        "instruction following 1, honesty 1, truthfulness 2, helpfulness 1",
    }
    assert low.suggestions["overall_score"].value == 1
    assert dict(low.metadata) == {
        "flag": ["score_10_low"],
        "source": "flan",
        "model": "a",
        "mean_rating": 1.25,
    }
    assert between.fields["ratings"].endswith("instruction following 3, honesty N/A, truthfulness 4")
    assert len(between.suggestions) == 0
    assert bare.fields["instruction"] == ""
    assert "source" not in bare.metadata
    hidden = [one.name for one in dataset.settings.metadata if not one.visible_for_annotators]
    assert hidden == ["model"]
    questions = {question.name: question for question in dataset.settings.questions}
    assert list(questions) == [
        "overall_score",
        *(f"aspect_{aspect}" for aspect in ASPECTS),
        "leave_out",
        "note",
    ]
    assert list(questions["overall_score"].values) == list(range(1, 11))
    assert [name for name, question in questions.items() if question.required] == ["overall_score"]


def test_an_export_is_the_same_twice(data: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_for_argilla(data, tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.json"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_flag_of_rows_asks_about_all_their_completions(data: Path, tmp_path: Path) -> None:
    exported = export_for_argilla(data, tmp_path / "export", ["chosen_differs", "score_10_high"])
    records = {
        record["id"]: record for record in json.loads((tmp_path / "export" / "records.json").read_text())
    }
    assert list(records) == [f"{2:016x}-0", f"{2:016x}-1"]
    assert records[f"{2:016x}-0"]["metadata"]["flag"] == ["chosen_differs", "score_10_high"]
    assert records[f"{2:016x}-1"]["metadata"]["flag"] == ["chosen_differs"]
    assert exported.by_flag == {"chosen_differs": 2, "score_10_high": 1}


def test_the_persons_own_client_stays_the_default(data: Path, tmp_path: Path) -> None:
    sdk = argilla()
    mine = sdk.Argilla(api_url="http://argilla.invalid", api_key="key", mounts=FakeArgilla().mounts)
    export_for_argilla(data, tmp_path / "export")
    assert sdk.Argilla._get_default() is mine


def test_there_and_back(dataset: Any, data: Path, tmp_path: Path) -> None:
    """Annotated, brought back and applied, the rows are as answered, and no other row is touched."""
    answered(dataset, RECORDS[0], ANA, overall_score=1)
    answered(
        dataset, RECORDS[1], ANA, overall_score=4, aspect_honesty=2, aspect_truthfulness=1, note="né \u2028"
    )
    answered(dataset, RECORDS[2], BEN, "discarded", overall_score=9)
    answered(dataset, RECORDS[3], CLEO, overall_score=3, leave_out="leave_out")
    lines, found = imported(flat(dataset, tmp_path))
    assert lines == [
        {"id": f"{0:016x}", "completion": 0, "overall_score": 1, "annotator": str(ANA)},
        {
            "id": f"{1:016x}",
            "completion": 1,
            "overall_score": 4,
            "ratings": {"honesty": 2, "truthfulness": 1},
            "annotator": str(ANA),
            "note": "né \u2028",
        },
        {"id": f"{4:016x}", "completion": 0, "overall_score": 3, "annotator": str(CLEO)},
        {"id": f"{4:016x}", "leave_out": True, "annotator": str(CLEO)},
    ]
    assert found == Imported(4, 3, 1, 0, completions=3, left_out=1, conflicting=[])
    overrides = read_overrides(tmp_path / "overrides.jsonl")
    before = pl.read_parquet(data / "feedback.parquet")
    after = apply(before, overrides)
    refuse_unknown(overrides, offered(before, overrides))
    changed = set()
    for number in range(len(ROWS)):
        old, new = (frame["completions"].to_list()[number] or [] for frame in (before, after))
        assert len(old) == len(new)
        changed |= {(number, place) for place in range(len(old)) if repr(old[place]) != repr(new[place])}
    assert changed == {(0, 0), (5, 0), (1, 1), (4, 0)}
    assert [after["completions"][number][0]["overall_score"] for number in (0, 5, 4)] == [1, 1, 3]
    assert after["completions"][1][1]["rating"] == pytest.approx((3 + 2 + 1) / 3)
    assert after.filter(pl.col("id").is_in(overrides.left_out))["row"].to_list() == [4]


def test_several_annotators(dataset: Any, tmp_path: Path) -> None:
    for annotator, score, honesty in ((ANA, 1, 2), (BEN, 2, 2), (CLEO, 9, 2)):
        answered(dataset, RECORDS[0], annotator, overall_score=score, aspect_honesty=honesty)
    answered(dataset, RECORDS[1], BEN, overall_score=4, leave_out="leave_out", note="no")
    answered(dataset, RECORDS[1], ANA, overall_score=7, leave_out="keep", note="yes")
    answered(dataset, RECORDS[2], ANA, overall_score=2)
    answered(dataset, RECORDS[2], CLEO, "draft", overall_score=9, leave_out="leave_out")
    answered(dataset, RECORDS[3], ANA, overall_score=5, leave_out="leave_out")
    answered(dataset, RECORDS[3], BEN, overall_score=5, leave_out="leave_out")
    answered(dataset, RECORDS[3], CLEO, overall_score=5)
    lines, found = imported(flat(dataset, tmp_path))
    scores = {f"{line['id']}-{line['completion']}": line for line in lines if "completion" in line}
    assert [scores[record]["overall_score"] for record in RECORDS] == [2, 5.5, 2, 5]
    assert scores[RECORDS[0]]["ratings"] == {"honesty": 2}
    assert scores[RECORDS[0]]["annotator"] == f"{ANA}, {BEN}, {CLEO}"
    assert scores[RECORDS[1]]["note"] == "yes; no"
    assert scores[RECORDS[2]]["annotator"] == str(ANA)
    # Of row 1 one of two wants it out, of row 4 two of three.
    assert [line for line in lines if "leave_out" in line] == [
        {"id": f"{4:016x}", "leave_out": True, "annotator": f"{ANA}, {BEN}"}
    ]
    assert found.conflicting == [RECORDS[0], RECORDS[1], f"{1:016x}", f"{4:016x}"]
    assert (found.submitted, found.unfinished) == (9, 1)


def test_every_kind_of_export(dataset: Any, tmp_path: Path) -> None:
    answered(dataset, RECORDS[0], ANA, overall_score=1, aspect_honesty=1)
    answered(dataset, RECORDS[1], BEN, "draft", overall_score=9)
    expected, found = imported(flat(dataset, tmp_path))
    assert len(expected) == 1
    assert found.unfinished == 1
    hugging_face = dataset.records.to_datasets()
    hugging_face.to_parquet(tmp_path / "answers.parquet")
    hugging_face.save_to_disk(tmp_path / "saved")
    (tmp_path / "list.json").write_text(json.dumps(dataset.records.to_list(flatten=True)))
    (tmp_path / "disk").mkdir()
    dataset.to_disk(str(tmp_path / "disk"))
    dataset.records.to_json(tmp_path / "nested.json")
    for name in ("answers.parquet", "saved", "list.json", "disk", "nested.json"):
        assert imported(tmp_path / name) == (expected, found), name


def test_a_nested_export_does_not_say_who_submitted(dataset: Any, tmp_path: Path) -> None:
    answered(dataset, RECORDS[0], ANA, overall_score=1)
    answered(dataset, RECORDS[0], BEN, "discarded", overall_score=9)
    dataset.records.to_json(tmp_path / "nested.json")
    with pytest.raises(UserError, match=r"2 annotators answered the record .*-0, .* export with `dataset"):
        import_answers(tmp_path / "nested.json", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    assert imported(flat(dataset, tmp_path))[0][0]["overall_score"] == 1


def test_nobody_answered(dataset: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of 4 records has a submitted answer"):
        import_answers(flat(dataset, tmp_path), tmp_path / "out.jsonl")
    answered(dataset, RECORDS[0], ANA, "draft", overall_score=1)
    with pytest.raises(UserError, match="none of 4 records has a submitted answer"):
        import_answers(flat(dataset, tmp_path), tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


WHERE = f"record {RECORDS[0]}:"


def record(**columns: object) -> dict[str, Any]:
    return {"id": RECORDS[0], "status": "completed", **columns}


def said(value: object, **more: object) -> dict[str, Any]:
    columns = {"overall_score.responses": [value], "overall_score.responses.users": ["ana"]}
    return record() | columns | {"overall_score.responses.status": ["submitted"]} | more


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "none of 0 records has a submitted answer"),
        ("{", "not an export of Argilla's"),
        ("[1]", "not a list of records"),
        ('"text"', "not a list of records"),
        ("[" * 100_000, "not an export of Argilla's"),
        (b"\xff", "not an export of Argilla's"),
        ([{"fields": {}}], "the record 'None' does not ask about a completion"),
        ([said(1, id="5")], "the record '5' does not ask about a completion"),
        ([said(1), said(1)], f"the record {RECORDS[0]} stands there twice"),
        ([said("good")], f"record {RECORDS[0]}, overall_score: 'good' is no number"),
        ([said(True)], f"record {RECORDS[0]}, overall_score: True is no number"),
        ([said(11)], f"record {RECORDS[0]}, overall_score: Input should be less than or equal to 10, not 11"),
        (
            [record() | {"overall_score.responses": [1]}],
            f"{WHERE} 'overall_score.responses' lacks its users or statuses",
        ),
        (
            [said(1) | {"overall_score.responses.users": []}],
            f"{WHERE} 'overall_score.responses' lacks its users or statuses",
        ),
        ([record(responses={"overall_score": [1]})], f"{WHERE} responses without users or values"),
    ],
)
def test_what_is_no_export(tmp_path: Path, content: object, says: str) -> None:
    path = tmp_path / "answers.json"
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        import_answers(path, tmp_path / "out.jsonl")
    assert str(caught.value).startswith(f"{path}: {says}")
    assert "\n" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["answers.json"]


@pytest.mark.parametrize("name", ["nowhere.json", "nowhere.parquet"])
def test_no_such_export(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no such export"):
        import_answers(tmp_path / name, tmp_path / "out.jsonl")


def test_a_broken_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "answers.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not an export of Argilla's"):
        import_answers(tmp_path / "answers.parquet", tmp_path / "out.jsonl")


def test_nothing_is_written_over(data: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="there already"):
        export_for_argilla(data, tmp_path / "there")
    with pytest.raises(UserError, match="there already"):
        import_answers(tmp_path / "answers.json", tmp_path / "there")


def test_without_a_feedback_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"feedback\.parquet: no such file; run `notus curate`"):
        export_for_argilla(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("flags", [["rating_na"], ["score_10_lwo"]])
def test_no_row_has_the_flag(data: Path, tmp_path: Path, flags: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        export_for_argilla(data, tmp_path / "out", flags)
    assert f"flagged {flags[0]}; the flags there are: chosen_differs, score_10_between, " in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_without_the_sdk(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "argilla", None)
    with pytest.raises(UserError, match=r"not installed .*pip install '\.\[annotate\]'"):
        export_for_argilla(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_by_command_line(data: Path, tmp_path: Path, cli: Cli) -> None:
    folder, out = tmp_path / "doubtful", tmp_path / "overrides.jsonl"
    ended = cli("annotate", "export", "--run", data.parent, "--out", folder)
    assert ended.code == 0, ended.err
    assert f"4 answers of 3 rows written to {folder}" in ended.out
    assert f'rg.Dataset.from_disk("{folder}", workspace="argilla")' in ended.out
    dataset = uploaded(folder)
    answered(dataset, RECORDS[0], ANA, overall_score=1)
    answered(dataset, RECORDS[0], BEN, overall_score=2)
    ended = cli("annotate", "import", flat(dataset, tmp_path), "--out", out, "--json")
    assert ended.code == 0, ended.err
    answer_ = json.loads(ended.out)
    assert (answer_["completions"], answer_["submitted"]) == (1, 2)
    assert answer_["conflicting"] == [RECORDS[0]]
    assert "warning: annotators disagree on 1" in ended.err
    assert read_overrides(out).ids == [f"{0:016x}"]
    assert "there already" in cli("annotate", "import", tmp_path / "answers.jsonl", "--out", out).mistake


def test_by_command_line_with_other_flags(data: Path, tmp_path: Path, cli: Cli) -> None:
    arguments = ("annotate", "export", "--run", data.parent, "--out", tmp_path / "doubtful", "--json")
    ended = cli(*arguments, "--flag", "score_10_high", "--flag", "chosen_differs")
    assert json.loads(ended.out)["by_flag"] == {"score_10_high": 1, "chosen_differs": 2}


def test_by_command_line_before_curate(tmp_path: Path, cli: Cli) -> None:
    line = cli("annotate", "export", "--run", tmp_path, "--out", tmp_path / "doubtful").mistake
    assert "run `notus curate`" in line
    assert not list(tmp_path.iterdir())
