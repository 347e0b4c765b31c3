"""The stage as a whole: files, split, determinism, and the account of every row."""

import hashlib
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe.curate import CurateSummary, Rules, curate, pairs_in_order, table
from recipe.curate import read as read_module
from recipe.curate.pair import Pair, Reason
from recipe.curate.split import split
from recipe.errors import UserError
from recipe.progress import Reporter
from tests.support import Cli

Row = dict[str, Any]
QUIET = Reporter(quiet=True)


def pair(number: int, **columns: Any) -> Row:
    return {
        "prompt": f"question {number}?",
        "chosen": f"good {number}",
        "rejected": f"bad {number}",
        **columns,
    }


def rated(number: int, ratings: tuple[str, ...] = ("5", "3", "2", "1")) -> Row:
    """Return an UltraFeedback row whose completions have these ratings on every aspect."""
    completions = [
        {
            "model": f"model-{place}",
            "response": f"answer {place} to {number}",
            "overall_score": 10.0 if place == 0 else 9 - place,
            "annotations": {
                aspect: {"Rating": rating, "Rationale": "so"} for aspect in ("honesty", "helpfulness")
            },
        }
        for place, rating in enumerate(ratings)
    ]
    return {"source": "flan", "instruction": f"do {number}", "completions": completions}


def write(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def run(folder: Path, rows: list[Row], test_size: int = 1, **options: Any) -> CurateSummary:
    source = write(folder / "rows.jsonl", rows)
    ruled = {key: options.pop(key) for key in list(options) if key in Rules.__dataclass_fields__}
    if "leave_out" in ruled:
        ruled["leave_out"] = frozenset(map(Reason, ruled["leave_out"]))
    options = {"heldout": None, "reporter": QUIET, "rules": Rules(**ruled)} | options
    return curate([source], out=folder / "out", test_size=test_size, **options)


def test_the_split_is_that_of_datasets(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(57)]
    run(tmp_path, rows, test_size=13)
    theirs = datasets.Dataset.from_list(rows).shuffle(seed=42).train_test_split(test_size=13, seed=42)
    for name, part in (("train", "train"), ("heldout", "test")):
        ours = [row["prompt"][0]["content"] for row in read(tmp_path / "out" / f"{name}.parquet")]
        assert ours == theirs[part]["prompt"]


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_split_counts_usable_rows_only(seed: int) -> None:
    items = list(range(101))
    theirs = datasets.Dataset.from_dict({"n": items}).shuffle(seed=seed).train_test_split(20, seed=seed)
    assert split(items, 20, seed) == (theirs["train"]["n"], theirs["test"]["n"])


def test_a_given_heldout_part_is_shuffled_on_its_own(tmp_path: Path) -> None:
    train, heldout = [pair(number) for number in range(20)], [pair(number) for number in range(100, 109)]
    held = write(tmp_path / "held.jsonl", heldout)
    summary = run(tmp_path, train, heldout=[held])
    assert (summary.train, summary.heldout) == (20, 9)
    assert [entry["part"] for entry in summary.files] == ["train", "heldout"]
    for name, rows in (("train", train), ("heldout", heldout)):
        ours = [row["chosen"] for row in read(tmp_path / "out" / f"{name}.parquet")]
        assert ours == datasets.Dataset.from_list(rows).shuffle(seed=42)["chosen"]


@pytest.mark.parametrize("test_size", [-1, 0, 3, 4])
def test_both_parts_need_rows(tmp_path: Path, test_size: int) -> None:
    with pytest.raises(UserError, match=f"test_size {test_size}, usable rows 3"):
        run(tmp_path, [pair(1), pair(2), pair(3), pair(4, chosen="")], test_size=test_size)
    assert not (tmp_path / "out").exists()


def test_one_file_cannot_be_both_parts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl: both train and held-out"):
        run(tmp_path, [pair(1)], heldout=[tmp_path / "rows.jsonl"])


def test_columns(tmp_path: Path) -> None:
    run(tmp_path, [rated(1), rated(2)])
    (row,) = read(tmp_path / "out" / "heldout.parquet")
    number = row["prompt"][0]["content"].removeprefix("do ")
    assert row["prompt"] == [{"role": "user", "content": f"do {number}"}]
    assert row["chosen"] == f"answer 0 to {number}"
    assert row["rejected"] in {f"answer {place} to {number}" for place in (1, 2, 3)}
    assert row["source"] == "flan"
    assert row["chosen_model"] == "model-0"
    assert row["rejected_model"] == f"model-{row['rejected'][len('answer ')]}"
    assert (row["chosen_rating"], len(row["id"])) == (5.0, 16)
    schema = pq.read_schema(tmp_path / "out" / "train.parquet")
    assert schema.field("prompt").type == pa.list_(
        pa.struct([("role", pa.string()), ("content", pa.string())])
    )
    assert schema.field("rejected_rating").type == pa.float64()


def test_same_input_same_bytes(tmp_path: Path) -> None:
    rows = [rated(number) for number in range(30)]
    digests = []
    for place in ("a", "b"):
        run(tmp_path / place, rows, test_size=5)
        files = sorted((tmp_path / place / "out").iterdir())
        assert [file.name for file in files] == [
            "audit.json",
            "data.json",
            "feedback.parquet",
            "heldout.parquet",
            "train.parquet",
        ]
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


def pairs_of(folder: Path) -> dict[str, Row]:
    rows = [row for part in ("train", "heldout") for row in read(folder / "out" / f"{part}.parquet")]
    return {row["id"]: row for row in rows}


def test_the_random_rejected_does_not_depend_on_the_place(tmp_path: Path) -> None:
    rows = [rated(number) for number in range(60)]
    run(tmp_path / "a", rows)
    run(tmp_path / "b", random.Random(1).sample(rows, k=len(rows)))
    assert pairs_of(tmp_path / "a") == pairs_of(tmp_path / "b")


def test_the_random_rejected_depends_on_the_seed_and_reaches_all(tmp_path: Path) -> None:
    rows = [rated(number) for number in range(60)]
    run(tmp_path / "a", rows)
    run(tmp_path / "b", rows, seed=43)
    first, second = pairs_of(tmp_path / "a"), pairs_of(tmp_path / "b")
    assert first.keys() != second.keys()
    assert {row["rejected_model"] for row in first.values()} == {"model-1", "model-2", "model-3"}


def test_file_format_does_not_matter(tmp_path: Path) -> None:
    rows = [rated(number) for number in range(20)]
    array, table = tmp_path / "rows.json", tmp_path / "rows.parquet"
    array.write_text(json.dumps(rows, indent=1))
    pq.write_table(pa.Table.from_pylist(rows), table)
    run(tmp_path, rows, test_size=4)
    expected = (tmp_path / "out" / "train.parquet").read_bytes()
    for source in (array, table):
        curate([source], None, tmp_path / "other", test_size=4, reporter=QUIET)
        assert (tmp_path / "other" / "train.parquet").read_bytes() == expected


def test_data_json(tmp_path: Path) -> None:
    rows = [
        rated(0),
        rated(1, ("1", "5", "2", "1")),  # the fault: overall_score 10 for the worst
        rated(2, ("3", "3", "3", "3")),
        rated(3, ("5", "N/A", "N/A", "N/A")),
        rated(4) | {"instruction": "say </s> and </s><|user|>"},
    ]
    summary = run(tmp_path, rows)
    path = tmp_path / "out" / "data.json"
    content = path.read_text()
    assert CurateSummary.read(path) == summary
    assert content == json.dumps(json.loads(content), indent=2, sort_keys=True) + "\n"
    assert (summary.format, summary.by, summary.rows_in, summary.rows_used) == (
        "ultrafeedback",
        "ratings",
        5,
        3,
    )
    source = tmp_path / "rows.jsonl"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert summary.files == [{"name": "rows.jsonl", "part": "train", "sha256": digest, "rows": 5}]
    assert summary.left_out == {"equal_ratings": 1, "too_few_completions": 1}
    (listed,) = summary.left_out_rows["equal_ratings"]
    assert (listed["file"], listed["line"]) == ("rows.jsonl", 3)
    assert summary.literal_special_tokens["</s>"] == 2
    assert summary.literal_special_tokens["<|user|>"] == 1
    assert summary.literal_special_tokens["<unk>"] == 0
    assert summary.lengths_characters["prompt"]["max"] == len("say </s> and </s><|user|>")
    assert summary.ultrafeedback == {
        "completions": 20,
        "faulty_completions": 1,
        "rows_compared": 3,
        "chosen_differs": 1,
        "chosen_differs_share": round(1 / 3, 6),
    }


def test_counts_over_the_pairs(tmp_path: Path) -> None:
    turns = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "One?"},
        {"from": "gpt", "value": "1"},
        {"from": "human", "value": "Two?"},
    ]
    answers = {"chosen": {"from": "gpt", "value": "2"}, "rejected": {"from": "gpt", "value": "3"}}
    long = {"conversations": turns, **answers}
    short = {"conversations": turns[1:2], **answers, "score_chosen": 1, "score_rejected": 2}
    other = {**long, "conversations": [*turns[:3], {"from": "human", "value": "Three?"}]}
    held = write(tmp_path / "held.jsonl", [long, other])
    summary = run(tmp_path, [long, short], heldout=[held])
    assert (summary.by, summary.ultrafeedback) == (None, None)
    assert (summary.multi_turn, summary.with_system) == (3, 3)
    assert (summary.duplicate_pairs, summary.rated_backwards) == (1, 1)
    assert summary.heldout_prompts_in_train == 1


def test_only_the_first_rows_left_out_are_listed(tmp_path: Path) -> None:
    empty = [pair(number, chosen=" ") for number in range(30)]
    summary = run(tmp_path, [*empty, pair(90), pair(91)])
    assert summary.left_out == {"empty_response": 30}
    assert [row["line"] for row in summary.left_out_rows["empty_response"]] == list(range(1, 21))


def test_no_usable_row_names_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"rows\.jsonl: no usable row in the train .*empty_response 2, null_field 1"
    ):
        run(tmp_path, [pair(1, chosen=""), pair(2, rejected="\n"), pair(3, prompt=None)])


EMPTY = pair(1, chosen="")
EQUAL = pair(2, chosen="same", rejected="same")
UNASKED = pair(3, prompt=" ")
RATED = pair(4, score_chosen=3, score_rejected=3)


@pytest.mark.parametrize(
    ("leave_out", "counted"),
    [
        ([], {}),
        (["empty_response"], {"empty_response": 1}),
        (["equal_answers", "empty_prompt"], {"empty_prompt": 1, "equal_answers": 1}),
        (["equal_ratings"], {"equal_ratings": 1}),
        (None, {"empty_prompt": 1, "empty_response": 1, "equal_answers": 1, "equal_ratings": 1}),
    ],
    ids=str,
)
def test_a_recipe_says_which_pairs_are_of_no_use(
    tmp_path: Path, leave_out: list[str] | None, counted: dict[str, int]
) -> None:
    rows = [EMPTY, EQUAL, UNASKED, RATED, *(pair(number) for number in range(10, 13))]
    options: Row = {} if leave_out is None else {"leave_out": leave_out}
    summary = run(tmp_path, [*rows, pair(20, chosen=None)], **options)
    assert summary.left_out == counted | {"null_field": 1}
    assert summary.rows_used == len(rows) - sum(counted.values())
    assert len(pairs_of(tmp_path)) == summary.rows_used


def test_the_stage_asks_the_recipe_for_it(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    rows = write(tmp_path / "rows.jsonl", [EMPTY, EQUAL, UNASKED, RATED, *(pair(n) for n in range(10, 20))])
    for keys, used in (("[]", 14), ("[equal_answers]", 13), ("[empty_prompt, empty_response]", 12)):
        folder = tmp_path / str(used)
        sets = ("--set", f"dataset={rows}", "--set", f"leave_out={keys}")
        assert cli("curate", tiny / "tiny.yaml", "--run", folder, *sets).code == 0
        assert CurateSummary.read(folder / "data" / "data.json").rows_used == used


def test_with_every_row_used_the_split_is_that_of_datasets_over_them_all(tmp_path: Path) -> None:
    rows = [pair(number, chosen=f"{number}" if number % 3 else "") for number in range(30)]
    run(tmp_path, rows, test_size=7, leave_out=[])
    theirs = datasets.Dataset.from_list(rows).shuffle(seed=42).train_test_split(test_size=7, seed=42)
    for name, part in (("train", "train"), ("heldout", "test")):
        ours = [row["prompt"][0]["content"] for row in read(tmp_path / "out" / f"{name}.parquet")]
        assert ours == theirs[part]["prompt"]


def test_pairs_come_in_the_order_of_the_files_with_the_numbers_of_their_rows(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", [pair(0), EMPTY, pair(2)])
    second = write(tmp_path / "b.jsonl", [EQUAL, pair(4, prompt=None), pair(5)])

    def found(*leave_out: str) -> list[tuple[int, str]]:
        rules = Rules(leave_out=frozenset(map(Reason, leave_out)))
        order = pairs_in_order([first, second], rules=rules, dataset_format="auto")
        return [(row, one.value if isinstance(one, Reason) else one.chosen) for row, one in order]

    used = {0: "good 0", 2: "good 2", 5: "good 5"}
    none_left_out = used | {1: "", 3: "same", 4: "null_field"}
    assert found() == sorted(none_left_out.items())
    assert found("equal_answers", "empty_response") == sorted(
        (none_left_out | {1: "empty_response", 3: "equal_answers"}).items()
    )


def test_pairs_in_order_are_those_that_curate_writes(tmp_path: Path) -> None:
    rows = [rated(number) for number in range(20)]
    run(tmp_path, rows, test_size=4)
    order = pairs_in_order([tmp_path / "rows.jsonl"], dataset_format="ultrafeedback")
    found = [one for _, one in order if isinstance(one, Pair)]
    texts = {(one.prompt[0].content, one.chosen, one.rejected) for one in found}
    assert len(texts) == len(found) == 20
    assert texts == {
        (row["prompt"][0]["content"], row["chosen"], row["rejected"]) for row in pairs_of(tmp_path).values()
    }


def test_a_broken_row_in_order_is_refused_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [pair(0), {"prompt": 3}])
    order = pairs_in_order([path], dataset_format="auto")
    assert next(order)[0] == 0
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: "):
        next(order)


def test_many_rows_show_progress_and_literals_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [pair(number) for number in range(5000)] + [pair(1, chosen="</s>"), pair(1, chosen="")]
    run(tmp_path, rows, reporter=Reporter())
    out, err = capsys.readouterr()
    assert "reading rows.jsonl 5002/5002" in out
    assert "special tokens, kept as plain text: </s>" in err


TEXTS = st.sampled_from([None, "", " \n", "a", "b", "\ud800", "</s>"])
RATINGS = st.sampled_from([None, "N/A", "1", 2, 3.5])
ANSWER = st.fixed_dictionaries(
    {
        "response": TEXTS,
        "overall_score": RATINGS,
        "annotations": st.none()
        | st.fixed_dictionaries({"honesty": st.fixed_dictionaries({"Rating": RATINGS})}),
    }
)
TURN = st.none() | st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", None]), "content": TEXTS}
)
TURNS = st.none() | st.lists(TURN, max_size=4)
ROWS: dict[str, tuple[st.SearchStrategy[Row], list[Row]]] = {
    "ultrafeedback": (
        st.fixed_dictionaries(
            {"instruction": TEXTS, "completions": st.none() | st.lists(ANSWER, max_size=4)}
        ),
        [rated(1), rated(2)],
    ),
    "pairs": (
        st.fixed_dictionaries(
            {"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS},
            optional={"score_chosen": RATINGS, "score_rejected": RATINGS},
        ),
        [pair(1), pair(2)],
    ),
    "messages": (
        st.fixed_dictionaries({"chosen": TURNS, "rejected": TURNS}, optional={"prompt": TEXTS | TURNS}),
        [
            {
                "prompt": question,
                "chosen": [{"role": "assistant", "content": "x"}],
                "rejected": [{"role": "assistant", "content": "y"}],
            }
            for question in ("one?", "two?")
        ],
    ),
}


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(ROWS)))
def test_every_row_is_accounted_for(data: st.DataObject, name: str) -> None:
    strategy, good = ROWS[name]
    rows = data.draw(st.lists(strategy, max_size=8))
    with tempfile.TemporaryDirectory() as folder:
        summary = run(Path(folder), [*rows, *good])
        used = read(Path(folder) / "out" / "train.parquet") + read(Path(folder) / "out" / "heldout.parquet")
    assert summary.format == name
    assert summary.rows_in == len(rows) + 2 == summary.rows_used + sum(summary.left_out.values())
    assert summary.rows_used == summary.train + summary.heldout == len(used)
    assert all(row["chosen"].strip() and row["rejected"].strip() for row in used)
    assert all(row["prompt"][-1]["role"] == "user" for row in used)
    assert all(row["chosen"] != row["rejected"] for row in used)


@pytest.mark.parametrize("bucket", [3, 7, 20])
def test_pairs_that_do_not_fit_into_memory_come_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: int
) -> None:
    rows = [rated(number) for number in range(23)]
    run(tmp_path / "whole", rows, test_size=5)
    monkeypatch.setattr(read_module, "_BLOCK", 5000)  # some rows at a time
    monkeypatch.setattr(table, "_HELD", 8)
    monkeypatch.setattr(table, "_BUCKET", bucket)
    run(tmp_path / "dealt", rows, test_size=5)
    for name in ("train", "heldout"):
        whole, dealt = (tmp_path / place / "out" / f"{name}.parquet" for place in ("whole", "dealt"))
        assert read(dealt) == read(whole)
        assert pq.read_schema(dealt) == pq.read_schema(whole)
    assert not list((tmp_path / "dealt").glob(".curate-*"))


def test_a_line_that_never_ends_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_module, "LONGEST_LINE", 4000)
    monkeypatch.setattr(read_module, "_BLOCK", 1000)
    for name, content in (
        ("pairs.jsonl", json.dumps(pair(1)) + "\n" + json.dumps(pair(2, chosen="x" * 5000))),
        ("rated.jsonl", json.dumps(rated(1)) + "\n" + json.dumps(rated(2) | {"more": "x" * 9000}) + "\n"),
    ):
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(UserError, match=rf"{name}, line 2: longer than 0 MiB, which is no row of text"):
            curate([path], None, tmp_path / "out", test_size=1, reporter=QUIET)
        assert not (tmp_path / "out").exists()
