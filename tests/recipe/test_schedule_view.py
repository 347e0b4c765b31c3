"""`notus schedule`: the rows of each optimizer step, for scripts and for people."""

import json
from pathlib import Path

import pytest

from recipe.errors import UserError
from recipe.load import load_recipe
from recipe.plan import planned_schedule
from recipe.schedule import schedule_of
from tests.support import Cli, Outcome

NOTUS = load_recipe("notus-7b-v1-lora")


def told(ended: Outcome) -> list[list[int]]:
    assert ended.code == 0, ended.err
    assert ended.err == ""
    return [json.loads(line) for line in ended.out.splitlines()]


@pytest.mark.parametrize("rows", [5, 100, 1_001])
@pytest.mark.parametrize("name", ["notus-7b-v1-lora", "smollm2-135m"])
def test_a_script_gets_the_rows_of_each_step(cli: Cli, name: str, rows: int) -> None:
    steps = told(cli("schedule", name, "--rows", rows, "--json"))
    assert steps == schedule_of(load_recipe(name).science, rows).step_rows()


def test_the_rows_are_as_many_as_the_plan_counts(cli: Cli, tiny: Path) -> None:
    ended = cli("schedule", "notus-7b-v1-lora", "--json")
    assert ended.err == "data: not here; taken as 63,619 rows\n"
    steps = [json.loads(line) for line in ended.out.splitlines()]
    assert [len(step) for step in steps] == [512] * 360
    assert max(map(max, steps)) == 61_618
    assert planned_schedule(load_recipe(tiny / "tiny.yaml"))[0].rows == 64 - 8
    assert planned_schedule(NOTUS)[0].rows == 61_619


def test_a_short_step_has_the_rows_that_it_learns_from_and_no_others(cli: Cli) -> None:
    given = ("--set", "num_processes=1", "--set", "max_steps=2", "--rows", 5, "--json")
    steps = told(cli("schedule", "notus-7b-v1-lora", *given))
    assert [sorted(step) for step in steps] == [[0, 1, 2, 3, 4]] * 2


def test_the_number_of_devices_plays_no_part(cli: Cli) -> None:
    given = ("--rows", 1_000, "--json")
    one = told(cli("schedule", "notus-7b-v1-lora", *given))
    assert told(cli("schedule", "notus-7b-v1-lora", "--set", "devices=64", *given)) == one
    assert told(cli("schedule", "notus-7b-v1-lora", "--set", "num_processes=4", *given)) != one


def test_rows_that_nobody_knows_have_to_be_given(cli: Cli) -> None:
    line = cli("schedule", "smollm2-135m").mistake
    assert line == ("notus: smollm2-135m: its rows are not known before they are here; give them by --rows")
    with pytest.raises(UserError, match="give them by --rows"):
        planned_schedule(load_recipe("smollm2-135m"))
    assert cli("schedule", "notus-7b-v1-lora", "--set", "dataset=org/other", "--json").mistake


@pytest.mark.parametrize("rows", [0, -1, "many"])
def test_there_is_a_row_at_least(cli: Cli, rows: object) -> None:
    assert cli("schedule", "notus-7b-v1-lora", "--rows", rows).code == 2


def test_a_person_reads_the_figures(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    ended = cli("schedule", "notus-7b-v1-lora")
    assert ended.code == 0
    figures = {line.split("  ")[0]: " ".join(line.split()) for line in ended.out.splitlines()}
    assert "360 optimizer steps, 512 pairs a full one" in figures
    assert figures["rows"] == "rows 61,619"
    assert figures["micro-batches"] == "micro-batches 3,852 an epoch on each of 8 processes, of 2 pairs"
    assert figures["steps an epoch"] == "steps an epoch 120"
    assert figures["ends at epoch"] == "ends at epoch 2.99"
    # 360 steps of 512 are 184,320 places; 184,857 would be three times each row.
    assert figures["rows seen"] == "rows seen 563 rows 2 times, 61,030 rows 3 times, 26 rows 4 times"
    assert 2 * 563 + 3 * 61_030 + 4 * 26 == 360 * 512
    first = " ".join(map(str, schedule_of(NOTUS.science, 61_619).step_rows()[0][:6]))
    assert figures["1"] == f"1 0.0000 512 {first} ..."
    assert {"1", "2", "120", "121", "240", "241", "360"} <= figures.keys()
    assert all(len(line) <= 100 for line in ended.out.splitlines())
