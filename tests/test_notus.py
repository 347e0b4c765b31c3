"""The command line: quick to answer, and a script's friend."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, Cli, fresh

HEAVY = {
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "huggingface_hub",
    "pyarrow",
    "numpy",
    "pydantic",
    "starlette",
}


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, notus\nsys.argv = ['notus', '--help']\ntry: notus.main()\nexcept SystemExit: pass\n"
    code += "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(ended.stdout.partition("LOADED ")[2].split())
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_every_command_has_a_line_of_help(cli: Cli) -> None:
    out = cli("--help").out
    stages = ("fetch", "curate", "train", "merge", "card", "publish", "verify", "run")
    beside = ("report", "compare", "annotate", "tokens", "schedule", "doctor", "recipe", "hub")
    for command in (*stages, *beside):
        line = next(line for line in out.splitlines() if line.split()[:1] == [command])
        assert line.rstrip().endswith("."), line


def test_plan_of_the_full_size_recipe(cli: Cli) -> None:
    ended = cli("run", "notus-7b-v1-lora", "--dry-run", "--json")
    assert ended.code == 0
    plan = json.loads(ended.out)
    assert plan["steps"] == 360
    assert plan["epochs"] == 2.9907
    assert plan["global_batch_size"] == 512
    assert plan["adapter_parameters"] == 54_525_952
    assert plan["base_parameters"] == 7_241_732_096
    assert plan["train_rows"] == 61_619
    assert plan["unpinned"] == ["model_revision", "dataset_revision"]
    assert plan["stages"] == [
        "fetch", "curate", "train", "merge", "evaluate-preference", "card", "provenance", "publish",
    ]  # fmt: skip
    assert "360" in ended.err
    assert all(len(line) <= 120 for line in ended.err.splitlines())


def test_dry_run_writes_nothing(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    ended = cli("run", tiny / "tiny.yaml", "--run", tmp_path / "run", "--dry-run")
    assert ended.code == 0
    assert not (tmp_path / "run").exists()


def test_the_plan_has_the_pairs_if_they_are_published(cli: Cli) -> None:
    plain, with_data = (
        json.loads(cli("run", "smoke", *asked, "--dry-run", "--json").out) for asked in ((), ("--data",))
    )
    assert with_data["stages"] == [
        "fetch", "curate", "dataset", "train", "merge", "evaluate-preference", "evaluate-smoke",
        "evaluate-smoke-base", "card", "provenance", "publish",
    ]  # fmt: skip
    name = "datasets/notus/smoke-preferences"
    assert set(with_data["publishes"]) - set(plain["publishes"]) == {name}
    assert "data/*.parquet" in with_data["publishes"][name]["files"]


def test_diff_names_what_differs(cli: Cli) -> None:
    ended = cli("recipe", "diff", "zephyr-7b-beta-lora", "notus-7b-v1-lora", "--json")
    answer = json.loads(ended.out)
    assert answer["differs"]["model_name_or_path"] == [
        "alignment-handbook/zephyr-7b-sft-lora",
        "alignment-handbook/zephyr-7b-sft-full",
    ]
    assert not answer["same_science"]


def test_show_has_every_key_and_the_hash(cli: Cli) -> None:
    ended = cli("recipe", "show", "notus-7b-v1-lora", "--set", "beta=0.3")
    assert "learning_rate" in ended.out
    assert "0.3" in ended.out
    assert "science sha256" in ended.out


def test_check_says_what_a_release_still_needs(cli: Cli) -> None:
    ended = cli("recipe", "check", "notus-7b-v1-lora")
    assert ended.code == 0
    assert "the recipe is sound" in ended.out
    assert ended.err.count("is not pinned") == 2


def test_a_second_time_does_nothing_twice(trained: Path, tiny: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns
        for path in trained.rglob("*")
        if path.is_file() and path.name != "recipe.yaml"
    }
    ended = fresh("card", tiny / "tiny.yaml", "--run", trained, "--json", cwd=tiny)
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert [entry["ran"] for entry in answer.values()] == [False] * 6
    assert ended.err.count("up to date") == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_json_is_alone_on_stdout_and_quiet_is_quiet(trained: Path, tiny: Path, cli: Cli) -> None:
    ended = cli("merge", tiny / "tiny.yaml", "--run", trained, "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_torch_is_told_to_be_calm_and_to_leave_no_holes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")  # who knows better is left alone
    assert cli("--help").code == 0
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("PASSIVE", "7")
    assert os.environ["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"


def test_behind_a_question_the_end_has_a_line_of_its_own() -> None:
    screen, terminal = os.openpty()
    code = "import signal, sys, notus; sys.stderr.write('Sure? '); notus._end(signal.SIGINT, None)"
    ended = subprocess.run([sys.executable, "-c", code], stderr=terminal, check=False)
    os.close(terminal)
    assert os.read(screen, 100) == b"Sure? \r\nnotus: ended by SIGINT\r\n"
    os.close(screen)
    assert ended.returncode == 130
