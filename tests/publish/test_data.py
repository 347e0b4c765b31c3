"""The pairs published with the models: one release, one tag, loaded by the card's own lines from a clean cache."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from publish.data import goes_along
from publish.readback import other_rows
from recipe.errors import UserError
from recipe.load import load_recipe
from recipe.run import Run
from tests.support import Cli, fresh

DATA = "notus/tiny-preferences"

LISTED = """
import json, sys
from huggingface_hub import HfApi
api, found = HfApi(), {}
for kind, repo in (("dataset", "notus/tiny-preferences"), ("model", "notus/tiny-adapter"), ("model", "notus/tiny")):
    refs = api.list_repo_refs(repo, repo_type=kind)
    commits = [commit.commit_id for commit in api.list_repo_commits(repo, repo_type=kind)]
    found[repo] = {"commits": commits, "tags": {ref.name: ref.target_commit for ref in refs.tags}}
print(json.dumps(found))
"""

PRINTED = """
import json
print(json.dumps({name: [part.column_names, part.to_list()] for name, part in (("train", train), ("test", test))}))
"""


@pytest.fixture(scope="module")
def recipe(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe with a place and a licence for its pairs."""
    values = yaml.safe_load((tiny / "tiny.yaml").read_text())
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(values | {"hub_dataset_id": DATA, "dataset_license": "mit"}))
    return path


@pytest.fixture(scope="module")
def published(
    trained: Path, recipe: Path, hub: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of the trained run, published as v0.1.0 with its pairs."""
    run = tmp_path_factory.mktemp("published") / "run"
    shutil.copytree(trained, run)
    ended = fresh("publish", recipe, "--data", "--run", run, "--hub", "remote", cwd=run.parent, **hub)
    assert ended.code == 0, ended.err
    assert f'pairs = load_dataset("{DATA}", revision="v0.1.0")' in ended.out
    return run


def script(code: str, **env: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1]


@pytest.mark.slow
def test_the_cards_own_lines_load_the_pairs(published: Path, hub: dict[str, str], tmp_path: Path) -> None:
    card = (published / "dataset" / "README.md").read_text(encoding="utf-8")
    lines = card.partition("```python\n")[2].partition("```")[0]
    assert lines.count('revision="v0.1.0"') == 2
    reader = {key: value for key, value in hub.items() if key != "HF_TOKEN"}
    loaded = json.loads(script(lines + PRINTED, **reader, HF_HOME=str(tmp_path)))
    for split, name in (("train", "train.parquet"), ("test", "heldout.parquet")):
        columns, rows = loaded[split]
        pairs = pq.read_table(published / "data" / name).to_pylist()
        assert columns == [
            "source", "instruction", "chosen_response", "rejected_response", "chosen_avg_rating",
            "rejected_avg_rating", "chosen_model", "rejected_model", "id",
        ]  # fmt: skip
        assert [
            [row[column] for column in ("id", "chosen_response", "rejected_avg_rating")] for row in rows
        ] == [[pair["id"], pair["chosen"], pair["rejected_rating"]] for pair in pairs]
        assert [row["instruction"] for row in rows] == [pair["prompt"][0]["content"] for pair in pairs]


@pytest.mark.slow
def test_one_release_under_one_tag(published: Path, hub: dict[str, str]) -> None:
    release = json.loads((published / "release.json").read_text())["repositories"]
    assert {kind: repo["repo_type"] for kind, repo in release.items()} == {
        "base": "model", "data": "dataset", "adapter": "model", "merged": "model",
    }  # fmt: skip
    assert set(release["data"]["files"]) == {
        "README.md", "audit.json", "data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet",
        "provenance.json", "sbom.cdx.json",
    }  # fmt: skip
    listed = json.loads(script(LISTED, **hub))
    for kind in ("data", "adapter", "merged"):
        found = listed[release[kind]["repo_id"]]
        assert found["tags"] == {"v0.1.0": release[kind]["commit"]}
        assert len(found["commits"]) == 2  # the Hub's own, and the release
    for kind in ("adapter", "merged"):
        card = (published / "card" / kind / "README.md").read_text(encoding="utf-8")
        assert yaml.safe_load(card.split("---\n")[1])["datasets"] == [DATA]
        assert f"The pairs are published as [`{DATA}`](" in card


@pytest.mark.slow
def test_a_second_time_nothing_is_done(published: Path, recipe: Path, hub: dict[str, str]) -> None:
    before = script(LISTED, **hub), (published / "release.json").read_bytes()
    # Once published with the pairs, a run stays so: --data need not be said again.
    ended = fresh("publish", recipe, "--run", published, "--hub", "remote", "--json", cwd=published, **hub)
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert answer["publish"]["published"] is False
    assert not any(answer[stage]["ran"] for stage in ("curate", "dataset", "train", "card"))
    assert (script(LISTED, **hub), (published / "release.json").read_bytes()) == before


@pytest.mark.slow
def test_verify_finds_the_pairs_and_a_changed_file(
    published: Path, recipe: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    ended = fresh("verify", recipe, "--run", published, "--hub", "remote", cwd=tmp_path, **hub)
    assert ended.code == 0, ended.err
    assert "; 8 test pairs" in ended.out
    shutil.copytree(published, tmp_path / "run")
    release = json.loads((tmp_path / "run" / "release.json").read_text())
    release["repositories"]["data"]["files"]["data/test-00000-of-00001.parquet"]["sha256"] = "0" * 64
    (tmp_path / "run" / "release.json").write_text(json.dumps(release))
    ended = fresh("verify", recipe, "--run", tmp_path / "run", "--hub", "remote", cwd=tmp_path, **hub)
    assert ended.code == 1
    assert "data/test-00000-of-00001.parquet has other bytes than were released" in ended.err


@pytest.mark.slow
def test_a_tag_on_other_pairs_stays(
    published: Path, recipe: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    before = script(LISTED, **hub)
    shutil.copytree(published, tmp_path / "run")
    change = ("--set", "dataset_license=cc-by-4.0", "--data", "--hub", "remote")
    ended = fresh("publish", recipe, "--run", tmp_path / "run", *change, cwd=tmp_path, **hub)
    assert f"{DATA}: the tag v0.1.0 exists on other content" in ended.mistake
    assert "--tag" in ended.mistake
    assert script(LISTED, **hub) == before


@pytest.mark.slow
def test_the_recipe_beside_the_adapter_rebuilds_the_files(
    published: Path, recipe: Path, tiny: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    card = (published / "dataset" / "README.md").read_text(encoding="utf-8")
    rebuild, _, rest = card.partition("In an environment with these:\n\n```\n")[2].partition("```")
    assert "Beside `recipe.yaml` must lie what no repository has: `feedback.jsonl`" in rest
    download, command = rebuild.splitlines()
    env = {**os.environ, **hub, "HF_HOME": str(tmp_path / "cache")}
    cli = [sys.executable, "-c", "from huggingface_hub.cli.hf import main; main()"]
    subprocess.run([*cli, *download.split()[1:]], cwd=tmp_path, env=env, check=True, capture_output=True)
    shutil.copy(tiny / "feedback.jsonl", tmp_path)
    ended = fresh(*command.split()[1:], cwd=tmp_path, **hub, HF_HOME=env["HF_HOME"])
    assert ended.code == 0, ended.err
    for split in ("train", "test"):
        name = f"data/{split}-00000-of-00001.parquet"
        again = (tmp_path / "runs" / "recipe" / "dataset" / name).read_bytes()
        assert again == (published / "dataset" / name).read_bytes()


def test_other_rows_on_the_hub_are_found(trained: Path, tiny: Path) -> None:
    run = Run(trained, load_recipe(tiny / "tiny.yaml"))
    data = json.loads((trained / "data" / "data.json").read_text())
    assert other_rows(run, {"train": data["train"], "test": data["heldout"]}) == ""
    assert "loaded by datasets it has the rows" in other_rows(run, {"train": data["train"], "test": 0})
    assert "the run has" in other_rows(run, {"train": data["train"]})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["hub_dataset_id=null"], "--data: tiny has no hub_dataset_id"),
        (["dataset_license=null"], "--data: tiny has no dataset_license"),
        (["dataset_license=MIT"], "dataset_license: the Hub knows no 'MIT'"),
        (["hub_dataset_id=a/b/c"], "hub_dataset_id: 'a/b/c' is not a repository name"),
        (
            ["dataset=org/Feed", "hub_dataset_id=org/feed", "dataset_license=mit"],
            "hub_dataset_id: org/Feed is what the pairs are made of",
        ),
        # Data of one's own do not come under the licence, or to the place, of another recipe's.
        (["dataset=org/feed"], "--data: tiny has no hub_dataset_id"),
    ],
)
@pytest.mark.parametrize("command", ["publish", "run", "curate", "card"])
def test_what_is_missing_is_said_before_anything_is_done(
    cli: Cli, recipe: Path, tmp_path: Path, command: str, keys: list[str], said: str
) -> None:
    given = [part for key in keys for part in ("--set", key)]
    line = cli(command, recipe, "--data", "--run", tmp_path / "run", *given).mistake
    assert said in line
    assert not (tmp_path / "run").exists()


def test_a_recipe_on_somebody_elses_pairs_has_no_place_for_them(cli: Cli, tmp_path: Path) -> None:
    line = cli("publish", "notus-7b-v1-lora", "--data", "--run", tmp_path / "run").mistake
    assert "notus-7b-v1-lora has no hub_dataset_id" in line


def test_pairs_go_where_they_went_before_and_nowhere_else(recipe: Path, tmp_path: Path) -> None:
    loaded = load_recipe(recipe)
    assert not goes_along(loaded, tmp_path, asked=False)
    record = {"hub": "local", "repositories": {"adapter": {}, "merged": {}}}
    (tmp_path / "release.json").write_text(json.dumps(record))
    assert not goes_along(loaded, tmp_path, asked=False)
    record["repositories"] = {"adapter": {}, "merged": {}, "data": {}}
    (tmp_path / "release.json").write_text(json.dumps(record))
    assert goes_along(loaded, tmp_path, asked=False)
    assert goes_along(loaded, tmp_path, asked=False, hub="local")
    assert not goes_along(loaded, tmp_path, asked=False, hub="remote")  # a rehearsal is no release
    assert goes_along(loaded, tmp_path, asked=True, hub="remote")
    gone = load_recipe(recipe, ["hub_dataset_id=null"])
    assert not goes_along(gone, tmp_path, asked=False)
    with pytest.raises(UserError, match="no hub_dataset_id"):
        goes_along(gone, tmp_path, asked=True)
