"""The reference, computed once: what it holds, what of it is used again, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from pytest_mock import MockerFixture
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from recipe import reference, scoring, stages, train
from recipe.load import load_recipe
from recipe.packed import PackedTrainer
from recipe.progress import Reporter
from recipe.reference import KEY, Shards, reference_key, reference_logps
from recipe.run import Run
from tests.pairs import padded_logps
from tests.support import fresh

QUIET = Reporter(quiet=True)
pytestmark = pytest.mark.filterwarnings("ignore:.(is_)?gradient_checkpointing")  # PEFT and TRL, of each other


class BuiltError(Exception):
    """Carries the trainer out of `fit`."""


@pytest.fixture(scope="module")
def trainer(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> PackedTrainer:
    """A trainer of `tiny` whose adapter does something; its reference is of the base all the same."""
    bring = {stage.name: stage for stage in stages.STAGES}

    def stop(trainer: PackedTrainer, *_: object) -> None:
        raise BuiltError(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORBOARD_LOGGING_DIR", "")  # `fit` sets it
        patch.setattr(train, "reference_logps", stop)
        folder = tmp_path_factory.mktemp("run")
        run = Run(folder, load_recipe(tiny / "tiny.yaml", ["report_to=[]", "pack_tokens=300"]))
        with run.locked():
            run.bring([bring["fetch"], bring["curate"]], QUIET)
        with pytest.raises(BuiltError) as built:
            train.fit(run, folder / "out", QUIET)
    found: PackedTrainer = built.value.args[0]
    with torch.no_grad():
        for name, weight in found.tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    return found


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "SHARD", 20)  # 52 rows to train on: three shards; 8 held out: one


@pytest.fixture
def sets(trainer: PackedTrainer) -> dict[str, Dataset]:
    assert isinstance(trainer.eval_dataset, Dataset)
    return {"train": trainer._rows, "heldout": trainer.eval_dataset}


@pytest.fixture
def kept(trainer: PackedTrainer, tmp_path: Path) -> Shards:
    return Shards(tmp_path / "reference", key(trainer))


def key(trainer: PackedTrainer, **other: str) -> dict[str, Any]:
    return {
        **reference_key(trainer, {"model.safetensors": "ab"}, {"train": "12", "heldout": "34"}, fused=False),
        **other,
    }


@pytest.fixture
def scored(mocker: MockerFixture) -> Callable[[], int]:
    """Return what tells how many shards were computed since it was last asked."""
    spy = mocker.spy(reference, "score")

    def since() -> int:
        count = spy.call_count
        spy.reset_mock()
        return int(count)

    return since


def test_it_is_that_of_the_base(
    tiny: Path, trainer: PackedTrainer, sets: dict[str, Dataset], kept: Shards
) -> None:
    found = reference_logps(trainer, sets, kept, QUIET).logps
    assert {name: (logps.shape, logps.dtype) for name, logps in found.items()} == {
        "train": ((52, 2), torch.float64),
        "heldout": ((8, 2), torch.float64),
    }
    base = AutoModelForCausalLM.from_pretrained(tiny / "base")
    for name, rows in sets.items():
        with torch.no_grad():
            expected = padded_logps(base, rows.to_list()).view(2, -1).T
        torch.testing.assert_close(found[name], expected.double(), rtol=1e-5, atol=1e-4)


def test_what_is_there_is_not_computed_again(
    trainer: PackedTrainer, sets: dict[str, Dataset], kept: Shards, scored: Callable[[], int]
) -> None:
    first = reference_logps(trainer, sets, kept, QUIET)
    assert (scored(), first.computed) == (4, 60)
    again = reference_logps(trainer, sets, Shards(kept.folder, kept.key), QUIET)
    assert (scored(), again.computed) == (0, 0)
    assert all(torch.equal(first.logps[name], again.logps[name]) for name in sets)


def test_a_run_that_died_goes_on_with_what_it_has(
    trainer: PackedTrainer, sets: dict[str, Dataset], kept: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reference_logps(trainer, sets, Shards(kept.folder / "whole", kept.key), QUIET)
    calls = []

    def dies_at_the_third(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return scoring.score(*arguments)

    monkeypatch.setattr(reference, "score", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        reference_logps(trainer, sets, kept, QUIET)
    found = reference_logps(trainer, sets, kept, QUIET)
    assert len(calls) == 3 + 4 - 2
    assert all(torch.equal(found.logps[name], whole.logps[name]) for name in sets)


@pytest.mark.parametrize("spoil", ["torn", "flipped", "foreign", "short"])
def test_a_shard_that_is_not_what_it_says_is_computed_again(
    trainer: PackedTrainer, sets: dict[str, Dataset], kept: Shards, scored: Callable[[], int], spoil: str
) -> None:
    whole = reference_logps(trainer, sets, kept, QUIET)
    scored()
    path = kept.folder / "train-000020.safetensors"
    content = path.read_bytes()
    if spoil == "torn":
        path.write_bytes(content[:-7])
    elif spoil == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif spoil == "short":
        shutil.copy(kept.folder / "heldout-000000.safetensors", path)
    else:
        other = Shards(kept.folder, key(trainer, base="another"))
        save_file(load_file(path), path, metadata=other._metadata(load_file(path)["logps"]))
    found = reference_logps(trainer, sets, kept, QUIET)
    assert scored() == 1
    assert all(torch.equal(found.logps[name], whole.logps[name]) for name in sets)


@pytest.mark.parametrize(
    "name",
    ["base", "train rows", "heldout rows", "dtype", "autocast", "attention", "kernels", "torch", "version"],
)
def test_another_key_is_refused(
    trainer: PackedTrainer,
    sets: dict[str, Dataset],
    kept: Shards,
    scored: Callable[[], int],
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert name in kept.key
    reference_logps(trainer, sets, kept, QUIET)
    scored()
    capsys.readouterr()
    other = Shards(kept.folder, key(trainer, **{name: "another"}))
    reference_logps(trainer, sets, other, Reporter(quiet=True))
    assert f"of another {name}; its log-probabilities are computed anew" in capsys.readouterr().err
    assert scored() == 4
    assert json.loads((kept.folder / KEY).read_text())[name] == "another"


def test_a_key_that_can_t_be_read_is_refused(
    trainer: PackedTrainer, sets: dict[str, Dataset], kept: Shards, scored: Callable[[], int]
) -> None:
    reference_logps(trainer, sets, kept, QUIET)
    (kept.folder / KEY).write_text("{")
    reference_logps(trainer, sets, kept, QUIET)
    assert scored() == 4 + 4


def test_a_trainer_learns_from_the_reference_that_it_is_given(
    trainer: PackedTrainer, sets: dict[str, Dataset], kept: Shards
) -> None:
    rows = sets["train"].to_list()[:4]
    computed = trainer._compute_loss(trainer.tuned, trainer.collate(rows))
    found = reference_logps(trainer, sets, kept, QUIET).logps["train"]
    known = [{**row, "reference": logps} for row, logps in zip(rows, found.tolist(), strict=False)]
    given = trainer._compute_loss(trainer.tuned, trainer.collate(known))
    assert given.item() == pytest.approx(computed.item(), rel=1e-5)
    shifted = [{**row, "reference": [row["reference"][0] - 5, row["reference"][1]]} for row in known]
    assert trainer._compute_loss(trainer.tuned, trainer.collate(shifted)).item() < given.item() - 0.05


@pytest.mark.filterwarnings("ignore")  # of the libraries, of each other
def test_it_is_computed_of_the_rows_that_are_seen_and_no_others(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A try of two steps over many rows must not begin with all of them."""
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")
    run = Run(tmp_path / "run", load_recipe(tiny / "tiny.yaml", ["report_to=[]", "max_steps=2"]))
    with run.locked():
        run.bring(stages.STAGES[:3], QUIET)
    kept = [load_file(path)["logps"] for path in (run.path("reference")).glob("train-*.safetensors")]
    assert sum(map(len, kept)) == 2 * 16
    metrics = json.loads(run.path("training", "metrics.json").read_text())
    assert (metrics["train_rows"], metrics["steps"]) == (52, 2)
    assert (
        metrics["after"]["loss"] == metrics["after"]["loss"]
    )  # a number: no pair met a reference that is not known
    assert metrics["train_loss"] == metrics["train_loss"]


@pytest.mark.slow
def test_a_run_keeps_it_and_two_devices_go_on_with_it(trained: Path, tiny: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.rmtree(run / "adapter")
    (run / "reference" / "train-000000.safetensors").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in (run / "reference").iterdir()}
    ended = fresh("train", tiny / "tiny.yaml", "--run", run, "--quiet", "--set", "devices=2", cwd=tiny)
    assert ended.code == 0, ended.err
    assert "computed anew" not in ended.err
    after = {path.name: path.stat().st_mtime_ns for path in (run / "reference").iterdir()}
    assert after["heldout-000000.safetensors"] == before["heldout-000000.safetensors"]
    one, two = (
        load_file(folder / "reference" / "train-000000.safetensors")["logps"] for folder in (trained, run)
    )
    torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-5)
