"""A run into whose `eval/` a test may put what it likes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipe.load import load_recipe
from recipe.run import Run

Put = Callable[..., Run]


@pytest.fixture
def put(trained: Path, tiny: Path, tmp_path: Path) -> Put:
    """Return the run with the given result files, by name."""
    folder = tmp_path / "run"
    folder.mkdir()
    for path in trained.iterdir():
        if path.name != "eval":
            (folder / path.name).symlink_to(path)
    (folder / "eval").mkdir()
    run = Run(folder, load_recipe(tiny / "tiny.yaml"))

    def write(**files: Any) -> Run:
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            run.path("eval", f"{name}.json").write_text(text)
        return run

    return write
