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

from recipe.builtin.tokenizer import train_tokenizer
from recipe.disk import file_sha256
from recipe.load import load_recipe
from recipe.merge import expected_weights, refuse_other_weights
from recipe.progress import Reporter
from recipe.prompt import pair_tokenizer
from recipe.schedule import Schedule
from recipe.tokenized import tokenize
from recipe.tokenizer import load_tokenizer
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
        ["devices=2"],
        ["devices=4"],
        ["pack_tokens=100", "gradient_checkpointing=true"],
        ["engine=trl"],
        ["engine=trl", "devices=2"],
        ["engine=trl", "devices=2", "gradient_checkpointing=true"],
        ["engine=trl", "micro_batch_size=2", "attn_implementation=eager"],
    ],
    ids=str,
)
def test_another_execution_has_the_same_loss_at_every_step(
    trained: Path, tiny: Path, tmp_path: Path, execution: list[str]
) -> None:
    train(tiny, tmp_path / "run", *execution)
    assert losses_of(tmp_path / "run") == pytest.approx(losses_of(trained), rel=1e-6)
    # At a learning rate that moves the loss: equal losses must not be a loss that stays at ln 2.
    assert max(losses_of(trained)) - min(losses_of(trained)) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["trl", "packed"])
def test_a_short_micro_batch_and_hidden_tokens_are_the_same_on_two_devices(
    tiny: Path, tmp_path: Path, engine: str
) -> None:
    # 5 rows are left for the fourth step, and the fifth is of another epoch.
    sets = ["max_steps=5", "tokenization=zephyr-2023", "evaluation_strategy=epoch"]
    train(tiny, tmp_path / "one", *sets)
    metrics = json.loads((tmp_path / "one" / "training" / "metrics.json").read_text(encoding="utf-8"))
    assert 3 * 16 < metrics["train_rows"] < 4 * 16
    train(tiny, tmp_path / "two", *sets, "devices=2", f"engine={engine}")
    assert len(losses_of(tmp_path / "one")) == 5
    assert losses_of(tmp_path / "two") == pytest.approx(losses_of(tmp_path / "one"), rel=1e-5)
    one, two = (means_of(tmp_path / name) for name in ("one", "two"))
    assert len(one) == 5 + 2  # two evaluations among them
    for record, other in zip(one, two, strict=True):
        assert other == pytest.approx(record, rel=1e-4, abs=1e-6)


def means_of(run: Path) -> list[dict[str, float]]:
    log = (run / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    records = [
        {key: value for key, value in record.items() if "rewards/" in key or "logps/" in key}
        for record in map(json.loads, log)
    ]
    return [record for record in records if record]


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
def test_a_tokenizer_of_its_own_is_trained_with_and_saved(tiny: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    train_tokenizer(["What is it? Say yes or no."] * 20).save_pretrained(own)
    vocabulary = vocabulary_of(own)
    assert vocabulary != vocabulary_of(tiny / "base")
    run = tmp_path / "run"
    sets = ("--set", f"tokenizer={own}", "--set", "tokenization=zephyr-2023")
    ended = fresh("card", tiny / "tiny.yaml", "--run", run, "--quiet", *sets, cwd=tiny)
    assert ended.code == 0, ended.err
    assert vocabulary_of(run / "adapter") == vocabulary_of(run / "merged") == vocabulary
    inputs = json.loads((run / "inputs" / "inputs.json").read_text(encoding="utf-8"))
    assert inputs["tokenizer"]["name"] == "own"
    assert inputs["tokenizer"]["sha256"]["tokenizer.json"] == file_sha256(own / "tokenizer.json")
    # It was trained with: the mean length of the answers is that of its tokens.
    science = load_recipe(tiny / "tiny.yaml", ["tokenization=zephyr-2023"])
    metrics = json.loads((run / "training" / "metrics.json").read_text(encoding="utf-8"))
    rule = pair_tokenizer(load_tokenizer(own), science.science)
    _, counts = tokenize(run / "data" / "train.parquet", rule, science, Reporter(quiet=True))
    assert metrics["tokens"]["train"] == counts


def vocabulary_of(folder: Path) -> dict[str, int]:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    found: dict[str, int] = content["model"]["vocab"]
    return found


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


def test_without_a_tokenizer_of_its_own_the_base_s_is_used(trained: Path, tiny: Path) -> None:
    inputs = json.loads((trained / "inputs" / "inputs.json").read_text(encoding="utf-8"))
    same = {key: inputs["base"][key] for key in ("name", "source", "revision", "path")}
    assert inputs["tokenizer"] == same
    assert vocabulary_of(trained / "adapter") == vocabulary_of(tiny / "base")


def test_the_log_has_the_epoch_of_the_data_and_means_over_pairs(trained: Path) -> None:
    lines = (trained / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    log = [record for record in map(json.loads, lines) if "loss" in record]
    metrics = json.loads((trained / "training" / "metrics.json").read_text(encoding="utf-8"))
    schedule = Schedule(metrics["train_rows"], 16, 1, 1, steps=3, seed=42)
    assert [record["step"] for record in log] == [1, 2, 3]
    assert [record["epoch"] for record in log] == [schedule.epochs_after(step) for step in (1, 2, 3)]
    assert metrics["epochs"] == round(schedule.epochs_after(3), 4)
    assert (log[0]["rewards/accuracies"], log[0]["rewards/margins"]) == (0.0, 0.0)
    assert log[0]["loss"] == pytest.approx(0.693147, abs=1e-6)
    for record in log:
        assert (record["rewards/accuracies"] * 16) % 1 == 0  # a share of the step's 16 pairs
        assert record["rewards/margins"] == pytest.approx(
            record["rewards/chosen"] - record["rewards/rejected"], abs=1e-6
        )
        assert record["logps/chosen"] < 0
        assert record["logps/rejected"] < 0


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
