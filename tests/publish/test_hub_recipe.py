"""A recipe whose base and data are on a Hub: pinned once, fetched at the pin, released with the base's own name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import fresh

pytestmark = pytest.mark.slow

UPLOAD = """
import sys
from huggingface_hub import HfApi
api, base, data = HfApi(), *sys.argv[1:]
api.create_repo("notus/sft")
api.upload_folder(repo_id="notus/sft", folder_path=base)
api.create_repo("notus/feedback", repo_type="dataset")
api.upload_file(repo_id="notus/feedback", repo_type="dataset", path_or_fileobj=data, path_in_repo="data/train.jsonl")
print(api.model_info("notus/sft").sha, api.dataset_info("notus/feedback").sha)
"""


def script(code: str, *arguments: object, **env: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_from_hub_to_hub(tiny: Path, hub: dict[str, str], tmp_path: Path) -> None:
    env = {**hub, "HF_HOME": str(tmp_path / "cache")}
    model_commit, data_commit = script(UPLOAD, tiny / "base", tiny / "feedback.jsonl", **env).split()
    recipe = yaml.safe_load((tiny / "tiny.yaml").read_text()) | {
        "model_name_or_path": "notus/sft",
        "dataset": "notus/feedback@main",
        "hub_base_model_id": None,
        "hub_model_id": "notus/from-hub-adapter",
        "hub_merged_model_id": "notus/from-hub",
        "assumed_model_type": "mistral",
        "assumed_config": {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "vocab_size": 1000,
        },  # or the plan wants 58 GB
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe))
    run = ("--run", tmp_path / "run", "--hub", "remote")

    # Unpinned it is not released, and that is said before anything is trained for it.
    ended = fresh("publish", path, *run, cwd=tmp_path, **env)
    assert "model_revision and dataset_revision not pinned" in ended.mistake
    assert not (tmp_path / "run").exists()

    ended = fresh("recipe", "pin", path, "--json", cwd=tmp_path, **env)
    assert ended.code == 0, ended.err
    assert set(json.loads(ended.out)["pins"].values()) == {model_commit, data_commit}

    # What happens on `main` after the pin does not reach the run.
    move = "HfApi().delete_file('data/train.jsonl', 'notus/feedback', repo_type='dataset')"
    script(f"from huggingface_hub import HfApi; {move}", **env)
    ended = fresh("run", path, *run, "--json", cwd=tmp_path, **env)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["verify"]["ok"]

    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("notus/sft", model_commit)
    front = yaml.safe_load(
        (tmp_path / "run" / "card" / "adapter" / "README.md").read_text().split("---\n")[1]
    )
    assert front["base_model"] == "notus/sft"
    assert front["datasets"] == ["notus/feedback"]
    assert set(json.loads((tmp_path / "run" / "release.json").read_text())["repositories"]) == {
        "adapter",
        "merged",
    }

    # The run folder on another machine, where nothing was downloaded yet: done again only if something needs it.
    shutil.rmtree(tmp_path / "cache")
    of_run = (path, "--run", tmp_path / "run", "--json")
    ended = fresh("card", *of_run, cwd=tmp_path, **env)
    assert [said["ran"] for said in json.loads(ended.out).values()] == [False] * 6
    ended = fresh("fetch", *of_run, cwd=tmp_path, **env)
    assert json.loads(ended.out)["fetch"]["ran"], ended.err
    ended = fresh("card", *of_run, cwd=tmp_path, **env)
    assert [said["ran"] for said in json.loads(ended.out).values()] == [False] * 6


def test_a_repository_that_is_not_there(tiny: Path, hub: dict[str, str], tmp_path: Path) -> None:
    ended = fresh(
        "fetch", tiny / "tiny.yaml", "--run", tmp_path / "run", "--set", "model_name_or_path=notus/nowhere",
        "--set", "assumed_model_type=mistral", cwd=tmp_path, **hub,
    )  # fmt: skip
    assert "notus/nowhere at main (no such file or folder here): no such repository" in ended.mistake
    ended = fresh(
        "fetch", tiny / "tiny.yaml", "--run", tmp_path / "run", "--set", "model_name_or_path=notus/nowhere",
        "--set", "assumed_model_type=mistral", cwd=tmp_path, **hub | {"HF_ENDPOINT": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert "can't be reached" in ended.mistake
