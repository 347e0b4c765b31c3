"""`pytest tests/chaos/mutations.py`: going on broken on purpose, one way at a time; the harness has to notice each.

Run by `nox -s chaos` before the kills.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos import jobs
from tests.faults.disk import own_mounts

MOUNTS = own_mounts()  # before there are threads

# ruff: noqa: E402
from tests.chaos.all import recipe_in_a_fork
from tests.chaos.forks import import_all
from tests.chaos.moments import Moment
from tests.chaos.plans import Plan, Planned
from tests.chaos.stages import Stages
from tests.chaos.tiny import LAYOUTS
from tests.chaos.trainings import Ended, Whole, disturbed, undisturbed

LAYOUT = LAYOUTS["1 packed"]
HALFWAY = Moment("training", 0.45, 0.0)
# By defect: what is done to a training, and what is said then.
SEEN_BY = {
    "forgets_the_optimizer": ("kill", "files: adapter/adapter_model.safetensors is"),
    "forgets_the_log": ("kill", "other steps are logged (missing: 1, 2"),
    "starts_the_schedule_over": ("kill", "learning_rate is"),
    "starts_the_rows_over": ("kill", "loss is"),
    "takes_a_torn_checkpoint": ("torn", "the newest whole checkpoint is of step"),
    "says_nothing_of_a_torn_checkpoint": ("torn", "no warning says that the checkpoint"),
    "tells_tensorboard_nothing": ("kill", "TensorBoard, eval/loss: gaps at [4, 8"),
    "saves_nothing_on_notice": ("term", "steps were done, and the newest checkpoint is of step"),
    "hears_no_signal": ("int", "ended with 0, not with 130"),
    "leaves_its_checkpoints": ("kill", "checkpoints is left"),
    "counts_a_full_disk_as_a_bug": ("disk", "ended with 1, not with 2"),
}
SEEN_WITH_RARE_LOGS = {"forgets_what_was_not_logged_yet": ("kill", "logps/chosen is")}
SEEN_BY_STAGES = {"takes_what_lies_there_for_done": "run again, it ended with 1"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the recipe, and all imported."""
    jobs.adopt_orphans()
    before = dict(os.environ)
    os.environ.update(jobs.ENVIRONMENT)
    folder = tmp_path_factory.mktemp("chaos")
    recipe_in_a_fork(folder / "recipe")
    import_all()
    yield folder
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def whole(cache: Path) -> Whole:
    """The undisturbed training."""
    return undisturbed(LAYOUT, cache / "recipe" / "tiny.yaml", cache / "whole")


def _disturbed(
    kind: str, whole: Whole, cache: Path, defect: str | None = None, moment: Moment = HALFWAY
) -> Ended:
    from tests.chaos.defects import DEFECTS

    plan = Plan(0, whole.layout, 7, new=0, each=(Planned(kind, moment),))
    broken: Callable[[], object] | None = DEFECTS[defect] if defect else None
    return disturbed(plan, whole, cache / "run", mounts=MOUNTS, defect=broken)


def test_every_defect_is_tried() -> None:
    from tests.chaos.defects import DEFECTS

    assert SEEN_BY.keys() | SEEN_WITH_RARE_LOGS.keys() | SEEN_BY_STAGES.keys() == DEFECTS.keys()


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in SEEN_BY.values()}))
def test_without_a_defect_nothing_is_wrong(kind: str, whole: Whole, cache: Path) -> None:
    if kind == "disk" and not MOUNTS:
        pytest.skip("no right to mount a disk")
    ended = _disturbed(kind, whole, cache)
    assert [one.planned.kind for one in ended.each] == [kind]
    assert ended.all_wrong == []


@pytest.mark.parametrize("defect", SEEN_BY)
def test_a_defect_is_noticed(defect: str, whole: Whole, cache: Path) -> None:
    kind, says = SEEN_BY[defect]
    if kind == "disk" and not MOUNTS:
        pytest.skip("no right to mount a disk")
    wrong = _disturbed(kind, whole, cache, defect).all_wrong
    assert any(says in line for line in wrong), wrong


def test_what_is_lost_between_two_logs_is_noticed(cache: Path) -> None:
    layout = LAYOUTS["2 packed"]
    whole = undisturbed(layout, cache / "recipe" / "tiny.yaml", cache / "whole")
    [(defect, (kind, says))] = SEEN_WITH_RARE_LOGS.items()
    wrong = _disturbed(kind, whole, cache, defect).all_wrong
    assert any(says in line for line in wrong), wrong


def test_a_stage_that_takes_half_of_it_for_all_is_noticed(cache: Path) -> None:
    from tests.chaos.defects import DEFECTS

    [(defect, says)] = SEEN_BY_STAGES.items()
    tried = Stages(cache / "recipe" / "tiny.yaml", cache / "stages")
    last = range(-16, 0)
    found = tried.killed(["train"], only=last, defect=DEFECTS[defect])
    wrong = [line for one in found for line in one.wrong]
    assert any(says in line for line in wrong), wrong
