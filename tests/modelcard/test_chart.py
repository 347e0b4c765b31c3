"""The benchmarks as a picture: the same for the same figures, of figures that are on the card, and told in words."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelcard.chart import Dot, Line, chart_alt, draw_chart, lines_of
from modelcard.facts import read_facts
from modelcard.stage import STAGE
from recipe.progress import Reporter
from recipe.run import Run
from tests.modelcard.conftest import Put
from tests.modelcard.full_size import full_size
from tests.modelcard.measured import Measured, everything
from tests.modelcard.test_curves import chunks

LINES = [
    Line("Average of the seven", {"this model": Dot(55.51, 0.8), "its base": Dot(54.31, 0.8)}, strong=True),
    Line("ARC", {"this model": Dot(64.25, 2.7), "its base": Dot(63.0, 2.7), "zephyr": Dot(62.03, None)}),
    Line("DROP", {"this model": Dot(0.4, 1.9)}),
]


def test_the_same_figures_are_the_same_bytes() -> None:
    first = draw_chart(LINES)
    assert first is not None
    assert first == draw_chart(LINES)
    assert draw_chart([replace(LINES[0], dots={"this model": Dot(55.52, 0.8)}), *LINES[1:]]) != first
    assert (
        draw_chart([*LINES[:1], replace(LINES[1], dots={"this model": Dot(64.25, 2.8)}), LINES[2]]) != first
    )


def test_the_picture_says_nothing_of_who_drew_it() -> None:
    png = draw_chart(LINES)
    assert png is not None
    assert set(chunks(png)) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert len(png) < 300_000


def test_the_text_has_the_picture_s_figures() -> None:
    assert chart_alt(LINES) == (
        "3 lines with dots on a scale in percent, this model, beside its base and zephyr: Average of the seven "
        "55.51 (its base 54.31); ARC 64.25 (its base 63.00); DROP 0.40."
    )


def drawn(run: Run) -> list[str]:
    return [line.name for line in lines_of(read_facts(run), "adapter")]


def test_benchmarks_come_before_small_tasks_and_one_alone_makes_no_picture(put: Put) -> None:
    run = put()
    Measured(run).preference()
    assert drawn(run) == []
    assert draw_chart([]) is None
    Measured(run).smoke()
    assert drawn(run) == ["smoke_answer", "smoke_reply"]
    others = ("hellaswag", "mmlu", "truthfulqa_mc2", "winogrande", "gsm8k", "drop")
    Measured(run).leaderboard(without=others)
    assert drawn(run) == ["smoke_answer", "smoke_reply"]
    Measured(run).leaderboard(without=others[2:])
    assert drawn(run) == ["ARC", "HellaSwag", "MMLU"]
    Measured(run).chat()
    assert drawn(run)[-1] == "AlpacaEval"  # a share, as MT-Bench is not


def test_it_has_the_figures_of_the_card(put: Put) -> None:
    run = put()
    everything(run)
    lines = lines_of(full_size(read_facts(run)), "adapter")
    average, arc, *_ = lines
    assert average.strong
    assert set(arc.dots) == {"this model", "its base", "notus-7b-v1", "zephyr-7b-beta"}
    ours = arc.dots["this model"]
    assert ours.value == pytest.approx(64.25)
    assert ours.half == pytest.approx(2.744, abs=1e-3)
    assert arc.dots["zephyr-7b-beta"] == Dot(62.03, None)
    assert draw_chart(lines) is not None
    assert draw_chart(lines * 3) is not None


def test_it_lies_beside_each_card_that_shows_it(put: Put, tmp_path: Path) -> None:
    run = put()
    Measured(run).smoke()
    Measured(run, "merged").smoke(0.0625)
    STAGE.work(run, tmp_path, Reporter(quiet=True))
    pictures = {}
    for kind in ("adapter", "merged"):
        card = (tmp_path / "card" / kind / "README.md").read_text()
        assert "](evaluation.png)\n" in card
        pictures[kind] = (tmp_path / "card" / kind / "evaluation.png").read_bytes()
    assert pictures["adapter"] != pictures["merged"]
    assert not (tmp_path / "card" / "base" / "evaluation.png").exists()


def test_a_run_without_results_has_no_picture(trained: Path) -> None:
    for kind in ("adapter", "merged"):
        assert not (trained / "card" / kind / "evaluation.png").exists()
        assert "evaluation.png" not in (trained / "card" / kind / "README.md").read_text()
