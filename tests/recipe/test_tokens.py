"""`notus tokens`: each row's tokens and masks as the recipe makes them, for scripts and for people."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipe.builtin import make_feedback
from recipe.builtin.tokenizer import train_tokenizer
from recipe.load import load_recipe
from recipe.prompt import Message, pair_tokenizer
from recipe.tokenizer import load_tokenizer
from tests.support import Cli, Outcome

IN_2023 = ("--set", "tokenization=zephyr-2023")
LONG = "ask " * 200
ROWS: list[dict[str, Any]] = [
    {"prompt": "Hello", "chosen": "yes", "rejected": "no"},
    {"prompt": "Hello", "chosen": "", "rejected": "no"},
    {"prompt": "a</s>b [bold]c[/bold]", "chosen": "日本\nyes", "rejected": "</s>"},
    {"prompt": "Hello", "chosen": "no", "rejected": "no"},
    {"prompt": LONG, "chosen": LONG, "rejected": "no"},
]
USED = [0, 2, 4]
KEYS = ["row", "prompt_ids", "prompt_mask", "chosen_ids", "chosen_mask", "rejected_ids", "rejected_mask"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture
def tokens(tiny: Path, data: Path, cli: Cli) -> Cli:
    """Run `notus tokens` over `ROWS` with the tiny base."""

    def run(*arguments: object) -> Outcome:
        given = ("--set", f"dataset={data}", *arguments)
        return cli("tokens", tiny / "tiny.yaml", *given)

    return run


def told(ended: Outcome) -> list[dict[str, Any]]:
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def expected(tiny: Path, row: int, *overrides: str, tokenizer: Path | None = None) -> dict[str, object]:
    """Return what the recipe's rule makes of a row of `ROWS`."""
    science = load_recipe(tiny / "tiny.yaml", overrides).science
    rule = pair_tokenizer(load_tokenizer(tokenizer or tiny / "base"), science)
    prompt: list[Message] = [{"role": "user", "content": ROWS[row]["prompt"]}]
    pair = rule.pair(
        prompt, ROWS[row]["chosen"], ROWS[row]["rejected"], max_length=256, max_prompt_length=128
    )
    return {"row": row} | {key: getattr(pair, key) for key in KEYS[1:]}


@pytest.mark.parametrize("tokenization", ["zephyr-2023", "current"])
def test_a_script_gets_what_the_rule_makes_of_each_row(tokens: Cli, tiny: Path, tokenization: str) -> None:
    override = f"tokenization={tokenization}"
    ended = tokens("--json", "--set", override)
    rows = told(ended)
    assert rows == [expected(tiny, row, override) for row in USED]
    assert [list(row) for row in rows] == [KEYS] * 3
    assert all(
        len(row[f"{side}_ids"]) == len(row[f"{side}_mask"]) for row in rows for side in ("prompt", "chosen")
    )
    assert any(0 in row["prompt_mask"] for row in rows) == (tokenization == "zephyr-2023")


def test_rows_that_give_no_pair_are_counted_and_keep_their_numbers(tokens: Cli) -> None:
    ended = tokens("--json")
    assert [row["row"] for row in told(ended)] == USED
    assert ended.err.splitlines() == [
        "warning: 1 row(s) left out: empty_response",
        "warning: 1 row(s) left out: equal_answers",
    ]
    all_of_them = tokens("--json", "--set", "leave_out=[]")
    assert [row["row"] for row in told(all_of_them)] == [0, 1, 2, 3, 4]
    assert all_of_them.err == ""


def test_an_empty_answer_is_four_tokens_in_2023(tokens: Cli, tiny: Path) -> None:
    rows = told(tokens("--json", *IN_2023, "--set", "leave_out=[]"))
    tokenizer = load_tokenizer(tiny / "base")
    assert tokenizer.convert_ids_to_tokens(rows[1]["chosen_ids"]) == ["</s>", "▁", "\n", "</s>"]
    assert rows[1]["chosen_mask"] == [0, 1, 1, 1]


def test_what_is_printed_is_what_is_trained_on(tokens: Cli) -> None:
    row = told(tokens("--json", *IN_2023))[2]
    assert [len(row[f"{side}_ids"]) for side in ("prompt", "chosen")] == [128, 128]  # of 256


@pytest.mark.parametrize(("limit", "rows"), [(1, [0]), (2, [0, 2]), (100, USED)])
def test_a_limit_is_in_rows_that_are_printed(tokens: Cli, limit: int, rows: list[int]) -> None:
    assert [row["row"] for row in told(tokens("--json", "--limit", limit))] == rows


def test_a_limit_of_nothing_is_refused(tokens: Cli) -> None:
    assert tokens("--limit", 0).code == 2


def test_the_data_that_ship_are_tokenized_without_a_base(cli: Cli) -> None:
    rows = told(cli("tokens", "--json", "--limit", 2))
    tokenizer = train_tokenizer(
        text
        for row in make_feedback()
        for text in (str(row["instruction"]), *(one["response"] for one in row["completions"]))  # type: ignore[attr-defined]
    )
    assert str(tokenizer.decode(rows[0]["prompt_ids"])).startswith("<|system|>\n</s> \n<|user|>\n")
    assert str(make_feedback()[0]["instruction"]) in str(tokenizer.decode(rows[0]["prompt_ids"]))


# A tokenizer of its own


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with a tokenizer that knows other words than the tiny base's."""
    folder = tmp_path / "tokenizer"
    train_tokenizer(["Hello yes no ask"] * 20).save_pretrained(folder)
    return folder


def test_a_recipe_may_name_another_tokenizer(tokens: Cli, tiny: Path, other: Path) -> None:
    rows = told(tokens("--json", *IN_2023, "--set", f"tokenizer={other}"))
    assert rows == [expected(tiny, row, "tokenization=zephyr-2023", tokenizer=other) for row in USED]
    assert rows != told(tokens("--json", *IN_2023))


def test_with_a_tokenizer_of_its_own_the_base_need_not_be_here(tokens: Cli, other: Path) -> None:
    gone = ("--set", "model_name_or_path=/no/such/base", "--limit", 1)
    assert len(told(tokens("--json", "--set", f"tokenizer={other}", *gone))) == 1
    assert "there is no /no/such/base" in tokens("--json", *gone).mistake


@pytest.mark.parametrize(
    ("content", "said"), [(None, "there is no "), ({}, "tokenizer"), ({"tokenizer.json": "{"}, "tokenizer")]
)
def test_a_folder_without_a_tokenizer_is_refused(
    tokens: Cli, tmp_path: Path, content: dict[str, str] | None, said: str
) -> None:
    folder = tmp_path / "nothing"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    line = tokens("--json", "--set", f"tokenizer={folder}").mistake
    assert str(folder) in line
    assert said in line


# Mistakes


def test_data_that_are_broken_are_refused_with_their_place(tokens: Cli, data: Path) -> None:
    with data.open("a") as file:
        file.write("{\n")
    ended = tokens("--json")
    assert ended.code == 2
    assert len(ended.out.splitlines()) == 3  # those before it
    assert ended.err.splitlines()[-1].startswith(f"notus: {data}, line 6: broken JSON")


def test_data_that_are_not_there_are_refused(tokens: Cli) -> None:
    assert "dataset: there is no /no/rows.jsonl" in tokens("--set", "dataset=/no/rows.jsonl").mistake


def test_the_rule_of_2023_has_a_template_of_its_own(tokens: Cli) -> None:
    line = tokens(*IN_2023, "--set", "chat_template=tokenizer").mistake
    assert "zephyr-2023 knows the zephyr template only; set `chat_template: zephyr`" in line


# As a person reads it


def test_a_person_sees_which_tokens_none_attends_to(tokens: Cli) -> None:
    legend, _, out = tokens(*IN_2023, "--limit", 1).out.partition("row 0")
    assert "⟦red⟧: masked" in legend
    assert out.count("⟦</s>⟧") == 2 + 1 + 1
    assert out.count("</s>") == 2 + 2 + 2
    for said in ("prompt: ", " masked", "chosen: ", "rejected: "):
        assert said in out
    assert "⟦" not in tokens("--limit", 1).out.partition("row 0")[2]  # of today's rule none is masked


def test_a_person_sees_the_first_three_rows_and_what_was_cut(tokens: Cli) -> None:
    ended = tokens(*IN_2023, "--set", "leave_out=[]")
    heads = [line for line in ended.out.splitlines() if line.startswith("row ")]
    assert heads == ["row 0", "row 1", "row 2"]
    last = tokens(*IN_2023).out.partition("row 4")[2]
    assert "prompt: 128 tokens" in last
    assert "cut from its beginning" in last
    assert last.count(", its end cut") == 1


@pytest.mark.parametrize("columns", ["20", "80"])
def test_nothing_of_a_text_is_lost_or_taken_for_markup(
    tokens: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    out = tokens(*IN_2023, "--limit", 2).out
    tokenizer = load_tokenizer(tiny / "base")
    row = expected(tiny, 2, "tokenization=zephyr-2023")
    for side in ("prompt", "chosen", "rejected"):
        ids, mask = row[f"{side}_ids"], row[f"{side}_mask"]
        assert isinstance(ids, list)
        assert isinstance(mask, list)
        pieces = map(str, tokenizer.convert_ids_to_tokens(ids))
        shown = "".join(one if seen else f"⟦{one}⟧" for one, seen in zip(pieces, mask, strict=True))
        assert shown in out


def test_what_is_not_text_fits_on_a_line(tokens: Cli, tiny: Path) -> None:
    heads = [line for line in tokens(*IN_2023).out.splitlines() if "tokens, " in line]
    assert len(heads) == 3 * 3
    assert all(len(line) <= 80 for line in heads)
    for line, row in zip(heads[::3], USED, strict=True):
        found = expected(tiny, row, "tokenization=zephyr-2023")["prompt_mask"]
        assert isinstance(found, list)
        assert line.startswith(f"prompt: {len(found)} tokens, {found.count(0)} masked")
