"""What is printed and written of a run on a GPU, with made-up figures: no GPU is needed to see that it can be."""

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.contest import Contest, Outcome, entries
from benchmarks.device import Device
from benchmarks.dpo_gpu import show, summary, work_for
from benchmarks.isolate import DoesNotFitError, UnfinishedError
from benchmarks.work import Mode, Result, Spent, Work
from recipe.disk import write_json
from recipe.progress import Reporter

CARD = Device("cuda", "NVIDIA A100-SXM4-80GB", 85 * 10**9, "12.8")


def result(mode: Mode, work: Work) -> Result:
    """Return a result whose tokens are those that the mode lays."""
    lengths = [
        [len(row[f"{side}_ids"]) for side in ("prompt", "chosen", "rejected")] for row in work.measured
    ]
    size = mode.micro_batch
    tokens = sum(map(sum, lengths))
    if mode.engine != "ours":
        longest = [prompt + max(answers) for prompt, *answers in lengths]
        tokens = sum(2 * size * max(longest[at : at + size]) for at in range(0, len(longest), size))
    seconds = tokens / 5000
    return Result(
        [0.7, 0.69, 0.68],
        64,
        tokens,
        Spent(seconds, seconds),
        Spent(3, 3),
        96,
        float(mode.checkpointing is True),
        9,
        10,
        7,
        16,
    )


def ended(work: Work, fails: dict[str, UnfinishedError]) -> list[Outcome]:
    def measure(mode: Mode, _: float) -> Result:
        for name, error in fails.items():
            if mode.name.startswith(name):
                raise error
        return result(mode, work)

    return Contest(measure, time.monotonic() + 60, lambda *_: None).run(entries(whole=True, fused=True))


def printed(report: dict[str, object]) -> list[str]:
    reporter = Reporter()
    reporter.console = Console(file=io.StringIO(), width=100)
    show(report, reporter)
    assert isinstance(reporter.console.file, io.StringIO)
    return reporter.console.file.getvalue().splitlines()


@pytest.fixture(scope="module")
def work() -> Work:
    return work_for(CARD, pairs=32, steps=2)


def test_a_run_on_a_gpu_fits_a_terminal_and_a_file(work: Work, tmp_path: Path) -> None:
    products = {"query, output": 250e12, "head": 260e12}
    report = summary(work, CARD, products, ended(work, {}))
    assert report["dry_run"] is False
    assert report["ceiling_flops"] == 260e12
    assert report["max_loss_difference"] == 0
    assert report["ratios"]["ours / TRL, at its best"] > 1
    for row in report["modes"]:
        useful = report["needed_flop_per_pair"] * row["pairs_per_second"]
        assert row["useful_flops"] == pytest.approx(useful)
        assert row["useful_share_of_ceiling"] == pytest.approx(useful / 260e12)
    # 4 and 2/3 operations a weight and token, of the prompt and both answers; attention and adapter are a percent each.
    tokens = sum(report["mean_tokens"].values())
    assert tokens == pytest.approx(730, rel=0.03)
    assert report["needed_flop_per_pair"] == pytest.approx(tokens * (4 + 2 / 3) * 7.24e9, rel=0.02)
    write_json(tmp_path / "out.json", report)
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["device"]["name"] == CARD.name
    lines = printed(report)
    assert max(map(len, lines)) <= 100
    assert not any("DRY RUN" in line for line in lines)


@pytest.mark.parametrize("missing", ["TRL, as written", "TRL", "ours", "as in 2023"])
def test_what_does_not_fit_or_fails_leaves_the_rest_of_the_report(
    work: Work, missing: str, tmp_path: Path
) -> None:
    outcomes = ended(work, {missing: DoesNotFitError("does not fit")})
    report = summary(work, CARD, {"head": 260e12}, outcomes)
    write_json(tmp_path / "out.json", report)
    lines = printed(report)
    assert max(map(len, lines)) <= 100
    assert any(line.startswith(missing) and "does not fit" in line for line in lines)
    assert len(report["modes"]) == len(outcomes)
    assert any("results" in row for row in report["modes"])


def test_when_nothing_ends_it_is_told_why(work: Work) -> None:
    outcomes = ended(work, {"": UnfinishedError("failed: ImportError")})
    report = summary(work, CARD, {"head": 260e12}, outcomes)
    assert report["ratios"] == {}
    assert report["max_loss_difference"] is None
    assert sum("failed: ImportError" in line for line in printed(report)) > len(outcomes)
