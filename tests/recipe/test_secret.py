"""No child has a secret that it does without."""

import contextlib
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

from publish import loading
from publish.localhub import running
from recipe import code, launch
from recipe.load import load_recipe
from recipe.run import Run
from recipe.secret import SIGNING, TOKENS


def load(folder: Path) -> None:
    question = loading.Question(probe="", cache=str(folder / "hub"), repos={}, data=None)
    loading.load_in_a_process(question)


def ask_git(folder: Path) -> None:
    code.commit_of_tag("v1", folder)


def serve(folder: Path) -> None:
    with running(folder / "hub"):
        pass


def train(folder: Path) -> None:
    launch.launch(Run(folder, load_recipe("smoke")), folder, 2, quiet=True)


@pytest.mark.parametrize(
    ("start", "names"),
    [(load, (*TOKENS, *SIGNING)), (ask_git, (*TOKENS, *SIGNING)), (serve, SIGNING), (train, SIGNING)],
)
def test_a_child_has_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: Callable[[Path], None], names: tuple[str, ...]
) -> None:
    seen: list[Mapping[str, str]] = []

    def started(*_: Any, env: Mapping[str, str], **__: Any) -> Any:
        seen.append(env)
        raise OSError("not started")

    for name in (*TOKENS, *SIGNING):
        monkeypatch.setenv(name, "sesame")
    monkeypatch.delenv("NOTUS_REVISION", raising=False)
    monkeypatch.setattr(subprocess, "run", started)
    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(subprocess_handler, "Popen", started)  # torchrun's
    with contextlib.suppress(OSError):
        start(tmp_path)
    (environment,) = seen
    assert not set(names) & environment.keys()
    assert "PATH" in environment
