"""What the harness takes for a wrong end, and what it disturbs when."""

import itertools
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.all import SHORT_LAYOUTS
from tests.chaos.checkpoints import newest, tear, whole_ones
from tests.chaos.forks import module_of
from tests.chaos.jobs import Outcome, Where
from tests.chaos.kinds import KINDS, Hit
from tests.chaos.moments import ANY, LATE, PHASES, Moment
from tests.chaos.plans import A_SHORT_RUN, plans
from tests.chaos.same import Facts, differences, facts_of, leftovers
from tests.chaos.stages import points
from tests.chaos.tiny import LAYOUTS
from tests.chaos.watched import SEEN, _Watch

HALFWAY = Where(1, "main", "training", 20, 50, 0.0)


def _ended(code: int | None, err: str = "") -> Outcome:
    return Outcome(code, "", err, [])


def test_plans_are_the_same_for_the_same_seed() -> None:
    def first(seed: int) -> object:
        return list(itertools.islice(plans(list(LAYOUTS.values()), seed, mounts=True), 8))

    assert first(3) == first(3)
    assert first(3) != first(4)


def test_the_short_form_has_every_kind_in_one_process_and_two() -> None:
    layouts = [LAYOUTS[name] for name in SHORT_LAYOUTS]
    runs = list(itertools.islice(plans(layouts, 0, mounts=True, a_run=A_SHORT_RUN), len(layouts)))
    met = {(run.layout.processes, one.kind) for run in runs for one in run.each}
    assert {kind for _, kind in met} == set(KINDS)
    assert {processes for processes, _ in met} == {1, 2}


def test_where_nothing_may_be_mounted_no_disk_is_filled() -> None:
    runs = itertools.islice(plans(list(LAYOUTS.values()), 0, mounts=False), 12)
    assert not any(KINDS[one.kind].disk for run in runs for one in run.each)


def test_what_only_a_first_command_goes_through_is_disturbed_first() -> None:
    moments = [Moment(phase, 0.1, 0.0) for phase in (*PHASES, ANY)]
    found = [moment.phase for moment in sorted(moments, key=lambda one: one.order)]
    assert found[0] == ANY
    assert found[1:3] == ["start", "fetch"]
    assert tuple(found[-len(LATE) :]) == LATE


@pytest.mark.parametrize(
    ("moment", "there", "reached"),
    [
        (Moment("training", 0, 0), Where(1, "0", "training", 20, 0, 0), True),
        (Moment("training", 0, 0), Where(1, "0", "training", 19, 0, 0), False),
        (Moment("checkpoint", 0, 0), Where(1, "0", "training", 21, 0, 0), False),
        (Moment("checkpoint", 0, 0), Where(1, "0", "checkpoint", 21, 0, 0), True),
        (Moment("checkpoint", 0, 0), Where(1, "0", "training", 26, 0, 0), True),  # it may never be seen
        (Moment("curate", 0, 0), Where(1, "0", "tokens", 0, 0, 0), True),  # it was up to date
        (Moment("adapter", 0, 0), Where(1, "0", "held out", 48, 0, 0), False),
    ],
)
def test_a_moment_is_reached_in_its_phase_or_past_it(moment: Moment, there: Where, reached: bool) -> None:
    assert moment.reached(there, 20) is reached


@pytest.mark.parametrize(
    ("kind", "outcome", "seconds", "says"),
    [
        ("kill", _ended(-9), 0, ""),
        ("kill", _ended(0), 0, "ended with 0, not with -9"),
        ("term", _ended(143, "notus: there is a checkpoint\nnotus: ended by SIGTERM\n"), 2, ""),
        ("term", _ended(143, "notus: ended by SIGTERM\n"), 11, "ended 11.0 s after the signal"),
        ("term", _ended(-15), 0, "ended with -15, not with 143"),
        ("int", _ended(130, "Traceback\nKeyboardInterrupt\n"), 0, "2 lines on the standard error"),
        ("second", _ended(-15, "notus: ended by SIGTERM\n"), 0.1, ""),
        ("second", _ended(143, "notus: ended by SIGTERM\n"), 6, "ended 6.0 s after the signal"),
        ("disk", _ended(2, "notus: the disk is full; make room\n"), 0, ""),
        ("disk", _ended(2, "notus: there is no room\n"), 0, "does not say that the disk is full"),
        ("disk", _ended(2, "note\nnotus: the disk is full\n"), 0, "2 lines on the standard error"),
        ("kill-rank", _ended(1, "notus: training: rank 1 of 2 was lost (SIGKILL)\n"), 0, ""),
        ("kill-rank", _ended(1, "notus: training: rank 0 of 2 was lost\n"), 0, "no line says that rank 1"),
        ("stop-rank", _ended(1, "rank 0: its stack:\n  File x\nnotus: y\n"), 9, "stacks of ranks [0] are"),
        ("stop-rank", _ended(None), 120, "hung, and was ended"),
        ("stop-go", _ended(1, "notus: nothing was done"), 0, "ended with 1, not with 0"),
    ],
)
def test_how_a_command_is_to_end(kind: str, outcome: Outcome, seconds: float, says: str) -> None:
    wrong = KINDS[kind].wrong(outcome, Hit(HALFWAY, rank=1), seconds)
    assert any(says in line for line in wrong) if says else wrong == []


def _checkpoint(run: Path, step: int, content: bytes) -> Path:
    import hashlib

    folder = run / "checkpoints"
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:06d}-{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("seed", range(12))
def test_a_checkpoint_that_is_torn_is_not_whole(seed: int, tmp_path: Path) -> None:
    assert tear(tmp_path, random.Random(seed)) is None
    _checkpoint(tmp_path, 3, bytes(100))
    _checkpoint(tmp_path, 6, bytes(9000))
    assert newest(tmp_path) == 6
    torn = tear(tmp_path, random.Random(seed))
    assert torn is not None
    assert torn.startswith("step 6, ")
    assert list(whole_ones(tmp_path)) == [3]


@pytest.mark.parametrize(
    ("count", "found"), [(None, [1, 2, 3, 4, 5]), (9, [1, 2, 3, 4, 5]), (3, [1, 3, 5]), (1, [1])]
)
def test_file_operations_are_spread_from_the_first_to_the_last(count: int | None, found: list[int]) -> None:
    assert points(5, count) == found


def test_a_module_of_this_python_is_told_from_another_program() -> None:
    import sys

    assert module_of([sys.executable, "-u", "-m", "recipe.launch", "a", "-m"]) == (
        "recipe.launch",
        ["a", "-m"],
    )
    assert module_of(["git", "-m", "x"]) is None
    assert module_of([sys.executable, "script.py", "-m", "x"]) is None


@pytest.mark.parametrize(
    ("before", "event", "inside", "phase"),
    [
        ("training", "open", "checkpoints/.step-000003.partial", "checkpoint"),
        ("start", "os.mkdir", "checkpoints", "start"),
        ("figures", "os.rename", ".train.partial/adapter", "moving in"),
        ("moving in", "open", ".manifest.json.partial", "recording"),
        ("curate", "open", ".manifest.json.partial", "curate"),
        ("recording", "shutil.rmtree", "checkpoints", "clearing up"),
        ("held out", "open", ".train.partial/training/tensorboard/x", "held out"),
    ],
)
def test_a_phase_is_known_by_the_files_that_are_touched(
    before: str, event: str, inside: str, phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTUS_CHAOS_RUN", "/run")
    monkeypatch.setenv(SEEN, str(tmp_path))
    watch = _Watch()
    watch.phase = before
    watch.event(event, f"/run/{inside}")
    assert watch.phase == phase
    role, told, *_ = (tmp_path / str(os.getpid())).read_text().split(";")
    assert (role, told) == ("other", phase)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder that is done, by hand."""
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path / "run"
    (folder / "training").mkdir(parents=True)
    (folder / "adapter").mkdir()
    (folder / "adapter" / "weights").write_bytes(b"weights")
    records = [{"step": step, "loss": 1 / step, "pairs_per_second": random.random()} for step in (1, 2, 3)]
    (folder / "training" / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    (folder / "training" / "metrics.json").write_text('{"steps": 3, "train_seconds": 1.5}')
    (folder / "manifest.json").write_text('{"stages": {}}')
    with SummaryWriter(str(folder / "training" / "tensorboard")) as board:
        for one in records:
            board.add_scalar("train/loss", one["loss"], one["step"])
            board.add_scalar("train/pairs_per_second", random.random(), one["step"])
    return folder


@pytest.fixture
def whole(run: Path) -> Facts:
    """What is known of it."""
    return facts_of(run)


def test_other_times_make_no_other_run(run: Path, whole: Facts) -> None:
    (run / "training" / "metrics.json").write_text('{"steps": 3, "train_seconds": 99}')
    assert differences(run, whole) == []
    assert leftovers(run) == []


def _other_weights(run: Path) -> None:
    (run / "adapter" / "weights").write_bytes(b"Weights")


def _log(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def do(run: Path) -> None:
        path = run / "training" / "log.jsonl"
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))

    return do


def _board_again(run: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run / "training" / "tensorboard")) as board:
        board.add_scalar("train/loss", 0.5, 2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_other_weights, "files: adapter/weights is"),
        (_log(lambda lines: lines[:1] + lines[2:]), "missing: 2; too often: none"),
        (_log(lambda lines: [*lines, lines[1]]), "missing: none; too often: 2"),
        (
            _log(lambda lines: [line.replace("0.5", "0.75") for line in lines]),
            "step 2: loss is 0.75, was 0.5",
        ),
        (_board_again, "TensorBoard, train/loss: gaps at [], too often [2]"),
        (lambda run: (run / "training" / "metrics.json").write_text('{"steps": 4}'), "steps is 4, was 3"),
        (lambda run: (run / "more").touch(), "files: more is not in the undisturbed run"),
    ],
)
def test_what_differs_is_told(change: Callable[[Path], object], says: str, run: Path, whole: Facts) -> None:
    change(run)
    wrong = differences(run, whole)
    assert any(says in line for line in wrong), wrong


def test_what_is_left_is_told(run: Path) -> None:
    from filelock import FileLock

    (run / "checkpoints").mkdir()
    (run / ".train.partial").mkdir()
    with FileLock(run / ".lock"):
        assert leftovers(run) == [".train.partial is left", "checkpoints is left", "the lock is held"]
