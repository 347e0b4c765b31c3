"""Drawn rows are as long as real ones, and every mode sees them in the same order."""

import pytest

from benchmarks.device import Device
from benchmarks.dpo_gpu import work_for
from benchmarks.packed import in_order
from benchmarks.rows import drawn_rows
from benchmarks.work import Mode, Shape, Work, mean_tokens
from recipe.schedule import Schedule

PUBLISHED = {"prompt": 186, "chosen": 285, "rejected": 259}


def padded(rows: list[dict[str, list[int]]], micro_batch: int) -> float:
    longest = [len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in rows]
    groups = [longest[at : at + micro_batch] for at in range(0, len(rows), micro_batch)]
    return sum(2 * len(group) * max(group) for group in groups) / len(rows)


def test_they_have_the_published_lengths() -> None:
    rows = drawn_rows(1200, 100, seed=0)
    found = mean_tokens(rows)
    assert found == {side: pytest.approx(mean, rel=0.02) for side, mean in PUBLISHED.items()}
    assert sum(found.values()) == pytest.approx(730, rel=0.01)
    assert padded(rows, 1) == pytest.approx(1058, rel=0.02)
    assert padded(rows, 2) == pytest.approx(1352, rel=0.03)
    assert max(len(row["prompt_ids"]) + len(row["chosen_ids"]) for row in rows) == 1024


def test_the_measured_rows_of_a_gpu_have_them_without_those_that_warm_up() -> None:
    work = work_for(Device("cuda", "a card"), pairs=32, steps=2)
    assert len(work.measured) == 64
    assert len(work.rows) == 96
    assert mean_tokens(work.measured) == {
        side: pytest.approx(mean, rel=0.05) for side, mean in PUBLISHED.items()
    }


def test_a_schedule_sees_rows_that_are_put_in_its_order_one_after_the_other() -> None:
    rows = drawn_rows(12, 100, seed=0)
    schedule = Schedule(rows=12, batch_size=4, accumulation=1, processes=1, steps=3, seed=42)
    placed = in_order(rows, schedule)
    seen = [placed[place.row]["prompt_ids"] for place in schedule.places()]
    assert seen == [row["prompt_ids"] for row in rows]


def test_settings_tell_all_but_the_rows() -> None:
    work = Work(drawn_rows(8, 100, seed=0), 4, Shape(), learning_rate=1e-4)
    settings = work.settings()
    assert settings["steps"] == 2
    assert settings["learning_rate"] == 1e-4
    assert "rows" not in settings
    assert Mode("a", "trl") != Mode("b", "trl")
