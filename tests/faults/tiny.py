"""A finished run so small that it is released in a second; made once, kept under a folder."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.support import ROOT

VERSION = "v0.1.0"
USER = "notus"
# What makes the run: another version of it makes another run.
MADE_OF = ("recipe", "modelcard", "publish", "commandline")


def tiny_run(cache: Path) -> tuple[Path, Path]:
    """Return recipe and run folder, made now unless the code that makes them is what it was.

    Not to be written to: each release is made of a copy.
    """
    made_of = hashlib.sha256(Path(__file__).read_bytes())
    for package in MADE_OF:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in {".py", ".yaml", ".jinja"}:
                made_of.update(path.read_bytes())
    folder = (cache / made_of.hexdigest()[:16]).resolve()
    done = folder / "done"
    if not done.is_file():
        shutil.rmtree(cache, ignore_errors=True)
        folder.mkdir(parents=True)
        _python(folder, "-m", "tests.faults.tiny", str(folder))
        _python(folder, "-m", "notus", "card", "tiny.yaml", "--run", "run", "--quiet")
        done.touch()
    return folder / "tiny.yaml", folder / "run"


def copy_run(run: Path, to: Path) -> Path:
    """Copy a run folder, by hard links where both are on one disk: nobody writes into a file that is there.

    The times of the files are kept: by them the manifest knows that nothing has changed.
    """
    shutil.copytree(run, to, copy_function=_link, ignore=shutil.ignore_patterns(".lock", "release.json"))
    return to


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def made_anew(folder: Path) -> Iterator[Path]:
    """Give an empty folder, which goes after."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _python(cwd: Path, *arguments: str) -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, check=True)


def _write(folder: Path) -> None:
    """Write `base/` (an untrained Mistral), `feedback.jsonl` and `tiny.yaml` over both."""
    import torch
    from transformers import AutoModelForCausalLM

    from recipe.builtin import make_feedback, write_feedback
    from recipe.builtin.base import base_config
    from recipe.builtin.tokenizer import train_tokenizer
    from recipe.prompt.templates import ZEPHYR_CHAT_TEMPLATE

    tokenizer = train_tokenizer([str(row["instruction"]) for row in make_feedback(64)] * 20)
    tokenizer.chat_template = ZEPHYR_CHAT_TEMPLATE
    config = base_config(len(tokenizer))
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 64, 128, 1
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    write_feedback(folder / "feedback.jsonl", 64)
    recipe = {
        "extends": "smoke",
        "model_name_or_path": str(folder / "base"),
        "dataset": str(folder / "feedback.jsonl"),
        "test_size": 8,
        "max_steps": 2,
        "lora_r": 4,
        "version": VERSION,
        "hub_model_id": f"{USER}/tiny-adapter",
        "hub_merged_model_id": f"{USER}/tiny",
        "hub_base_model_id": f"{USER}/tiny-base",
        "collection": "Tiny",
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
