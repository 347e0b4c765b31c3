"""Hours and cost: from what was measured, else from what is assumed, and never from nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recipe.cost import Devices, Prediction, pair_work, predict
from recipe.flops import Size, Work
from recipe.load import dump_resolved, load_recipe
from recipe.plan import make_plan
from recipe.schema import Recipe

SIZE = Size(7_110_660_096, 54_525_952, layers=32, width=4096)
A100S = Devices(8, "A100 40GB", here=False, gpu=True, bytes=40 * 10**9)
CPU = Devices(2, "CPU, 2 cores", here=True, gpu=False, bytes=None)
PAIRS = 360 * 512
ORIGINAL_SECONDS = 18_623.9  # of 360 steps on 8 x A100 40GB
METRICS = {"pairs_per_second": 20.0, "devices": 4, "device": "NVIDIA A100-SXM4-40GB", "steps": 8}


def notus(*overrides: str) -> Recipe:
    return load_recipe("notus-7b-v1-lora", overrides)


def predicted(
    recipe: Recipe, devices: Devices = A100S, pairs: int | None = PAIRS, **options: Any
) -> Prediction:
    return predict(recipe, SIZE, pairs, devices, **{"recomputed": 0.0, **options})


def measured(folder: Path, recipe: Recipe, **changed: object) -> Path:
    """Write what a training of `recipe` in `folder` would have measured."""
    (folder / "training").mkdir(parents=True, exist_ok=True)
    (folder / "training" / "metrics.json").write_text(json.dumps({**METRICS, **changed}))
    (folder / "recipe.yaml").write_text(dump_resolved(recipe))
    (folder / "manifest.json").write_text(json.dumps({"recipe": recipe.name}))
    return folder


# Assumed


@pytest.mark.parametrize("engine", ["packed", "trl"])
def test_the_real_recipe_is_to_be_faster_than_the_original_and_no_miracle(engine: str) -> None:
    plan = make_plan(notus(f"engine={engine}"))
    found = plan.prediction
    assert found.hours is not None
    ideal = make_plan(notus(f"engine={engine}", "assumed_share_of_peak=1")).prediction.hours
    assert ideal is not None
    assert ideal / 3 < found.hours < ORIGINAL_SECONDS / 3600
    assert found.hours > ideal
    assert (plan.target.name, plan.target.count, plan.target.here) == ("A100 40GB", 8, False)
    assert found.source.startswith("assumed: 30% of the peak of A100 40GB (312 TFLOP/s)")
    assert found.source.endswith("not measured")


def test_hours_gpu_hours_and_cost_go_together() -> None:
    found = predicted(notus())
    assert found.hours is not None
    assert found.gpu_hours == pytest.approx(8 * found.hours)
    assert found.usd == pytest.approx(8 * found.hours * 3.67)
    assert found.pairs_per_second == pytest.approx(PAIRS / (3600 * found.hours))
    twice = predicted(notus("assumed_share_of_peak=0.6"))
    assert twice.hours == pytest.approx(found.hours / 2)
    assert predicted(notus(), replace(A100S, count=1)).gpu_hours == pytest.approx(found.gpu_hours)
    slower = predicted(notus(), recomputed=1.0).hours
    assert slower is not None
    assert slower == pytest.approx(found.hours * (4 + 2 + 2 / 3) / (4 + 2 / 3), rel=0.02)
    assert predicted(notus("gpu_hour_usd=null")) == replace(found, usd=None)


def test_a_pair_is_as_long_as_its_engine_lays_it() -> None:
    packed, padded = pair_work(notus("engine=packed")), pair_work(notus("engine=trl"))
    assert packed is not None
    assert padded is not None
    assert (packed.tokens, padded.tokens) == (730, 1352)
    told = "assumed_mean_tokens={prompt: 10, chosen: 20, rejected: 30}"
    assert pair_work(notus("engine=trl", told)) == Work(80, 40 * 41)
    assert pair_work(notus("engine=packed", told)) == Work(60, 55 + 210 + 465 + 500)


# Measured


def test_what_was_measured_comes_first(tmp_path: Path) -> None:
    folder = measured(tmp_path / "run", notus("max_steps=8"))
    found = predicted(notus(), folders=(tmp_path / "none", folder))
    assert found.pairs_per_second == pytest.approx(2 * 20.0)  # on twice as many
    assert found.hours == pytest.approx(PAIRS / 40 / 3600)
    assert found.source == (
        f"measured: 8 steps on 4 x NVIDIA A100-SXM4-40GB, in {folder / 'training' / 'metrics.json'}"
    )
    # without any assumption
    bare = notus("assumed_mean_tokens=null", "gpu_hour_usd=null")
    assert predicted(bare, folders=(folder,)) == replace(found, usd=None)


def test_the_first_folder_that_measured_is_believed(tmp_path: Path) -> None:
    one = measured(tmp_path / "one", notus(), pairs_per_second=4.0)
    other = measured(tmp_path / "other", notus())
    assert predicted(notus(), folders=(one, other)).pairs_per_second == 8.0
    assert predicted(notus(), folders=(other, one)).pairs_per_second == 40.0


@pytest.mark.parametrize(
    "changed",
    [{"device": "NVIDIA H100 PCIe"}, {"device": "CPU, 2 cores"}, {"pairs_per_second": 0}, {"devices": "?"}],
)
def test_another_kind_of_device_or_a_broken_file_is_not_believed(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    folder = measured(tmp_path, notus(), **changed)
    assert predicted(notus(), folders=(folder,)).source.startswith("assumed: ")


@pytest.mark.parametrize("changed", ["max_length=2048", "lora_r=8", "engine=packed", "dataset=org/other"])
def test_another_training_s_speed_is_not_believed(tmp_path: Path, changed: str) -> None:
    now = notus("engine=trl")
    assert predicted(now, folders=(measured(tmp_path, now),)).source.startswith("measured: ")
    folder = measured(tmp_path, notus("engine=trl", changed))
    assert predicted(now, folders=(folder,)).source.startswith("assumed: ")


def test_a_cpu_s_speed_is_believed_on_such_a_cpu_and_costs_no_gpu_hours(tmp_path: Path) -> None:
    folder = measured(tmp_path, notus(), device="CPU, 2 cores", devices=1, pairs_per_second=0.5)
    found = predicted(notus(), CPU, folders=(folder,))
    assert (found.pairs_per_second, found.gpu_hours, found.usd) == (1.0, None, None)


# Not known


@pytest.mark.parametrize(
    ("overrides", "devices", "pairs", "what"),
    [
        ([], CPU, PAIRS, "nothing was measured on this CPU"),
        ([], replace(A100S, name="AMD Instinct MI300X"), PAIRS, "AMD Instinct MI300X is not among the known"),
        (["assumed_mean_tokens=null"], A100S, PAIRS, "set assumed_mean_tokens"),
        ([], A100S, None, "the rows are not counted; set assumed_dataset_rows or max_steps"),
    ],
)
def test_what_is_not_known_is_not_made_up(
    overrides: list[str], devices: Devices, pairs: int | None, what: str
) -> None:
    found = predicted(notus(*overrides), devices, pairs)
    assert (found.hours, found.gpu_hours, found.usd, found.pairs_per_second) == (None,) * 4
    assert found.source.startswith("not known: ")
    assert what in found.source
