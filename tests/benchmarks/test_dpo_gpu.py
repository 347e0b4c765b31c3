"""The benchmark for a GPU, as far as a machine without one can tell: every mode runs, and computes the same."""

import json
import math
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model

from benchmarks.base import adapter, base, seed_adapter
from benchmarks.isolate import (
    DoesNotFitError,
    Isolated,
    OutOfTimeError,
    UnfinishedError,
    _answer,
)
from benchmarks.rows import drawn_rows
from benchmarks.work import Mode, Shape, Work, max_difference, run
from tests.support import ROOT

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # PEFT's

TINY = Shape(
    vocab_size=200,
    hidden_size=64,
    intermediate_size=224,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def started(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script as one does who has only a clone."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a dry run prints and writes."""
    out = tmp_path_factory.mktemp("dry") / "dpo_gpu.json"
    ended = started("benchmarks/dpo_gpu.py", "--out", out, "--steps", 1)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_dry_run_runs_every_mode(dry: tuple[str, dict[str, Any]]) -> None:
    _, report = dry
    assert [row["entry"] for row in report["modes"]] == [
        "as in 2023",
        "TRL, as written",
        "TRL, at its best",
        "ours",
        "ours, the whole card",
        "TRL, the whole card",
    ]
    for row in report["modes"]:
        assert all("results" in one for one in row["candidates"]), row
        assert row["pairs_per_second"] == max(one["pairs_per_second"] for one in row["candidates"])
        assert row["useful_flops"] <= row["spent_flops"]


@pytest.mark.slow
def test_all_modes_have_the_same_losses(dry: tuple[str, dict[str, Any]]) -> None:
    _, report = dry
    every = [one["losses"] for row in report["modes"] for one in row["candidates"]]
    for losses in every:
        assert len(losses) == 2
        assert all(math.isfinite(loss) and abs(loss - math.log(2)) > 1e-4 for loss in losses)
        assert losses == pytest.approx(every[0], rel=5e-3)  # bf16
    assert report["max_loss_difference"] < 5e-3


@pytest.mark.slow
def test_a_dry_run_says_so_and_fits_a_terminal(dry: tuple[str, dict[str, Any]]) -> None:
    printed, report = dry
    assert report["dry_run"] is True
    assert printed.count("DRY RUN") == 2
    assert "the figures mean nothing" in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert report["device"]["kind"] == "cpu"
    assert {"torch", "transformers", "trl", "peft"} <= set(report["versions"])
    assert report["settings"]["dtype"] == "bfloat16"
    assert report["ceiling_flops"] == max(report["product_flops"].values()) > 0


@pytest.fixture(scope="module")
def isolated() -> Isolated:
    return Isolated("forkserver")


@pytest.mark.slow
def test_in_float32_ours_and_trl_differ_by_rounding_alone(isolated: Isolated) -> None:
    work = Work(drawn_rows(8, 200, seed=0), 4, TINY, b_std=0.1, warmup=1)
    modes = {
        "as written": Mode("", "trl", 2, True, reference_once=False),
        "at best": Mode("", "trl", 1),
        "ours": Mode("", "ours"),
        "recomputed": Mode("", "ours", checkpointing=True),
        "2023": Mode("", "2023", 2, True, reference_once=False),
    }
    found = {name: isolated.call(run, mode, work) for name, mode in modes.items()}
    written = found.pop("as written").losses
    assert abs(written[0] - math.log(2)) > 1e-3
    assert abs(written[1] - math.log(2)) > 1e-3
    sums_in_float32 = max_difference(found.pop("2023").losses, written)
    assert sums_in_float32 < 1e-4
    shares = {name: result.recomputed for name, result in found.items()}
    assert shares == {"at best": 0, "ours": 0, "recomputed": 1}
    for result in found.values():
        assert max_difference(result.losses, written) < 2e-6
        assert result.pairs == 4
        assert result.reference.seconds > 0
        assert result.reference_pairs == 8


@pytest.mark.slow
def test_a_process_that_fails_is_told_apart(isolated: Isolated) -> None:
    assert isolated.call(int, "7") == 7
    with pytest.raises(UnfinishedError, match="failed: ValueError"):
        isolated.call(int, "seven")
    with pytest.raises(UnfinishedError, match="ended with code 3"):
        isolated.call(os._exit, 3)
    started = time.monotonic()
    with pytest.raises(OutOfTimeError):
        isolated.call(time.sleep, 600, seconds=1)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), DoesNotFitError),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), DoesNotFitError),
        (RuntimeError("a memory of something else"), UnfinishedError),
    ],
)
def test_too_little_memory_is_told_apart(
    error: Exception, found: type, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    ours, theirs = multiprocessing.Pipe(duplex=False)
    _answer(theirs, fails, ())
    assert type(ours.recv()) is found
    assert ("Traceback" in capsys.readouterr().err) is (found is UnfinishedError)


def test_base_and_adapter_are_the_same_in_all_modes_and_have_the_recipes_precision() -> None:
    work = Work([], 1, TINY, dtype="bfloat16", b_std=0.1)
    first, second = (get_peft_model(base(work, kind), adapter(work)) for kind in ("sdpa", "eager"))
    torch.randn(100)
    for model in (first, second):
        seed_adapter(model, work)
    theirs = dict(second.named_parameters())
    for name, weight in first.named_parameters():
        assert torch.equal(weight, theirs[name]), name
        assert weight.dtype == (torch.float32 if "lora_" in name else torch.bfloat16)
        assert not ("lora_B" in name and weight.eq(0).any())


@pytest.mark.parametrize("name", ["dpo_gpu", "dpo_cpu"])
def test_pairs_that_no_micro_batch_divides_are_a_mistake(name: str, tmp_path: Path) -> None:
    ended = started(f"benchmarks/{name}.py", "--pairs", 6, "--out", tmp_path / "none.json")
    assert ended.returncode == 2
    assert "--pairs" in ended.stderr
    assert "multiple of 4" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
