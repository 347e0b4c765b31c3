"""The trainer as a run builds it: batches, weighted loss, what it logs, optimizer, precision, first weights."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, TrainerCallback, set_seed
from trl.trainer.dpo_config import DPOConfig

from recipe import engine as train_engine
from recipe import stages, train
from recipe.batches import PairCollator, ScheduledRows
from recipe.load import load_recipe
from recipe.packed import PackedTrainer
from recipe.progress import Reporter
from recipe.run import Run
from recipe.schedule import Place, Schedule
from recipe.tokenized import lengths_of, tokens_a_pair
from recipe.trainer import PreferenceTrainer, summed_logps

QUIET = Reporter(quiet=True)
Row = dict[str, Any]
Build = Callable[..., PreferenceTrainer]
pytestmark = pytest.mark.filterwarnings("ignore:.(is_)?gradient_checkpointing")  # PEFT and TRL, of each other


class BuiltError(Exception):
    """Carries the trainer out of `fit`."""


@pytest.fixture(scope="module")
def build(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Return what builds the trainer of `notus train` over `tiny`, some keys of the recipe changed."""
    bring = {stage.name: stage for stage in stages.STAGES}

    def stop(trainer: PreferenceTrainer, *_: object) -> None:
        raise BuiltError(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORBOARD_LOGGING_DIR", "")  # `fit` sets it
        patch.setattr(train, "heldout_logps", stop)
        patch.setattr(train, "know_reference", stop)

        def builder(*overrides: str) -> PreferenceTrainer:
            folder = tmp_path_factory.mktemp("run")
            run = Run(folder, load_recipe(tiny / "tiny.yaml", ["report_to=[]", "engine=trl", *overrides]))
            with run.locked():
                run.bring([bring["fetch"], bring["curate"]], QUIET)
            with pytest.raises(BuiltError) as built:
                train.fit(run, folder / "out", QUIET)
            trainer = built.value.args[0]
            assert isinstance(trainer, PreferenceTrainer)
            return trainer

        yield builder


@pytest.fixture
def trainer(build: Build) -> PreferenceTrainer:
    return build()


def row(prompt: list[int], chosen: list[int], rejected: list[int], **more: Any) -> Row:
    """Return a row whose every token is seen, unless a mask is given."""
    sides = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    ids = {f"{side}_ids": found for side, found in sides.items()}
    return {**ids, **{f"{side}_mask": [1] * len(found) for side, found in sides.items()}, **more}


FIRST = row([5, 6, 2, 7], [10, 11, 12], [20, 2], prompt_mask=[1, 1, 0, 1], rejected_mask=[1, 0])
SECOND = row([8, 9], [30, 31], [40, 41, 42, 43, 2], rejected_mask=[1, 1, 1, 1, 0])
ROWS = [FIRST, SECOND]


# Batches


def test_a_batch_is_the_chosen_sides_and_then_the_rejected_ones() -> None:
    batch = PairCollator(2)([{**FIRST, "weight": 2.0}, SECOND])
    assert batch["input_ids"].tolist() == [
        [5, 6, 2, 7, 10, 11, 12],
        [8, 9, 30, 31, 2, 2, 2],
        [5, 6, 2, 7, 20, 2, 2],
        [8, 9, 40, 41, 42, 43, 2],
    ]
    assert batch["attention_mask"].tolist() == [
        [1, 1, 0, 1, 1, 1, 1],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 1, 0],
    ]
    assert batch["completion_mask"].tolist() == [
        [0, 0, 0, 0, 1, 1, 1],
        [0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1, 1, 1],
    ]
    assert batch["weight"].tolist() == [2.0, 1.0]
    ids = {batch[name].dtype for name in ("input_ids", "attention_mask", "completion_mask")}
    assert (ids, batch["weight"].dtype) == ({torch.int64}, torch.float32)
    assert batch.keys() == {"input_ids", "attention_mask", "completion_mask", "weight", "row"}


def test_another_token_can_pad() -> None:
    assert PairCollator(7)(ROWS)["input_ids"][1].tolist() == [8, 9, 30, 31, 7, 7, 7]


def test_the_scheduled_rows_are_those_of_its_places() -> None:
    schedule = Schedule(rows=3, batch_size=2, accumulation=2, processes=1, steps=2, seed=0)
    numbered = Dataset.from_list([{"number": number} for number in range(3)])
    scheduled = ScheduledRows(numbered, schedule)
    assert len(scheduled) == 2 * 4
    found = [Place(one["number"], one["weight"]) for one in map(scheduled.__getitem__, range(8))]
    assert found == schedule.places()
    assert {place.weight for place in found} == {0.0, 1.0, 2.0}


def test_a_run_reads_its_places_one_after_the_other(trainer: PreferenceTrainer) -> None:
    scheduled = trainer.train_dataset
    assert isinstance(scheduled, ScheduledRows)
    assert len(scheduled) == 3 * 16
    batches = list(trainer.get_train_dataloader())
    assert [len(batch["weight"]) for batch in batches] == [16, 16, 16]
    expected = [
        trainer.collate([scheduled[place] for place in range(start, start + 16)]) for start in (0, 16, 32)
    ]
    for batch, wanted in zip(batches, expected, strict=True):
        assert batch.keys() == wanted.keys()
        assert all(torch.equal(batch[name], wanted[name]) for name in wanted)


# The loss


def moved(trainer: PreferenceTrainer) -> PreferenceTrainer:
    """Give the adapter weights with which policy and reference differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in trainer.tuned.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return trainer


def rows_of(trainer: PreferenceTrainer) -> int:
    """Return how many training rows there are."""
    assert isinstance(trainer.train_dataset, ScheduledRows)
    return len(trainer.train_dataset.rows)


def loss_of(trainer: PreferenceTrainer, rows: Sequence[Row]) -> torch.Tensor:
    loss = trainer._compute_loss(trainer.tuned, trainer.collate(rows))
    assert isinstance(loss, torch.Tensor)
    return loss


def logp_by_hand(trainer: PreferenceTrainer, one: Row, side: str) -> torch.Tensor:
    """Return the summed log-probability of one answer, from the logits of a forward of its own."""
    prompt, answer = one["prompt_ids"], one[f"{side}_ids"]
    mask = one["prompt_mask"] + one[f"{side}_mask"]
    logits = trainer.tuned(
        input_ids=torch.tensor([prompt + answer]), attention_mask=torch.tensor([mask])
    ).logits[0]
    logps = functional.log_softmax(logits.float(), dim=-1)
    return torch.stack([logps[len(prompt) - 1 + place, token] for place, token in enumerate(answer)]).sum()


def margin_by_hand(trainer: PreferenceTrainer, one: Row) -> dict[str, float]:
    """Return a pair's rewards and the policy's log-probabilities."""
    with torch.no_grad():
        policy = {side: logp_by_hand(trainer, one, side).item() for side in ("chosen", "rejected")}
        with trainer.tuned.disable_adapter():
            reference = {side: logp_by_hand(trainer, one, side).item() for side in ("chosen", "rejected")}
    return {
        **{f"rewards/{side}": 0.1 * (policy[side] - reference[side]) for side in policy},
        **{f"logps/{side}": policy[side] for side in policy},
    }


def sigmoid_loss(margin: float) -> float:
    return -functional.logsigmoid(torch.tensor(margin, dtype=torch.float64)).item()


def losses_by_hand(trainer: PreferenceTrainer, rows: Sequence[Row]) -> list[float]:
    found = [margin_by_hand(trainer, one) for one in rows]
    return [sigmoid_loss(one["rewards/chosen"] - one["rewards/rejected"]) for one in found]


def test_log_probabilities_are_sums_over_the_answers(trainer: PreferenceTrainer) -> None:
    moved(trainer)
    with torch.no_grad():
        found = summed_logps(trainer.tuned, trainer.collate(ROWS))
        expected = [
            logp_by_hand(trainer, one, side).item() for side in ("chosen", "rejected") for one in ROWS
        ]
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 0.0), (0.0, 1.0), (1.5, 0.5)])
def test_the_loss_is_the_weighted_mean_of_the_pairs(
    trainer: PreferenceTrainer, weights: tuple[float, float]
) -> None:
    one, two = losses_by_hand(moved(trainer), ROWS)
    assert abs(one - two) > 1e-3
    weighted = [{**pair, "weight": weight} for pair, weight in zip(ROWS, weights, strict=True)]
    expected = (weights[0] * one + weights[1] * two) / 2
    assert loss_of(trainer, weighted).item() == pytest.approx(expected, rel=1e-5)


def test_a_pair_that_weighs_nothing_teaches_nothing(trainer: PreferenceTrainer) -> None:
    moved(trainer)
    empty = {**SECOND, "weight": 0.0}

    def gradients(rows: Sequence[Row]) -> list[torch.Tensor]:
        trainer.tuned.zero_grad()
        loss_of(trainer, rows).backward()  # type: ignore[no-untyped-call]
        return gradients_of(trainer)

    full = gradients([{**FIRST, "weight": 2.0}, empty])
    alone = gradients([FIRST])
    assert len(full) == 16
    assert any(gradient.abs().max() > 0 for gradient in alone)
    for one, other in zip(full, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_masked_token_is_hidden_from_the_others_and_still_learnt(trainer: PreferenceTrainer) -> None:
    moved(trainer)
    shown = [{**one, "prompt_mask": [1] * len(one["prompt_ids"])} for one in ROWS]
    assert losses_by_hand(trainer, ROWS)[1] == losses_by_hand(trainer, shown)[1]
    masked, seen = (loss_of(trainer, rows).item() for rows in (ROWS, shown))
    assert abs(masked - seen) > 1e-4
    # The last token of an answer is attended to by none, so that its own mask changes nothing: it is learnt.
    ended = [{**one, "rejected_mask": [1] * len(one["rejected_ids"])} for one in ROWS]
    assert loss_of(trainer, ended).item() == pytest.approx(masked, rel=1e-5)
    shorter = [
        {**one, "rejected_ids": one["rejected_ids"][:-1], "rejected_mask": one["rejected_mask"][:-1]}
        for one in ROWS
    ]
    assert abs(loss_of(trainer, shorter).item() - masked) > 1e-4


@pytest.mark.parametrize("overrides", [["attn_implementation=eager"], ["attn_implementation=sdpa"]], ids=str)
def test_a_prompt_that_begins_with_a_masked_token_is_harmless(build: Build, overrides: list[str]) -> None:
    trainer = moved(build(*overrides))
    begins = [
        row([2, 7, 8], [10, 11], [20, 2, 9], prompt_mask=[0, 1, 1], rejected_mask=[1, 0, 1]),
        row([2, 2], [10], [20, 21], prompt_mask=[0, 0]),
    ]
    loss = loss_of(trainer, begins)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    gradients = [p.grad for p in trainer.tuned.parameters() if p.grad is not None]
    assert len(gradients) == 16
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    # Such a position attends to nothing that is of any use; what stands there must not reach the others.
    batch = trainer.collate(begins)
    with torch.no_grad():
        found = summed_logps(trainer.tuned, batch)
        batch["input_ids"][0, 0] = batch["input_ids"][2, 0] = 99
        assert summed_logps(trainer.tuned, batch)[[0, 2]].tolist() == pytest.approx(
            found[[0, 2]].tolist(), rel=1e-5
        )


class Gradients(TrainerCallback):
    """Keeps the gradients of the first optimizer step."""

    def __init__(self, trainer: PreferenceTrainer) -> None:
        self.trainer = trainer
        self.found: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        if not self.found:
            self.found = gradients_of(self.trainer)


def gradients_of(trainer: PreferenceTrainer) -> list[torch.Tensor]:
    return [p.grad.clone() for p in trainer.tuned.parameters() if p.grad is not None]


@pytest.mark.parametrize("micro_batch_size", [5, 10])
def test_a_step_with_a_short_micro_batch_learns_from_the_mean_of_its_means(
    build: Build, micro_batch_size: int
) -> None:
    # As many micro-batches of 5 as an epoch has, and two more that stay empty: the last one is short.
    accumulation = 12
    trainer = build(
        "per_device_train_batch_size=5",
        f"gradient_accumulation_steps={accumulation}",
        f"micro_batch_size={micro_batch_size}",
        "max_steps=1",
        "max_grad_norm=1.0e9",
    )
    assert rows_of(trainer) % 5
    assert trainer.args.gradient_accumulation_steps == accumulation * 5 // micro_batch_size
    scheduled = trainer.train_dataset
    assert isinstance(scheduled, ScheduledRows)
    order = Schedule(rows_of(trainer), 5, accumulation, 1, steps=1, seed=42).step_rows()[0]
    assert sorted(order) == list(range(rows_of(trainer)))
    for start in range(0, len(order), 5):
        loss = loss_of(trainer, [scheduled.rows[place] for place in order[start : start + 5]])
        (loss / accumulation).backward()  # type: ignore[no-untyped-call]
    expected = gradients_of(trainer)
    trainer.tuned.zero_grad()
    gradients = Gradients(trainer)
    trainer.add_callback(gradients)
    trainer.train()
    assert sum(gradient.abs().max().item() > 0 for gradient in expected) == 8  # of B; A's are 0 as yet
    for one, other in zip(gradients.found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


# What is logged


def test_the_log_has_the_means_over_the_pairs_since_the_last_one(trainer: PreferenceTrainer) -> None:
    moved(trainer)
    third = row([4], [50, 51], [60])
    each = [margin_by_hand(trainer, one) for one in (FIRST, SECOND, third)]
    trainer.tuned.train()
    loss_of(trainer, [FIRST, SECOND])
    loss_of(trainer, [{**third, "weight": 2.0}, {**FIRST, "weight": 0.0}])  # the second one fills a place
    trainer._end_step()
    trainer.log({})
    record = trainer.state.log_history[-1]
    for name in ("rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"):
        assert record[name] == pytest.approx(sum(one[name] for one in each) / 3, rel=1e-4)
    margins = [one["rewards/chosen"] - one["rewards/rejected"] for one in each]
    assert record["rewards/margins"] == pytest.approx(sum(margins) / 3, rel=1e-4)
    assert record["rewards/accuracies"] == pytest.approx(sum(margin > 0 for margin in margins) / 3)
    loss_of(trainer, [third])  # what was logged is not logged again
    trainer._end_step()
    trainer.log({})
    assert trainer.state.log_history[-1]["rewards/chosen"] == pytest.approx(
        each[2]["rewards/chosen"], rel=1e-4
    )


def test_a_tie_is_no_success(trainer: PreferenceTrainer) -> None:
    # Before the first step the policy is the reference.
    assert loss_of(trainer, ROWS).item() == pytest.approx(0.693147, abs=1e-6)
    trainer._end_step()
    trainer.log({})
    record = trainer.state.log_history[-1]
    assert record["rewards/accuracies"] == record["rewards/margins"] == 0.0


def test_the_epoch_of_the_log_is_that_of_the_data(build: Build) -> None:
    trainer = build("per_device_train_batch_size=5", "gradient_accumulation_steps=3", "max_steps=5")
    rounds = -(-rows_of(trainer) // 5)
    assert rounds % 3
    assert rounds < 5 * 3  # the last step is beyond the first epoch's end
    trainer.train()
    log = [record for record in trainer.state.log_history if "loss" in record]
    assert [record["step"] for record in log] == [1, 2, 3, 4, 5]
    assert [record["epoch"] for record in log] == pytest.approx([3 * step / rounds for step in range(1, 6)])


def test_an_evaluation_leaves_what_is_logged_of_the_training_alone(build: Build) -> None:
    def logged(strategy: str) -> list[dict[str, float]]:
        trainer = build("logging_steps=3", "max_steps=6", f"evaluation_strategy={strategy}")
        trainer.train()
        return trainer.state.log_history

    plain, evaluated = logged("no"), logged("epoch")
    # At an epoch's end, which is between two logs, and once more after the last step.
    assert [record["step"] for record in evaluated if "eval_loss" in record] == [4, 6]
    one, other = ([record for record in log if "loss" in record] for log in (plain, evaluated))
    assert [record["step"] for record in one] == [1, 3, 6]
    speeds = {"pairs_per_second", "tokens_per_second"}
    for log in (one, other):
        assert all(record.pop(speed) > 0 for record in log for speed in speeds)
    assert one == other


def test_an_evaluation_is_over_the_held_out_pairs_alone(build: Build) -> None:
    trainer = build("logging_steps=3", "max_steps=4", "evaluation_strategy=epoch")
    trainer.train()
    (record,) = [record for record in trainer.state.log_history if "eval_loss" in record]
    assert isinstance(trainer.eval_dataset, Dataset)
    pairs = list(trainer.eval_dataset)
    each = [margin_by_hand(trainer, one) for one in pairs]  # no step came after it
    for name in ("rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"):
        assert record[f"eval_{name}"] == pytest.approx(sum(one[name] for one in each) / 8, rel=1e-4), name
    losses = [sigmoid_loss(one["rewards/chosen"] - one["rewards/rejected"]) for one in each]
    assert record["eval_loss"] == pytest.approx(sum(losses) / 8, rel=1e-4)


def test_on_a_known_gpu_the_share_of_its_peak_is_logged(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build("engine=packed")
    trainer.flops_a_pair = 3.12e12
    assert trainer._share_of_peak(50.0) is None  # no GPU
    monkeypatch.setattr(type(trainer.accelerator), "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100-SXM4-40GB")
    assert trainer._share_of_peak(50.0) == pytest.approx(0.5)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA of tomorrow")
    assert trainer._share_of_peak(50.0) is None


def test_the_flops_of_a_pair_are_those_of_its_tokens(build: Build) -> None:
    trainer = build("engine=packed")
    assert isinstance(trainer, PackedTrainer)
    schedule = trainer._schedule
    lengths = lengths_of(trainer._rows)
    tokens = tokens_a_pair(lengths, schedule)["prompt_once"]
    base = cast("Any", trainer.tuned.get_base_model())
    multiplied = sum(w.numel() for n, w in base.named_parameters() if "lora" not in n and "embed" not in n)
    found = train.flops_a_pair(trainer, lengths, schedule)
    assert 4 * multiplied * tokens < found < 4.5 * multiplied * tokens


def test_one_process_is_one_device_however_many_gpus_there_are(tmp_path: Path) -> None:
    args = DPOConfig(output_dir=str(tmp_path), per_device_train_batch_size=4, use_cpu=True, bf16=False)
    args.n_gpu  # noqa: B018 - what the machine has, asked for once
    args._n_gpu = 8
    assert args.train_batch_size == 32
    train_engine.on_one_device(args)
    assert (args.train_batch_size, args.n_gpu) == (4, 1)


def test_a_run_is_built_on_one_device(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(train_engine, "on_one_device", seen.append)
    assert seen == [build().args]


def test_all_pairs_are_counted_though_the_last_log_is_an_evaluation_s(build: Build) -> None:
    trainer = build("logging_steps=3", "max_steps=4", "evaluation_strategy=epoch")
    trainer.train()
    assert trainer.trained_pairs == sum(place.weight > 0 for place in trainer._schedule.places())
    assert trainer.trained_tokens > trainer.trained_pairs
    assert trainer.pairs_per_second > 0


def test_the_speed_leaves_out_what_came_before_the_first_log(build: Build) -> None:
    trainer = build()
    trainer.clock._spent, trainer.trained_pairs = 110.0, 48.0
    assert trainer.pairs_per_second == 48 / 110
    trainer.first = (16.0, 100.0)  # a step that compiled
    assert trainer.pairs_per_second == 32 / 10
    trainer.first = (48.0, 110.0)  # the only one
    assert trainer.pairs_per_second == 48 / 110


# Dropout, precision, the first weights


def test_dropout_is_off_and_the_configuration_still_says_it(build: Build, tmp_path: Path) -> None:
    trainer = build("lora_dropout=0.1")
    dropouts = [module for module in trainer.tuned.modules() if isinstance(module, torch.nn.Dropout)]
    assert len(dropouts) >= 8
    assert {module.p for module in dropouts} == {0.0}
    trainer.tuned.train()
    moved(trainer)
    assert len({loss_of(trainer, ROWS).item() for _ in range(4)}) == 1
    train.save_adapter(trainer.tuned, cast("Any", trainer.processing_class), "base", tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["lora_dropout"] == 0.1


def test_the_optimizer_is_torchs_rmsprop(build: Build) -> None:
    trainer = build("learning_rate=1.0e-3")
    optimizer = trainer.create_optimizer()
    while hasattr(optimizer, "optimizer"):  # Accelerate's wrapping
        optimizer = optimizer.optimizer
    assert type(optimizer) is torch.optim.RMSprop
    expected = {"alpha": 0.99, "eps": 1e-8, "momentum": 0, "centered": False, "weight_decay": 0.0, "lr": 1e-3}
    for group in optimizer.param_groups:
        assert {name: group[name] for name in expected} == expected
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    adapter = {id(p) for name, p in trainer.tuned.named_parameters() if "lora_" in name}
    assert trained == adapter
    assert trainer.args.max_grad_norm == 1.0


class Watch(TrainerCallback):
    """Keeps the adapter and the optimizer's averages as they are after each step, and the rate it was made at."""

    def __init__(self, trainer: PreferenceTrainer) -> None:
        self.trainer = trainer
        self.weights = [adapter_of(trainer)]
        self.averages: list[float] = []
        self.rates: list[float] = []

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.rates += [optimizer_of(self.trainer).param_groups[0]["lr"]]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        states = optimizer_of(self.trainer).state.values()
        self.averages += [max(state["square_avg"].max().item() for state in states)]
        self.weights += [adapter_of(self.trainer)]


def optimizer_of(trainer: PreferenceTrainer) -> torch.optim.Optimizer:
    assert trainer.optimizer is not None
    return trainer.optimizer


def adapter_of(trainer: PreferenceTrainer) -> dict[str, torch.Tensor]:
    return {
        name.replace(".default", ""): parameter.detach().clone()
        for name, parameter in trainer.tuned.named_parameters()
        if "lora_" in name
    }


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_rate_rises_from_nothing_over_the_warm_up_and_then_falls(build: Build) -> None:
    trainer = build("max_steps=5", "warmup_ratio=0.3", "learning_rate=1.0e-3")
    watch = Watch(trainer)
    trainer.add_callback(watch)
    trainer.train()
    assert watch.rates == pytest.approx([0.0, 0.5e-3, 1e-3, 2e-3 / 3, 1e-3 / 3])  # ceil(0.3 x 5) = 2 steps up
    # The first step moves no weight, and the optimizer's averages all the same.
    assert same(watch.weights[0], watch.weights[1])
    assert watch.averages[0] > 0
    assert not same(watch.weights[1], watch.weights[2])


@pytest.mark.parametrize("seed", [42, 7])
def test_the_adapter_s_first_weights_are_peft_s_under_the_seed(build: Build, tiny: Path, seed: int) -> None:
    trainer = build(f"seed={seed}")
    base = AutoModelForCausalLM.from_pretrained(tiny / "base")
    config = LoraConfig(
        r=4, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]):
        set_seed(seed)
        expected = get_peft_model(base, config)
    wanted = {
        name.replace(".default", ""): parameter.detach()
        for name, parameter in expected.named_parameters()
        if "lora_" in name
    }
    assert same(adapter_of(trainer), wanted)


def test_the_adapter_s_first_weights_as_they_were_drawn_in_2023(build: Build) -> None:
    # For each layer q, k, v, o: A's default weights and B's, both thrown away, then A's own. B begins at 0.
    found = adapter_of(build("seed=42"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(42)
        for name in [name for name in found if "lora_A" in name]:
            b = found[name.replace("lora_A", "lora_B")]
            torch.nn.Linear(found[name].shape[1], 4, bias=False)
            torch.nn.Linear(4, b.shape[0], bias=False)
            weight = torch.empty_like(found[name])
            torch.nn.init.kaiming_uniform_(weight, a=5**0.5)
            assert torch.equal(found[name], weight), name
            assert not b.any()
    order = [name.split(".")[-3] for name in found if "lora_A" in name]
    assert order == ["q_proj", "k_proj", "v_proj", "o_proj"] * 2


def test_over_a_bfloat16_base_the_adapter_is_float32(build: Build, tmp_path: Path) -> None:
    trainer = build("torch_dtype=bfloat16", "bf16=true", "max_steps=2")
    dtypes = {
        kind: {
            p.dtype
            for name, p in trainer.tuned.named_parameters()
            if ("lora_" in name) == (kind == "adapter")
        }
        for kind in ("adapter", "base")
    }
    assert dtypes == {"adapter": {torch.float32}, "base": {torch.bfloat16}}
    before = adapter_of(trainer)
    trainer.train()
    averages_in = {state["square_avg"].dtype for state in optimizer_of(trainer).state.values()}
    assert averages_in == {torch.float32}
    assert not same(before, adapter_of(trainer))
    train.save_adapter(trainer.tuned, cast("Any", trainer.processing_class), "base", tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    assert same(saved, adapter_of(trainer))
