"""A copy of a trained run that has what provenance asks for."""

import importlib.metadata
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from commandline.work import all_stages
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run


def copied(trained: Path, tiny: Path, folder: Path, overrides: Sequence[str] = ()) -> Run:
    """Copy the run, with the environment that it was made in beside it if it has none."""
    shutil.copytree(trained, folder)
    environment = folder / "training" / "environment.json"
    if not environment.is_file():
        packages = {found.name: found.version for found in importlib.metadata.distributions()}
        environment.write_text(json.dumps({"packages": packages, "python": "3.11.2"}))
    return Run(folder, load_recipe(tiny / "tiny.yaml", overrides))


def prepared(
    trained: Path, tiny: Path, folder: Path, overrides: Sequence[str] = (), *, with_data: bool = False
) -> Run:
    """Copy the run and bring it up to its provenance."""
    run = copied(trained, tiny, folder, overrides)
    with run.locked():
        run.bring(all_stages(run.recipe, with_data), Reporter(quiet=True))
    return run
