"""The plan: the published figures for the real recipe, and nothing made up where something is not known."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, MistralConfig

from recipe.builtin.base import base_config
from recipe.cost import Devices
from recipe.errors import UserError
from recipe.fetch import base_files, count_parameters
from recipe.flops import Size, packed_pair, pairs_per_second, training_flops
from recipe.load import load_recipe
from recipe.plan import Plan, make_plan
from recipe.plan_view import publishes, show_plan
from recipe.progress import Reporter
from recipe.stages import STAGES
from tests.support import Cli


def plan(name: str | Path, *overrides: str) -> Plan:
    return make_plan(load_recipe(name, overrides))


def refusal(name: str | Path, *overrides: str) -> str:
    with pytest.raises(UserError) as refused:
        plan(name, *overrides)
    line = str(refused.value)
    assert "\n" not in line
    return line


@pytest.fixture(scope="module")
def notus() -> Plan:
    return plan("notus-7b-v1-lora")


# At real size


def test_the_published_figures(notus: Plan) -> None:
    assert notus.base_parameters == 7_241_732_096
    assert notus.base_bytes == 2 * 7_241_732_096  # bfloat16
    assert notus.adapter_parameters == 54_525_952
    assert notus.adapter_bytes == 218_103_808  # float32: the 218 MB that were published
    assert (notus.train_rows, notus.heldout_rows) == (61_619, 2_000)
    assert (notus.steps, notus.steps_per_epoch, notus.global_batch_size) == (360, 120, 512)
    assert notus.epochs == 2.9907
    assert notus.known == (
        "base: not here; taken as the default mistral",
        "data: not here; taken as 63,619 rows",
    )


def test_disk_and_memory_hold_at_least_what_they_must(notus: Plan) -> None:
    assert sum(notus.disk.values()) >= 2 * notus.base_bytes + notus.adapter_bytes
    checkpoint = 2 * 4 * notus.adapter_parameters  # weights, and RMSprop's means of their squares
    assert checkpoint < 700e6
    assert notus.disk["train"] == 2 * notus.adapter_bytes + 3 * checkpoint
    # base in bfloat16; adapter, gradient and RMSprop's square_avg in float32
    assert notus.memory_bytes > notus.base_bytes + 3 * notus.adapter_bytes
    assert notus.memory_bytes < 40e9  # it ran on A100s of 40 GB


def test_recomputing_activations_needs_less_memory() -> None:
    given = ("notus-7b-v1-lora", "engine=trl")
    each, none = (plan(*given, f"gradient_checkpointing={asked}") for asked in ("true", "false"))
    assert none.memory_bytes > 2 * each.memory_bytes
    assert (each.recompute_every, none.recompute_every, each.layers) == (1, 0, 32)
    assert plan(*given, "gradient_checkpointing=true", "micro_batch_size=1").memory_bytes < each.memory_bytes
    adam = plan(*given, "gradient_checkpointing=true", "optim=adamw_torch")
    assert adam.memory_bytes == each.memory_bytes + each.adapter_bytes


@pytest.mark.parametrize(
    ("overrides", "tokens"),
    [
        (["engine=trl"], 2 * 2 * 1024),
        (["engine=trl", "micro_batch_size=1"], 2 * 1024),
        (["engine=packed"], 4096),
        (["engine=packed", "pack_tokens=8192"], 8192),
        (["engine=packed", "pack_tokens=100"], 2 * 1024),  # a longer pair has a pack to itself
        (["engine=packed", "assumed_gpu=null"], 2 * 1024),  # a CPU's packs are small
    ],
)
def test_a_micro_batch_has_the_tokens_of_its_engine(overrides: list[str], tokens: int) -> None:
    assert plan("notus-7b-v1-lora", *overrides).micro_batch_tokens == tokens


@pytest.mark.parametrize(("gpu", "every"), [("A100 40GB", None), ("A100 80GB", 0), ("L4", 1)])
def test_as_few_layers_are_recomputed_as_fit_the_assumed_gpu(gpu: str, every: int | None) -> None:
    found = plan("notus-7b-v1-lora", f"assumed_gpu={gpu}")
    assert found.target.bytes is not None
    assert found.memory_bytes < found.target.bytes
    assert found.recompute_every > 1 if every is None else found.recompute_every == every


def test_the_gpu_that_is_here_comes_before_the_assumed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda _: SimpleNamespace(total_memory=150_000_000_000)
    )
    found = plan("notus-7b-v1-lora")
    assert found.target == Devices(2, "NVIDIA H200", here=True, gpu=True, bytes=150_000_000_000)
    assert found.recompute_every == 0
    assert "peak of H200" in found.prediction.source
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "Unheard-of GPU")
    other = plan("notus-7b-v1-lora")
    assert other.prediction.hours is None
    assert "Unheard-of GPU is not among the known GPUs" in other.prediction.source


@pytest.mark.parametrize("tied", [True, False])
def test_the_speed_is_that_of_the_parameters_that_tokens_are_multiplied_by(tied: bool) -> None:
    given = [
        "assumed_mean_tokens={prompt: 100, chosen: 50, rejected: 40}",
        "assumed_gpu=L4",
        "assumed_gpus=3",
    ]
    shape = f"assumed_config={{vocab_size: 49152, tie_word_embeddings: {str(tied).lower()}}}"
    given += [shape, "engine=packed", "gradient_checkpointing=2", "max_steps=8"]
    found = plan("smollm2-135m", *given)
    multiplied = found.base_parameters - (0 if tied else 49152 * 4096)
    size = Size(multiplied, found.adapter_parameters, layers=32, width=4096)
    flops = training_flops(size, packed_pair(100, 50, 40), recomputed=0.5)
    speed = 3 * pairs_per_second(flops, 0.3, 121e12)
    assert found.prediction.pairs_per_second == pytest.approx(speed)
    assert found.prediction.hours == pytest.approx(8 * 8 / speed / 3600)
    assert plan("smollm2-135m", *given, "devices=2").target.count == 2


def test_without_a_gpu_no_limit_is_known() -> None:
    smoke = plan("smoke")
    assert (smoke.target.gpu, smoke.target.bytes, smoke.recompute_every) == (False, None, 0)
    assert smoke.prediction.source.startswith("not known: nothing was measured on this CPU")


def test_what_a_run_measured_is_planned_with(trained: Path, tiny: Path) -> None:
    recipe = load_recipe(tiny / "tiny.yaml")
    found = make_plan(recipe, folders=(trained,)).prediction
    metrics = json.loads((trained / "training" / "metrics.json").read_text())
    assert found.source.startswith("measured: 3 steps on 1 x CPU, ")
    passes = 1 / recipe.science.num_train_epochs  # of the reference, for one of the policy
    seconds = 1 / metrics["pairs_per_second"] + passes / metrics["reference_pairs_per_second"]
    assert found.pairs_per_second == pytest.approx(1 / seconds)
    assert make_plan(recipe).prediction.hours is None


def test_the_steps_are_the_same_on_any_number_of_devices(
    notus: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for devices in (1, 8, 64):
        elsewhere = plan("notus-7b-v1-lora", f"devices={devices}")
        assert elsewhere.devices == devices
        assert (elsewhere.steps, elsewhere.global_batch_size) == (notus.steps, notus.global_batch_size)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert plan("notus-7b-v1-lora").devices == 4
    assert "devices: 8 asked for, but this machine has 4 GPU(s)" in refusal("notus-7b-v1-lora", "devices=8")


def test_the_control_holds_out_a_split_of_its_own() -> None:
    control = plan("zephyr-7b-beta-lora")
    assert (control.train_rows, control.heldout_rows, control.steps) == (61_966, None, 3 * 121)


# Where the base is


def test_a_local_base_is_measured(tiny: Path) -> None:
    found = plan(tiny / "tiny.yaml")
    parameters, dtype = count_parameters(base_files(tiny / "base"))
    assert dtype == "F32"
    assert found.base_parameters == parameters
    assert found.base_bytes == 4 * parameters
    assert found.known[0] == "base: base"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's
@pytest.mark.parametrize(
    "targets", [["q_proj"], ["k_proj", "v_proj"], ["q_proj", "o_proj", "down_proj", "up_proj", "gate_proj"]]
)
def test_the_adapter_has_the_parameters_that_peft_gives_it(tiny: Path, targets: list[str]) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(MistralConfig.from_pretrained(tiny / "base"))  # type: ignore[no-untyped-call]
        tuned = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    expected, _ = tuned.get_nb_trainable_parameters()
    found = plan(tiny / "tiny.yaml", "lora_r=4", f"lora_target_modules={json.dumps(targets)}")
    assert found.adapter_parameters == expected
    assert found.adapter_bytes == 4 * expected


def test_the_base_that_ships_is_planned_for_before_it_is_built() -> None:
    smoke = plan("smoke")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(base_config())  # type: ignore[no-untyped-call]
    assert smoke.base_parameters == model.num_parameters() <= 3_000_000
    assert smoke.known[0] == "base: made on the spot"


@pytest.mark.parametrize("target", ["c_attn", "lm_head", "layers", "q_pro", "embed_tokens"])
def test_lora_targets_that_the_base_lacks_are_refused(target: str) -> None:
    line = refusal("notus-7b-v1-lora", f"lora_target_modules=[q_proj, {target}]")
    assert f"the base has no module {target!r} to adapt" in line
    assert line.endswith("it has down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj")


def test_a_base_that_is_not_here_needs_a_type_to_be_planned_for() -> None:
    said = "not here, so its size is not known; set assumed_model_type"
    assert said in refusal("notus-7b-v1-lora", "assumed_model_type=null")
    assert "Transformers has no model type 'mistrial'" in refusal(
        "notus-7b-v1-lora", "assumed_model_type=mistrial"
    )


@pytest.mark.parametrize("config", ["{", '{"model_type": "mistrial"}', "{}"])
def test_a_base_with_a_broken_configuration_is_refused(tiny: Path, tmp_path: Path, config: str) -> None:
    shutil.copytree(tiny / "base", tmp_path / "base")
    (tmp_path / "base" / "config.json").write_text(config)
    line = refusal(tiny / "tiny.yaml", f"model_name_or_path={tmp_path / 'base'}")
    assert f"{tmp_path / 'base'}/config.json: not a model's configuration" in line


# What the data say


def test_rows_that_were_not_counted_are_not_made_up() -> None:
    unknown = plan("smollm2-135m")
    assert (unknown.train_rows, unknown.steps, unknown.steps_per_epoch, unknown.epochs) == (None,) * 4
    assert unknown.known[1] == "data: not here; rows not counted"
    told = plan("smollm2-135m", "max_steps=8").as_dict()
    assert (told["train_rows"], told["steps"], told["epochs"]) == (None, 8, None)


def test_what_was_assumed_of_one_data_set_is_not_of_another() -> None:
    assert plan("notus-7b-v1-lora", "dataset=org/other").train_rows is None
    assert plan("notus-7b-v1-lora", "dataset=org/other", "assumed_dataset_rows=2512").train_rows == 512


def test_local_rows_are_counted(tiny: Path) -> None:
    found = plan(tiny / "tiny.yaml", "max_steps=-1")
    assert (found.train_rows, found.heldout_rows) == (56, 8)  # 64 of them, before any is left out
    assert found.known[1] == "data: feedback.jsonl, rows counted before any is left out"
    assert (found.steps, found.steps_per_epoch, found.epochs) == (3 * 4, 4, 3.0)
    few = plan(tiny / "tiny.yaml", "max_steps=3")
    assert (few.steps, few.epochs) == (3, 0.75)
    said = "test_size: 64 of 64 rows held out leave none to train on"
    assert said in refusal(tiny / "tiny.yaml", "test_size=64")


def test_each_split_of_a_local_folder_is_counted(tiny: Path, tmp_path: Path) -> None:
    for name, rows in (("train", 40), ("test", 9), ("other", 70)):
        (tmp_path / f"{name}.jsonl").write_text(PAIR * rows)
    given = ["dataset_format=auto", f"dataset={tmp_path}"]
    both = plan(tiny / "tiny.yaml", *given, "dataset_splits=[train, test]", "test_size=100")
    assert (both.train_rows, both.heldout_rows) == (40, 9)
    one = plan(tiny / "tiny.yaml", *given)
    assert (one.train_rows, one.heldout_rows) == (32, 8)


PAIR = '{"prompt": "Which one?", "chosen": "This.", "rejected": "That."}\n'


def test_the_plan_of_as_many_rows_as_notus_had(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(PAIR * 63_619)
    ended = cli("run", "notus-7b-v1-lora", "--dry-run", "--json", "--set", f"dataset={rows}")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert (told["train_rows"], told["heldout_rows"]) == (61_619, 2_000)
    assert (told["global_batch_size"], told["steps"], told["steps_per_epoch"]) == (512, 360, 120)
    assert told["epochs"] == 2.9907
    assert told["known"][1] == "data: rows.jsonl, rows counted before any is left out"
    assert "61,619 to train on, 2,000 held out" in ended.err
    assert "360, 120 an epoch; ends at epoch 2.99" in ended.err
    assert "512 pairs an optimizer step" in ended.err


def test_holding_out_every_row_is_refused() -> None:
    assert plan("notus-7b-v1-lora", "test_size=63618").train_rows == 1
    line = refusal("notus-7b-v1-lora", "test_size=63619")
    assert line.startswith("test_size: 63619 of 63619 rows held out leave none to train on")


def test_local_data_that_are_not_there_are_refused(tiny: Path) -> None:
    assert "dataset: there is no /no/rows.jsonl" in refusal(tiny / "tiny.yaml", "dataset=/no/rows.jsonl")


def test_the_plan_as_plain_values_can_be_json(notus: Plan) -> None:
    values = json.loads(json.dumps(notus.as_dict()))
    assert values["base_parameters"] == 7_241_732_096
    assert (values["steps"], values["steps_per_epoch"], values["global_batch_size"]) == (360, 120, 512)
    assert (
        values["memory_bytes_per_device"] == notus.memory_bytes == sum(values["memory_bytes_by_use"].values())
    )
    assert values["recompute_every"] == notus.recompute_every
    assert values["prediction"]["usd"] == pytest.approx(3.67 * values["prediction"]["gpu_hours"])
    assert values["target"]["name"] == "A100 40GB"


# As a person reads it


def test_a_person_reads_the_figures(
    notus: Plan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    recipe = load_recipe("notus-7b-v1-lora")
    told = show_plan(recipe, notus, Path("/runs/[/bold]notus"), STAGES, Reporter())
    out = "".join(capsys.readouterr())
    for figure in (
        "7,241,732,096 parameters, 14.48 GB",
        "54,525,952 parameters, 218.10 MB in float32",
        "61,619 to train on, 2,000 held out",
        "512 pairs an optimizer step",
        "360, 120 an epoch; ends at epoch 2.99",
        "of 40.00 GB a device, in micro-batches of 4,096 tokens",
        "of 32 layers, one in ",
        ", so that it fits",
        " h on 8 x A100 40GB, ",
        "at 3.67 USD a GPU-hour",
        "speed: assumed: 30% of the peak of A100 40GB (312 TFLOP/s)",
        "GPUs: none here; memory, recompute and training are of 8 x A100 40GB, which the recipe assumes",
        "/runs/[/bold]notus",  # brackets in a path are no markup
        "adapter_model.safetensors",
        "warning: model_revision is not pinned",
        "warning: dataset_revision is not pinned",
    ):
        assert figure in out
    assert told["stages"] == [*(stage.name for stage in STAGES), "publish"]
    assert told["unpinned"] == ["model_revision", "dataset_revision"]
    assert told["publishes"]["argilla/notus-7b-v1-lora-adapter"]["bytes"] == 218_103_808


def test_a_person_reads_what_does_not_fit_and_what_is_not_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    recipe = load_recipe("notus-7b-v1-lora", ["gradient_checkpointing=false", "assumed_gpu=L4"])
    show_plan(recipe, make_plan(recipe), Path("run"), STAGES, Reporter())
    shown = capsys.readouterr()
    assert "a device has 24.00 GB, the training needs more: set gradient_checkpointing: auto" in shown.err
    assert "no layer, as the recipe says" in shown.out
    unknown = load_recipe("notus-7b-v1-lora", ["assumed_mean_tokens=null", "gradient_checkpointing=true"])
    show_plan(unknown, make_plan(unknown), Path("run"), STAGES, Reporter())
    out = capsys.readouterr().out
    assert "speed: not known: how long a pair is; set assumed_mean_tokens" in out
    assert "each of 32 layers, as the recipe says" in out
    assert "USD" not in out


@pytest.mark.parametrize(("steps", "shown"), [(None, "not known yet"), (8, "8")])
def test_a_person_reads_no_figure_that_is_not_known(
    notus: Plan,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    steps: int | None,
    shown: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    unknown = replace(
        notus, train_rows=None, heldout_rows=2_000, steps=steps, steps_per_epoch=None, epochs=None
    )
    show_plan(load_recipe("notus-7b-v1-lora"), unknown, Path("run"), STAGES, Reporter())
    out = [line.strip().split("  ") for line in capsys.readouterr().out.splitlines()]
    lines = {words[0]: words[-1].strip() for words in out}
    assert lines["steps"] == shown
    assert lines["pairs"] == "not counted yet"


def test_quiet_says_nothing_but_warnings(notus: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(load_recipe("notus-7b-v1-lora"), notus, Path("run"), STAGES, Reporter(quiet=True))
    assert all(
        "warning: " in line or "run `notus recipe pin" in line
        for line in capsys.readouterr().out.splitlines()
    )


def test_a_base_that_nobody_else_has_is_published_too(notus: Plan, tiny: Path) -> None:
    hub = [name for name, _, _ in publishes(load_recipe("notus-7b-v1-lora"), notus)]
    assert hub == ["argilla/notus-7b-v1-lora-adapter", "argilla/notus-7b-v1-lora"]
    local = [name for name, _, _ in publishes(load_recipe(tiny / "tiny.yaml"), notus)]
    assert local == ["notus/tiny-base", "notus/tiny-adapter", "notus/tiny"]


@pytest.mark.parametrize(
    ("overrides", "count"),
    [(["devices=8"], 16), (["devices=8", "assumed_gpus=4"], 16), (["assumed_gpus=4"], 4)],
)
def test_all_nodes_are_planned_for(overrides: list[str], count: int) -> None:
    """An explicit number of devices is each node's, an assumed number of GPUs that of all nodes."""
    recipe = load_recipe("notus-7b-v1-lora", overrides)
    plan = make_plan(recipe, nodes=2)
    assert plan.target.count == count
    one = make_plan(recipe).prediction.hours
    assert one is not None
    assert plan.prediction.hours == pytest.approx(one / (2 if "devices=8" in overrides else 1))
