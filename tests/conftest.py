"""A base and feedback so small that every stage runs in seconds, and the command line as a user has it."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

import notus
from publish.localhub import running
from recipe.builtin import make_feedback, write_feedback
from recipe.builtin.base import base_config
from recipe.builtin.tokenizer import train_tokenizer
from recipe.prompt.templates import ZEPHYR_CHAT_TEMPLATE
from tests.support import Cli, Outcome, fresh

os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run notus in this process; not for commands that talk to a Hub, whose address is read at import."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["notus", *map(str, arguments)])
        capsys.readouterr()
        try:
            notus.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 0
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests' own again
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base/` (an untrained Mistral), `feedback.jsonl` (64 rows) and `tiny.yaml` over both."""
    folder = tmp_path_factory.mktemp("tiny")
    rows = make_feedback(64)
    tokenizer = train_tokenizer([str(row["instruction"]) for row in rows] * 20)
    tokenizer.chat_template = ZEPHYR_CHAT_TEMPLATE
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(base_config(len(tokenizer)))  # type: ignore[no-untyped-call]
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    write_feedback(folder / "feedback.jsonl", 64)
    recipe = {
        "extends": "smoke",
        "model_name_or_path": str(folder / "base"),
        "dataset": str(folder / "feedback.jsonl"),
        "test_size": 8,
        "max_steps": 3,
        "lora_r": 4,
        "hub_model_id": "notus/tiny-adapter",
        "hub_merged_model_id": "notus/tiny",
        "hub_base_model_id": "notus/tiny-base",
    }

    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def trained(tiny: Path) -> Path:
    """A run folder whose stages up to `card` are done, over `tiny`. Not to be written to."""
    folder = tiny / "runs" / "tiny"
    ended = fresh("card", tiny / "tiny.yaml", "--run", folder, "--quiet", cwd=tiny)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An embedded Hub that runs; the environment that points a process at it."""
    with running(tmp_path_factory.mktemp("hub")) as server:
        yield {"HF_ENDPOINT": server.endpoint, "HF_TOKEN": server.token, "HF_HUB_DISABLE_XET": "1"}
