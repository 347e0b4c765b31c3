"""What the guard takes for a pickle, and what not."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import save_file

from publish import guard
from recipe.errors import UserError
from recipe.run import Run


class OneFile:
    """A run folder, of which one file is to be published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = None  # what it names is set below


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run" / "model.safetensors"
    path.parent.mkdir()
    monkeypatch.setattr(guard, "kinds", lambda *_, **__: {"merged": "a/b"})
    monkeypatch.setattr(guard, "files_of", lambda *_: {path.name: path})
    return path


def refuse(path: Path) -> None:
    guard.refuse_unfit_files(cast(Run, cast(Any, OneFile(path.parent))))


def test_weights_whose_headers_length_starts_as_a_pickle_does_are_published(weights: Path) -> None:
    for size in range(1024):
        save_file({"a": np.zeros(2, np.float32)}, weights, metadata={"note": "x" * size})
        if guard.PICKLE.match(weights.read_bytes()):
            break
    assert weights.read_bytes()[:2] == b"\x80\x02"  # a header of 640 bytes
    refuse(weights)


def test_a_pickle_called_weights_is_not(weights: Path) -> None:
    import pickle

    weights.write_bytes(pickle.dumps({"a": [1, 2]}))
    with pytest.raises(UserError, match=r"a/b: model.safetensors is not published: a pickle"):
        refuse(weights)
