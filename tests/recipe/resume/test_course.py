"""A training that was ended goes on as if it never had been: the same adapter, log and curves."""

import errno
import functools
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import parquet
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from recipe.launch import ENDED
from recipe.packed import PackedTrainer
from recipe.resume import checkpoint
from recipe.resume.names import steps_in
from recipe.resume.saver import Saver
from recipe.scoring import score
from recipe.train import fit
from recipe.trainer import PreferenceTrainer
from tests.support import Cli, Outcome, fresh

pytestmark = pytest.mark.filterwarnings("ignore:.(is_)?gradient_checkpointing")  # PEFT and TRL, of each other
STEPS = 8
TIMES = ("per_second", "runtime", "share_of_peak")
AT_ONCE = ("save_strategy=steps", "save_steps=1")


@dataclass
class Training:
    """`notus train` over `tiny`, in this process."""

    cli: Cli
    tiny: Path
    run: Path
    sets: tuple[str, ...]

    def __call__(self, *more: str, options: tuple[str, ...] = ()) -> Outcome:
        sets = [part for one in (f"max_steps={STEPS}", *self.sets, *more) for part in ("--set", one)]
        return self.cli("train", self.tiny / "tiny.yaml", "--run", self.run, *sets, *options)


@pytest.fixture
def training(cli: Cli, tiny: Path, tmp_path: Path) -> Callable[..., Training]:
    return lambda *sets: Training(cli, tiny, tmp_path / "run", sets)


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Have something done once, before a step."""

    def plan(step: int, do: Callable[[], object]) -> None:
        usual = Saver.on_step_begin
        left = [do]

        def begin(self: Saver, args: Any, state: Any, control: Any, **more: object) -> None:
            usual(self, args, state, control, **more)
            if state.global_step == step and left:
                left.pop()()

        monkeypatch.setattr(Saver, "on_step_begin", begin)

    return plan


def signalled(number: signal.Signals) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), number)


def without_times(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in entry.items() if not any(time in name for time in TIMES)}
        for entry in entries
    ]


def made(run: Path) -> dict[str, Any]:
    """Return what must not hang on how often a training was ended."""
    lines = (run / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    board = EventAccumulator(str(run / "training" / "tensorboard"))
    board.Reload()
    curves = {
        name: [(event.step, event.value) for event in board.Scalars(name)]
        for name in board.Tags()["scalars"]
        if not any(time in name for time in TIMES)
    }
    environment = json.loads((run / "training" / "environment.json").read_text(encoding="utf-8"))
    return {
        "adapter": (run / "adapter" / "adapter_model.safetensors").read_bytes(),
        "log": without_times([json.loads(line) for line in lines]),
        "curves": curves,
        "held out": parquet.read_table(run / "training" / "heldout.parquet").to_pydict(),
        "steps": environment["steps"],
        "left": sorted(path.name for path in run.iterdir() if path.name != "reference"),
    }


@pytest.fixture(scope="module")
def undisturbed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Return what a training makes that is never ended."""
    known: dict[tuple[str, ...], dict[str, Any]] = {}

    def find(*sets: str) -> dict[str, Any]:
        if sets not in known:
            run = tmp_path_factory.mktemp("undisturbed")
            given = [part for one in (f"max_steps={STEPS}", *sets) for part in ("--set", one)]
            ended = fresh("train", tiny / "tiny.yaml", "--run", run, *given, cwd=tiny)
            assert ended.code == 0, ended.err
            known[sets] = made(run)
            steps = int(dict(one.split("=") for one in sets).get("max_steps", STEPS))
            assert [entry["step"] for entry in known[sets]["log"]][-1] == steps
        return known[sets]

    return find


@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("logging_steps=3", "evaluation_strategy=epoch"),
        ("engine=trl", "logging_steps=3", "optim=adamw_torch"),
    ],
    ids=str,
)
def test_it_goes_on_as_if_it_had_never_been_ended(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    at_step: Callable[[int, Callable[[], object]], None],
    sets: tuple[str, ...],
) -> None:
    train = training(*sets)
    for step, number in ((2, signal.SIGTERM), (5, signal.SIGINT)):
        at_step(step, signalled(number))
        ended = train()
        assert ended.code == 128 + number
        assert ended.err.splitlines()[-2:] == [
            f"notus: there is a checkpoint after step {step} of {STEPS}; the same command goes on from there",
            f"notus: ended by {number.name}",
        ]
        assert not (train.run / ".train.partial").exists()
    ended = train()
    assert ended.code == 0, ended.err
    assert f"training goes on after step 5 of {STEPS}" in ended.out
    assert made(train.run) == undisturbed(*sets)
    assert not (train.run / "checkpoints").exists()


def test_a_notice_before_the_first_step_leaves_nothing(
    training: Callable[..., Training], at_step: Callable[[int, Callable[[], object]], None]
) -> None:
    train = training()
    at_step(0, signalled(signal.SIGTERM))
    ended = train()
    assert (ended.code, ended.err.splitlines()[-1]) == (143, "notus: ended by SIGTERM")
    assert not (train.run / "checkpoints").exists()


def test_a_notice_while_it_evaluates_costs_no_step(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sets = ("evaluation_strategy=epoch",)
    train = training(*sets)
    usual, seen = PackedTrainer._answer_logps, [0]

    def logps(self: PackedTrainer, model: torch.nn.Module, inputs: Any) -> torch.Tensor:
        if self.is_in_train and not self.tuned.training:
            seen[0] += 1
            if seen[0] == 1:
                os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, model, inputs)

    monkeypatch.setattr(PackedTrainer, "_answer_logps", logps)
    ended = train()
    assert ended.code == 143
    evaluated = next(entry["step"] for entry in undisturbed(*sets)["log"] if "eval_loss" in entry)
    assert f"after step {evaluated} of" in ended.err
    assert train().code == 0
    assert made(train.run) == undisturbed(*sets)


def test_a_notice_while_it_evaluates_after_the_last_step_costs_no_figure(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sets = ("evaluation_strategy=epoch", "max_steps=5")  # not an epoch's last step
    train = training(*sets)
    usual = PreferenceTrainer._compute_loss

    def compute(self: PreferenceTrainer, *arguments: Any, **options: Any) -> torch.Tensor:
        if self.state.global_step == 5 and not self.tuned.training:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(PreferenceTrainer, "_compute_loss", compute)
        ended = train()
    assert (ended.code, "after step 5 of 5" in ended.err) == (143, True)
    assert train().code == 0
    assert made(train.run) == undisturbed(*sets)


def test_a_notice_while_the_last_checkpoint_is_written_leaves_it_whole(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    train, aside = training(), tmp_path / "aside"
    aside.mkdir()
    usual = checkpoint._save

    def save(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        assert not (aside / ENDED).exists()
        usual(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_save", save)
        patch.setattr(
            "recipe.train.fit", functools.partial(fit, aside=aside)
        )  # as a rank, whom a signal would end
        assert train().code == 143
    assert (aside / ENDED).exists()
    assert steps_in(train.run / "checkpoints") == [STEPS]
    assert f"all {STEPS} steps are done already" in train().out
    assert made(train.run) == undisturbed()


def test_ended_after_the_last_step_no_step_is_done_again(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = training()
    with monkeypatch.context() as patch:

        def ended_while_scoring(trainer: PackedTrainer, *arguments: Any) -> torch.Tensor:
            if trainer.state.global_step == STEPS:
                raise SystemExit(143)
            return score(trainer, *arguments)

        patch.setattr("recipe.heldout.score", ended_while_scoring)
        assert train().code == 143
    ended = train()
    assert ended.code == 0, ended.err
    assert f"all {STEPS} steps are done already" in ended.out
    assert made(train.run) == undisturbed()


def test_a_torn_checkpoint_is_said_and_the_one_before_is_used(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    at_step: Callable[[int, Callable[[], object]], None],
) -> None:
    train = training(*AT_ONCE)
    at_step(5, signalled(signal.SIGTERM))
    assert train().code == 143
    before, torn = sorted((train.run / "checkpoints").iterdir())
    with torn.open("r+b") as file:
        file.truncate(torn.stat().st_size - 100)
    ended = train()
    assert f"{torn}: torn" in ended.err
    assert f"training goes on after step {int(before.name[5:11])} of {STEPS}" in ended.out
    assert made(train.run) == undisturbed()


def test_elsewhere_it_goes_on_with_the_same_losses_and_says_where(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    at_step: Callable[[int, Callable[[], object]], None],
) -> None:
    train = training()
    for step, elsewhere in ((2, ()), (4, ("pack_tokens=200",)), (6, ("engine=trl", "micro_batch_size=2"))):
        at_step(step, signalled(signal.SIGTERM))
        assert train(*elsewhere).code == 143
    assert train("engine=trl").code == 0
    found, wanted = made(train.run), undisturbed()
    assert [entry["step"] for entry in found["log"]] == [entry["step"] for entry in wanted["log"]]
    for one, other in zip(found["log"][:-1], wanted["log"][:-1], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["learning_rate"] == other["learning_rate"]
    parts = [(part["from"], part["engine"], part["micro_batch"]) for part in found["steps"]]
    assert parts[:3] == [(1, "packed", "1200 tokens"), (3, "packed", "200 tokens"), (5, "trl", "2 pairs")]
    assert parts[3][0] == 7


@pytest.mark.slow
def test_on_more_devices_it_goes_on_with_the_same_losses(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    at_step: Callable[[int, Callable[[], object]], None],
) -> None:
    train = training()
    at_step(3, signalled(signal.SIGTERM))
    assert train().code == 143
    assert train("devices=2").code == 0
    found, wanted = made(train.run), undisturbed()
    losses = [[entry["loss"] for entry in run["log"][:-1]] for run in (found, wanted)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][:3] == losses[1][:3]
    assert [(part["from"], part["devices"]) for part in found["steps"]] == [(1, 1), (4, 2)]


def test_a_full_disk_ends_it_and_the_last_good_one_stays(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = training(*AT_ONCE)
    usual = checkpoint._save

    def save(tensors: Any, path: Path, metadata: Any) -> None:
        if int(path.name[6:12]) >= 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        usual(tensors, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_save", save)
        line = train().mistake
    assert line.startswith(
        f"notus: {train.run / 'checkpoints'}: a checkpoint can't be written, the disk is full;"
    )
    [last, *_] = steps_in(train.run / "checkpoints")
    assert 0 < last < 4
    ended = train()
    assert f"training goes on after step {last} of {STEPS}" in ended.out
    assert made(train.run) == undisturbed()


def test_a_loss_that_is_no_number_stops_before_the_step_and_names_its_rows(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = training(*AT_ONCE)
    usual = PackedTrainer._answer_logps
    bad: list[int] = []

    def logps(self: PackedTrainer, model: torch.nn.Module, inputs: Any) -> torch.Tensor:
        found = usual(self, model, inputs)
        if self.tuned.training and self.state.global_step == 4 and not bad:
            bad.append(int(inputs["row"][0]))
            found = found * torch.where(torch.arange(len(found)) == 0, torch.nan, 1.0)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(PackedTrainer, "_answer_logps", logps)
        line = train().mistake
    ids = parquet.read_table(train.run / "data" / "train.parquet")["id"].to_pylist()
    assert f"training: loss is nan at step 5, of rows {ids[bad[0]]}; lower learning_rate" in line
    [last, *_] = steps_in(train.run / "checkpoints")  # the one before, while the last was being written
    assert 0 < last <= 4
    assert f"training goes on after step {last} of {STEPS}" in train().out
    assert made(train.run) == undisturbed()


def test_restart_asks_and_begins_anew(
    training: Callable[..., Training],
    undisturbed: Callable[..., dict[str, Any]],
    at_step: Callable[[int, Callable[[], object]], None],
) -> None:
    train = training()
    at_step(3, signalled(signal.SIGTERM))
    assert train().code == 143
    line = train(options=("--restart",)).mistake
    assert (
        f"--restart: throws away the training up to step 3 of {train.run}; add --yes if that is meant" in line
    )
    assert list((train.run / "checkpoints").iterdir())
    ended = train(options=("--restart", "--yes"))
    assert ended.code == 0
    assert "goes on" not in ended.out
    assert "train: up to date" in train().out
    assert "throws away the finished adapter" in train(options=("--restart",)).mistake
    assert "train: DPO" in train(options=("--restart", "--yes")).out
    assert made(train.run) == undisturbed()


def test_restart_throws_nothing_away_for_what_can_t_be_trained(
    training: Callable[..., Training], at_step: Callable[[int, Callable[[], object]], None]
) -> None:
    train = training()
    at_step(3, signalled(signal.SIGTERM))
    assert train().code == 143
    given = ("--restart", "--yes")
    assert "devices: 16 pairs" in train("devices=3", options=given).mistake
    assert "--runtime nowhere" in train(options=(*given, "--runtime", "nowhere")).mistake
    assert steps_in(train.run / "checkpoints") == [3]


def test_yes_without_restart_is_a_mistake(training: Callable[..., Training]) -> None:
    assert "--yes: answers --restart, which is not there" in training()(options=("--yes",)).mistake


def test_other_rows_are_another_training(
    training: Callable[..., Training], at_step: Callable[[int, Callable[[], object]], None], tiny: Path
) -> None:
    train = training()
    at_step(3, signalled(signal.SIGTERM))
    assert train().code == 143
    [kept] = (train.run / "checkpoints").iterdir()
    other = Training(train.cli, tiny, train.run.parent / "other", ("seed=1",))
    at_step(3, signalled(signal.SIGTERM))
    assert other().code == 143
    (other.run / "checkpoints" / kept.name).write_bytes(kept.read_bytes())
    for path in (other.run / "checkpoints").iterdir():
        if path.name != kept.name:
            path.unlink()
    ended = other()
    assert f"{other.run / 'checkpoints' / kept.name}: of a training of another science" in ended.err
    assert "goes on" not in ended.out
