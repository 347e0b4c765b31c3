"""Checkpoints as files: whole or not there, known again by their bytes."""

import errno
import os
import random
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from recipe.disk import file_sha256
from recipe.progress import Reporter
from recipe.resume import checkpoint
from recipe.resume.checkpoint import Checkpoint, Checkpoints
from recipe.resume.names import steps_in

KEY = {"science": "ab", "rows": "cd"}
SAY = Reporter()


def at(step: int) -> Checkpoint:
    tensors = {"adapter/a": torch.full((64, 3), float(step)), "optimizer/step/a": torch.tensor(step)}
    return Checkpoint(step, tensors, {"log": [{"loss": 1 / 3}], "sums": None})


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", KEY)


def names(kept: Checkpoints) -> list[str]:
    return sorted(path.name[:11] for path in kept.folder.iterdir())


def test_what_was_written_is_read(kept: Checkpoints) -> None:
    path = kept.write(at(7))
    assert path.name == f"step-000007-{file_sha256(path)}.safetensors"
    found = kept.newest(SAY)
    assert found is not None
    assert (found.step, found.facts) == (7, at(7).facts)
    assert found.tensors.keys() == at(7).tensors.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in at(7).tensors.items())


def test_the_last_two_are_kept_and_what_a_killed_one_left_goes(kept: Checkpoints) -> None:
    kept.folder.mkdir()
    for name in (".step-000001.partial", ".tmpXq"):
        (kept.folder / name).touch()
    for step in (2, 10, 9, 11):
        kept.write(at(step))
    assert names(kept) == ["step-000010", "step-000011"]
    assert steps_in(kept.folder) == [11, 10]


def test_what_is_not_ours_stays(kept: Checkpoints) -> None:
    (kept.folder / ".snapshot").mkdir(parents=True)
    (kept.folder / ".nfs0001").touch()
    kept.write(at(2))
    assert names(kept) == [".nfs0001", ".snapshot", "step-000002"]


def test_all_are_kept_where_there_is_no_limit(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, KEY, None)
    for step in (1, 2, 3):
        kept.write(at(step))
    assert steps_in(tmp_path) == [3, 2, 1]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_one_torn_anywhere_is_not_used_but_the_one_before(
    kept: Checkpoints, how: str, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.write(at(3))
    path = kept.write(at(4))
    offset = random.Random(seed).randrange(path.stat().st_size)
    with path.open("r+b") as file:
        if how == "cut":
            file.truncate(offset)
        else:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ (1 << seed % 8)]))
    found = kept.newest(SAY)
    assert found is not None
    assert found.step == 3
    assert f"{path}: torn, its bytes are not those that were written" in capsys.readouterr().err
    assert names(kept) == ["step-000003"]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"science": "xx", "rows": "cd"}, "of a training of another science"),
        ({"science": "ab", "rows": "xx"}, "of a training of another rows"),
        ({}, "of a training of another science"),
    ],
)
def test_one_of_another_training_is_not_used(
    kept: Checkpoints, other: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.write(at(3))
    Checkpoints(kept.folder, other).write(at(4))
    found = kept.newest(SAY)
    assert found is not None
    assert found.step == 3
    assert says in capsys.readouterr().err


def test_one_of_another_version_is_not_used(kept: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", 0)
    Checkpoints(kept.folder, KEY).write(at(4))
    assert kept.newest(SAY) is None


def test_a_file_of_somebody_else_s_is_not_used(kept: Checkpoints) -> None:
    kept.folder.mkdir()
    file = kept.folder / "other"
    save_file({"a": torch.zeros(2)}, file)
    file.rename(kept.folder / f"step-000009-{file_sha256(file)}.safetensors")
    assert kept.newest(SAY) is None


def test_none_is_there_before_the_first(kept: Checkpoints) -> None:
    assert kept.newest(SAY) is None
    assert steps_in(kept.folder) == []


def test_a_full_disk_leaves_those_that_are_there(kept: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write(at(3))

    def full(*_: Any, **__: Any) -> None:
        (kept.folder / ".step-000004.partial").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "_save", full)
    with pytest.raises(OSError, match="No space left"):
        kept.write(at(4))
    assert names(kept) == ["step-000003"]


def test_what_the_system_refuses_is_told_by_its_number(kept: Checkpoints) -> None:
    kept.write(at(3))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large") as failed:
            kept.write(Checkpoint(4, {"a": torch.zeros(10_000)}, {}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failed.value.errno == errno.EFBIG
    assert names(kept) == ["step-000003"]


def test_no_pickle_is_ever_read(kept: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write(at(3))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load"))
    monkeypatch.setattr("pickle.loads", lambda *_, **__: pytest.fail("pickle.loads"))
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("pickle.load"))
    assert kept.newest(SAY) is not None
