"""What the harness takes for a wrong end, and which points its short form has."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dulwich.objects import ObjectID

from publish.localhub.lfs import LargeFiles
from publish.localhub.repository import Meta
from publish.localhub.store import Store
from recipe.disk import file_sha256
from tests.faults.__main__ import chosen, sample
from tests.faults.exchange import Seen
from tests.faults.kinds import KINDS, SMALL_DISK
from tests.faults.points import points_of
from tests.faults.processes import Outcome
from tests.faults.stored import fsck, look, tag_problems

OID = "0" * 63 + "1"
REQUESTS = [
    Seen("GET", "/api/whoami-v2", 0, sent=0, answered=100, status=200, at=0.0),
    Seen("GET", "/api/models/notus/tiny/refs", 0, sent=0, answered=30, status=404, at=0.1),
    Seen("POST", "/api/repos/create", 0, sent=30, answered=30, status=200, at=0.2),
    Seen("PUT", f"/lfs-files/{OID}", 0, sent=9000, answered=0, status=200, at=0.3),
    Seen("POST", "/api/models/notus/tiny/commit/main", 0, sent=900, answered=90, status=200, at=0.4),
    Seen("HEAD", "/notus/tiny/resolve/*/model.safetensors", 0, sent=0, answered=0, status=302, at=0.5),
    Seen("GET", f"/lfs-files/{OID}", 0, sent=0, answered=9000, status=200, at=0.6),
    Seen("POST", "/api/models/notus/tiny/tag/*", 0, sent=30, answered=0, status=200, at=0.7),
]


def test_each_fault_is_at_every_request_where_it_makes_sense() -> None:
    at = {kind: [point.number for point in points_of(REQUESTS) if point.kind == kind] for kind in KINDS}
    everywhere = list(range(len(REQUESTS)))
    for kind in ("429", "500", "503", "504", "reset-answer", "401", "kill"):
        assert at[kind] == everywhere
    for kind in ("504-after", "down", "kill-after"):
        assert at[kind] == [2, 3, 4, 7]
    assert at["reset-request"] == [2, 3, 4, 7]
    assert at["flip-stored"] == [3]
    for kind in ("truncated", "flip-read", "flip-answer", "disk-half"):
        assert at[kind] == [6]
    assert at["disk-full"] == [6, 7]


def test_the_short_form_has_all_kinds_and_is_the_same_each_time() -> None:
    every = points_of(REQUESTS)
    points = sample(every, 40, 7)
    assert points == sample(every, 40, 7)
    assert points != sample(every, 40, 8)
    assert len(set(points)) == 40
    assert {point.kind for point in points} == {*KINDS, SMALL_DISK}


def test_points_are_chosen_by_kind_and_by_number() -> None:
    every = points_of(REQUESTS)
    assert [str(point) for point in chosen(every, ["503:4", "flip-stored"])] == ["503:4", "flip-stored:3"]
    with pytest.raises(Exception, match="no such fault point: 503:99"):
        chosen(every, ["503:99"])


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Outcome(0, "", ""), ""),
        (Outcome(-9, "", ""), ""),
        (Outcome(2, "", "warning: slow\nnotus: the Hub is down; come again\n"), ""),
        (Outcome(2, "", "notus: the Hub is down\ncome again\n"), "exit code 2 with 2 lines"),
        (Outcome(2, "", ""), "exit code 2 with 0 lines"),
        (Outcome(1, "", "Traceback (most recent call last):\nKeyError: 'x'\n"), "exit code 1: KeyError: 'x'"),
        (Outcome(None, "", ""), "still not done"),
    ],
)
def test_an_end_is_well_or_a_users_mistake_in_one_line(outcome: Outcome, says: str) -> None:
    assert says in outcome.problem
    assert bool(says) == bool(outcome.problem)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A Hub with `notus/tiny`: a card, and a large file; main and v0.1.0 at them."""
    store, large = Store(tmp_path), LargeFiles(tmp_path)
    meta = store.create(Meta("models", "notus", "tiny"), "notus <notus@x>")
    (tmp_path / "content").write_bytes(b"weights")
    oid = file_sha256(tmp_path / "content")
    large.path(oid).parent.mkdir(parents=True)
    large.path(oid).write_bytes(b"weights")
    with store.locked(meta) as repository:
        head = ObjectID(repository.git.head())
        files = repository.files(head) | {
            "README.md": repository.add_blob(b"card"),
            "model.safetensors": repository.add_blob(large.pointer(oid).encode()),
        }
        commit = repository.add_commit(files, head, "a release", "notus <notus@x>")
        repository.point("refs/heads/main", commit, head)
        repository.tag("v0.1.0", commit, "", "notus <notus@x>")
    return tmp_path


def _wanted(root: Path) -> dict[str, dict[str, str]]:
    (root / "card").write_bytes(b"card")
    files = {"README.md": file_sha256(root / "card"), "model.safetensors": file_sha256(root / "content")}
    return {"notus/tiny": files}


def _rot(root: Path) -> None:
    path = next(path for path in (root / "lfs").rglob("*") if path.is_file())
    path.write_bytes(b"Weights")


def _lose(root: Path) -> None:
    next(path for path in (root / "lfs").rglob("*") if path.is_file()).unlink()


def test_what_is_stored_is_found_whole(root: Path) -> None:
    stored = look(root, _wanted(root))
    assert stored["notus/tiny"].whole
    assert stored["notus/tiny"].commits == 2
    assert tag_problems(stored, "v0.1.0") == []
    assert fsck(root) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [(_rot, "model.safetensors: has rotted"), (_lose, "model.safetensors: gone from the large files")],
)
def test_bytes_that_are_not_the_runs_are_found(damage: Callable[[Path], None], says: str, root: Path) -> None:
    damage(root)
    assert any(says in line for line in tag_problems(look(root, _wanted(root)), "v0.1.0"))


def test_files_that_lack_or_are_too_many_are_found(root: Path) -> None:
    [files] = _wanted(root).values()
    more = {"notus/tiny": files | {"config.json": "0" * 64}}
    assert look(root, more)["notus/tiny"].wrong["refs/tags/v0.1.0"] == ["config.json: missing"]
    less = {"notus/tiny": {"README.md": files["README.md"]}}
    assert look(root, less)["notus/tiny"].wrong["refs/tags/v0.1.0"] == [
        "model.safetensors: not of the release"
    ]


def test_a_tag_is_wrong_while_another_repository_is_not_there(root: Path) -> None:
    wanted = _wanted(root) | {"notus/other": {"README.md": "0" * 64}}
    assert tag_problems(look(root, wanted), "v0.1.0") == [
        "notus/tiny is tagged, and notus/other is not whole"
    ]


def test_a_broken_object_is_found(root: Path) -> None:
    git = root / "models" / "notus" / "tiny.git"
    head = subprocess.run(
        ["git", "-C", git, "rev-parse", "main"], capture_output=True, text=True, check=True
    ).stdout.strip()
    path = git / "objects" / head[:2] / head[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-4])
    [line] = fsck(root)
    assert line.startswith("git fsck of tiny.git: ")
