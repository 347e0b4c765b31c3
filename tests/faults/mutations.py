"""`pytest tests/faults/mutations.py`: publish broken on purpose, one way at a time; the harness has to notice each.

Run by `nox -s faults` after the faults.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.__main__ import sample
from tests.faults.defects import DEFECTS
from tests.faults.points import WRONG, Point, Whole, points_of
from tests.faults.tiny import tiny_run
from tests.faults.workers import Workers, running

# By defect: a kind of fault that shows it, a part of the request's path, and what is said then.
SEEN_BY = {
    "tags_before_reading_back": ("flip-stored", "", "has the tag v0.1.0 on"),
    "does_not_compare_what_comes_back": ("flip-stored", "", "has the tag v0.1.0 on"),
    "records_before_tagging": ("kill", "/tag/", "release.json is there, and"),
    "pushes_one_tags_one": ("kill", "tiny/preupload", "is tagged, and notus/tiny is not whole"),
    "leaves_its_cache": ("503", "whoami", "the run folder differs in .readback-"),
    "is_impatient": ("503", "commit", "has passed, and ended the call"),
    "does_not_wait_as_asked": ("429", "commit", "was asked to wait"),
    "gives_up_with_a_traceback": ("down", "commit", "exit code 1"),
    "counts_a_full_disk_as_a_bug": ("disk-full", "lfs-files", "exit code 1"),
}
SEEN_BY_CONTEST = {
    "does_not_compare_trees": "publishers say that they have won",
    "moves_a_tag": "publishers say that they have won",
}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two processes."""
    with running(tmp_path_factory.mktemp("mutations")) as workers:
        yield workers


@pytest.fixture(scope="module")
def whole(pool: Workers) -> Whole:
    """The undisturbed release."""
    return pool.undisturbed(*tiny_run(Path(".nox/faults/run").resolve()))


def _point(whole: Whole, kind: str, path: str) -> Point:
    return next(
        point
        for point in reversed(points_of(whole.requests))
        if point.kind == kind and point.key and path in point.key.path
    )


def test_every_defect_is_tried() -> None:
    assert SEEN_BY.keys() | SEEN_BY_CONTEST.keys() == DEFECTS.keys()


@pytest.mark.parametrize("defect", SEEN_BY)
def test_a_defect_is_noticed(defect: str, pool: Workers, whole: Whole) -> None:
    kind, path, says = SEEN_BY[defect]
    point = _point(whole, kind, path)
    [ended] = pool.run([point], whole)
    assert ended.how != WRONG, ended.wrong
    [ended] = pool.run([point], whole, defect)
    assert ended.how == WRONG
    assert any(says in line for line in ended.wrong), ended.wrong


@pytest.mark.parametrize("defect", SEEN_BY_CONTEST)
def test_a_defect_is_noticed_by_a_contest(defect: str, pool: Workers, whole: Whole) -> None:
    wrong = pool.contest(whole, 4, 0, defect)
    assert any(SEEN_BY_CONTEST[defect] in line for line in wrong), wrong


def test_the_short_form_notices_one_of_the_worst(pool: Workers, whole: Whole) -> None:
    points = sample(points_of(whole.requests), 40, 0)
    ended = list(pool.run(points, whole, "does_not_compare_what_comes_back"))
    assert any(one.how == WRONG for one in ended)
