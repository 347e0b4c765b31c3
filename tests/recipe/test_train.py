"""The adapter: the same bytes from the same science, the same losses from another execution."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from peft import PeftModel
from pyarrow import parquet
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from recipe.merge import expected_weights, refuse_other_weights
from tests.support import ROOT, fresh


def adapter_of(run: Path) -> str:
    return hashlib.sha256((run / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


def losses_of(run: Path) -> list[float]:
    log = (run / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["loss"] for record in map(json.loads, log) if "loss" in record]


def train(tiny: Path, run: Path, *overrides: str) -> None:
    sets = [part for override in overrides for part in ("--set", override)]
    ended = fresh("train", tiny / "tiny.yaml", "--run", run, "--quiet", *sets, cwd=tiny)
    assert ended.code == 0, ended.err


@pytest.mark.slow
def test_twice_the_same_run_is_the_same_adapter_to_the_byte(
    trained: Path, tiny: Path, tmp_path: Path
) -> None:
    train(tiny, tmp_path / "again")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "again" / "adapter" / name).read_bytes() == (
            trained / "adapter" / name
        ).read_bytes()


@pytest.mark.slow
def test_another_seed_is_another_adapter(trained: Path, tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path / "seed", "seed=7")
    assert adapter_of(tmp_path / "seed") != adapter_of(trained)


@pytest.mark.slow
@pytest.mark.parametrize(
    "execution",
    [
        ["micro_batch_size=2"],
        ["devices=2"],
        ["devices=2", "gradient_checkpointing=true"],
        ["attn_implementation=eager"],
    ],
    ids=str,
)
def test_another_execution_has_the_same_loss_at_every_step(
    trained: Path, tiny: Path, tmp_path: Path, execution: list[str]
) -> None:
    train(tiny, tmp_path / "run", *execution)
    assert losses_of(tmp_path / "run") == pytest.approx(losses_of(trained), rel=1e-5)
    # At a learning rate that moves the loss: equal losses must not be a loss that stays at ln 2.
    assert max(losses_of(trained)) - min(losses_of(trained)) > 1e-3


@pytest.mark.slow
def test_killed_while_training_it_is_run_again_to_the_same_bytes(
    trained: Path, tiny: Path, tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "notus", "train", str(tiny / "tiny.yaml"), "--run", str(run), "--quiet"]
    with subprocess.Popen(command, cwd=ROOT) as process:
        while not (run / ".train.partial" / "training").exists():  # TensorBoard's folder: training has begun
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert not (run / "adapter").exists()
    train(tiny, run)
    assert adapter_of(run) == adapter_of(trained)
    assert not list(run.glob(".*.partial"))


@pytest.mark.slow
def test_a_base_that_was_moved_is_found_where_the_recipe_now_says(
    trained: Path, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    shutil.copytree(tiny / "base", tmp_path / "elsewhere" / "base")
    inputs = tmp_path / "run" / "inputs" / "inputs.json"
    inputs.write_text(inputs.read_text().replace(str(tiny / "base"), "/gone"))
    moved = ("--set", f"model_name_or_path={tmp_path / 'elsewhere' / 'base'}", "--json")
    ended = fresh("merge", tiny / "tiny.yaml", "--run", tmp_path / "run", *moved, cwd=tiny)
    assert ended.code == 0, ended.err


@pytest.mark.slow
def test_ended_by_a_signal_no_rank_is_left(tiny: Path, tmp_path: Path) -> None:
    run = tmp_path / "ended"
    command = [sys.executable, "-m", "notus", "train", str(tiny / "tiny.yaml"), "--run", str(run), "--quiet"]
    command += ["--set", "devices=2", "--set", "max_steps=1000"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not (run / ".train.partial" / "training").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait(60) == 143
    ranks = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(run).encode() in _cmdline(path)]
    assert ranks == []


def _cmdline(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


@pytest.mark.slow
def test_a_bfloat16_base_is_merged_and_probed_as_it_is_stored(tiny: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny / "base", base)
    stored = {name: tensor.bfloat16() for name, tensor in load_file(base / "model.safetensors").items()}
    save_file(stored, base / "model.safetensors", metadata={"format": "pt"})
    (base / "config.json").write_text((base / "config.json").read_text().replace("float32", "bfloat16"))
    run = tmp_path / "run"
    sets = ("--set", f"model_name_or_path={base}", "--set", "torch_dtype=float32")
    ended = fresh("merge", tiny / "tiny.yaml", "--run", run, *sets, cwd=tiny)
    assert ended.code == 0, ended.err
    assert json.loads((run / "probe" / "probe.json").read_text())["dtype"] == "bfloat16"
    with safe_open(run / "merged" / "model.safetensors", "pt") as weights:
        assert {str(weights.get_slice(name).get_dtype()) for name in weights.keys()} == {"BF16"}  # noqa: SIM118


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")
def test_a_lost_adapter_is_no_merge(trained: Path, tiny: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny / "base")
    expected = expected_weights(PeftModel.from_pretrained(base, str(trained / "adapter")))
    assert len(expected) == 4 * 2
    refuse_other_weights(AutoModelForCausalLM.from_pretrained(trained / "merged"), expected)
    with pytest.raises(RuntimeError, match="is not base plus adapter"):
        refuse_other_weights(AutoModelForCausalLM.from_pretrained(tiny / "base"), expected)


def test_adapter_is_float32_and_names_its_base(trained: Path) -> None:
    with safe_open(trained / "adapter" / "adapter_model.safetensors", "pt") as weights:
        names = list(weights.keys())
        assert {str(weights.get_slice(name).get_dtype()) for name in names} == {"F32"}
    assert all("lora_A" in name or "lora_B" in name for name in names)
    config = json.loads((trained / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    inputs = json.loads((trained / "inputs" / "inputs.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "notus/tiny-base"
    assert config["revision"] == inputs["base"]["revision"]
    assert config["target_modules"] == ["k_proj", "o_proj", "q_proj", "v_proj"]


def test_metrics_say_what_happened(trained: Path) -> None:
    metrics = json.loads((trained / "training" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["steps"] == 3
    assert metrics["before"]["margin"] == 0.0
    assert metrics["before"]["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert metrics["after"]["loss"] != metrics["before"]["loss"]
    heldout = parquet.read_table(trained / "training" / "heldout.parquet").to_pylist()
    assert len(heldout) == metrics["after"]["pairs"] == 8
    reward = [
        0.1
        * (
            (r["policy_chosen_logps"] - r["reference_chosen_logps"])
            - (r["policy_rejected_logps"] - r["reference_rejected_logps"])
        )
        for r in heldout
    ]
    assert metrics["after"]["margin"] == pytest.approx(sum(reward) / 8)
    assert metrics["after"]["accuracy"] == sum(value > 0 for value in reward) / 8
    assert list((trained / "training" / "tensorboard").iterdir())


def test_merged_model_is_base_plus_adapter(trained: Path) -> None:
    probe = json.loads((trained / "probe" / "probe.json").read_text(encoding="utf-8"))
    assert probe["dtype"] == "float32"
    assert 0 <= probe["largest_logit_difference"] < 1e-4 < probe["moved_by_training"]


def test_no_path_of_this_machine_is_in_what_is_published(trained: Path, tiny: Path) -> None:
    for folder in ("adapter", "merged", "card"):
        for path in (trained / folder).rglob("*"):
            if path.is_file():
                assert str(tiny).encode() not in path.read_bytes(), path
