"""A release over HTTP, on the embedded Hub: whole or not there, tagged once, loaded by the documented lines."""

import json
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from recipe.load import load_recipe
from recipe.plan import make_plan
from recipe.plan_view import publishes
from tests.support import fresh

pytestmark = pytest.mark.slow

CONSUMER = """
import json, sys, torch
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

probe, adapter, merged, base, tag = sys.argv[1:]
facts = json.load(open(f"{probe}/probe.json"))
saved = load_file(f"{probe}/logits.safetensors")
config = PeftConfig.from_pretrained(adapter, revision=tag)
tokenizer = AutoTokenizer.from_pretrained(adapter, revision=tag)
pinned = AutoModelForCausalLM.from_pretrained(base, revision=config.revision)
models = {
    "PeftModel": PeftModel.from_pretrained(pinned, adapter, revision=tag),
    "AutoPeft": AutoPeftModelForCausalLM.from_pretrained(adapter, revision=tag),
    "merged": AutoModelForCausalLM.from_pretrained(merged, revision=tag),
}
worst = {}
for name, model in models.items():
    want = "merged" if name == "merged" else "adapter"
    with torch.no_grad():
        worst[name] = max(
            (model(torch.tensor([ids])).logits[0, -1] - saved[f"{want}.{place}"]).abs().max().item()
            for place, ids in enumerate(facts["input_ids"])
        )
chat = [{"role": "user", "content": "{prompt}"}]
print(json.dumps({
    "worst": worst,
    "base": [config.base_model_name_or_path, config.revision],
    "template": tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True),
}))
"""


@pytest.fixture(scope="module")
def published(
    trained: Path, tiny: Path, hub: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of the trained run, published as v0.1.0."""
    run = tmp_path_factory.mktemp("published") / "run"
    shutil.copytree(trained, run)
    (run / "adapter" / "notes.txt").write_text("not made by any stage")
    ended = fresh("publish", tiny / "tiny.yaml", "--run", run, "--hub", "remote", cwd=tiny, **hub)
    assert ended.code == 0, ended.err
    assert 'AutoPeftModelForCausalLM.from_pretrained("notus/tiny-adapter", revision="v0.1.0")' in ended.out
    return run


def test_a_consumer_gets_the_logits_of_the_run(published: Path, hub: dict[str, str], tmp_path: Path) -> None:
    reader = {key: value for key, value in hub.items() if key != "HF_TOKEN"}
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            CONSUMER,
            published / "probe",
            "notus/tiny-adapter",
            "notus/tiny",
            "notus/tiny-base",
            "v0.1.0",
        ],
        env={**os.environ, **reader, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    released = json.loads((published / "release.json").read_text())["repositories"]["adapter"]["files"]
    assert "adapter_model.safetensors" in released
    assert "notes.txt" not in released
    assert max(found["worst"].values()) < 1e-5
    inputs = json.loads((published / "inputs" / "inputs.json").read_text())
    assert found["base"] == ["notus/tiny-base", inputs["base"]["revision"]]
    template = found["template"].removesuffix("\n")  # a block of code ends with one
    for kind in ("adapter", "merged"):
        assert f"```\n{template}\n```" in (published / "card" / kind / "README.md").read_text(
            encoding="utf-8"
        )


def test_a_dry_run_says_what_is_there_and_does_nothing(
    published: Path, tiny: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    reader = {key: value for key, value in hub.items() if key != "HF_TOKEN"} | {"HF_HOME": str(tmp_path)}
    look = ("publish", tiny / "tiny.yaml", "--run", published, "--hub", "remote", "--dry-run")
    before = sorted(path.name for path in published.iterdir())
    ended = fresh(*look, "--json", cwd=tiny, **reader)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert {one["does"] for one in found["repositories"].values()} == {"nothing: tagged"}
    assert found["upload_bytes"] == 0
    ended = fresh(*look, "--tag", "v9", "--set", "license=mit", cwd=tiny, **reader)
    assert "card, provenance not done yet" in ended.mistake  # the card of another licence is another one
    assert sorted(path.name for path in published.iterdir()) == before


def test_a_dry_run_before_the_stages_makes_nothing(tiny: Path, tmp_path: Path) -> None:
    ended = fresh("publish", tiny / "tiny.yaml", "--dry-run", "--hub", "local", cwd=tmp_path)
    assert "fetch, curate, train, merge, card, provenance not done yet" in ended.mistake
    assert list(tmp_path.iterdir()) == []


def test_what_the_plan_lists_is_what_is_published(published: Path, tiny: Path) -> None:
    recipe = load_recipe(tiny / "tiny.yaml")
    planned = {name: files for name, files, _ in publishes(recipe, make_plan(recipe, count=False))}
    released = json.loads((published / "release.json").read_text())["repositories"].values()
    assert set(planned) == {repo["repo_id"] for repo in released}
    for repo in released:
        wanted = planned[repo["repo_id"]]
        assert all(any(fnmatch(name, one) for one in wanted) for name in repo["files"]), repo["files"]
        assert all(any(fnmatch(name, one) for name in repo["files"]) for one in wanted), wanted


def test_a_second_time_nothing_is_done_and_said_so(published: Path, tiny: Path, hub: dict[str, str]) -> None:
    before = (published / "release.json").read_bytes()
    ended = fresh(
        "publish", tiny / "tiny.yaml", "--run", published, "--hub", "remote", "--json", cwd=tiny, **hub
    )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["publish"]["published"] is False
    assert "nothing to do" in ended.err
    assert (published / "release.json").read_bytes() == before


def test_a_record_that_was_lost_is_written_again(
    published: Path, tiny: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(published, tmp_path / "run")
    (tmp_path / "run" / "release.json").unlink()
    ended = fresh(
        "publish", tiny / "tiny.yaml", "--run", tmp_path / "run", "--hub", "remote", cwd=tiny, **hub
    )
    assert ended.code == 0, ended.err
    was, now = (json.loads((run / "release.json").read_text()) for run in (published, tmp_path / "run"))
    assert now["repositories"] == was["repositories"]


def test_verify_finds_the_release_and_a_changed_file(
    published: Path, tiny: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    ended = fresh("verify", tiny / "tiny.yaml", "--run", published, "--hub", "remote", cwd=tiny, **hub)
    assert ended.code == 0, ended.err
    shutil.copytree(published, tmp_path / "run")
    release = json.loads((tmp_path / "run" / "release.json").read_text())
    release["repositories"]["adapter"]["files"]["adapter_model.safetensors"]["sha256"] = "0" * 64
    (tmp_path / "run" / "release.json").write_text(json.dumps(release))
    ended = fresh("verify", tiny / "tiny.yaml", "--run", tmp_path / "run", "--hub", "remote", cwd=tiny, **hub)
    assert ended.code == 1
    assert "adapter_model.safetensors has other bytes than were released" in ended.err


def test_a_tag_on_other_content_is_refused(
    published: Path, tiny: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(published, tmp_path / "run")
    change = ("--set", "license=mit")
    ended = fresh(
        "publish", tiny / "tiny.yaml", "--run", tmp_path / "run", *change, "--hub", "remote", cwd=tiny, **hub
    )
    assert "the tag v0.1.0 exists on other content" in ended.mistake
    again = ("--tag", "v0.2.0", "--json")
    ended = fresh(
        "publish",
        tiny / "tiny.yaml",
        "--run",
        tmp_path / "run",
        *change,
        *again,
        "--hub",
        "remote",
        cwd=tiny,
        **hub,
    )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["publish"]["version"] == "v0.2.0"


def test_stale_files_go_in_the_same_commit(
    published: Path, tiny: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    script = (
        "from huggingface_hub import HfApi; api = HfApi();"
        "api.upload_file(path_or_fileobj=b'old', path_in_repo='model-00001-of-00002.safetensors', repo_id='notus/tiny')"
    )
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **hub}, check=True, capture_output=True)
    shutil.copytree(published, tmp_path / "run")
    tag = ("--tag", "v0.3.0", "--json", "--hub", "remote")
    ended = fresh("publish", tiny / "tiny.yaml", "--run", tmp_path / "run", *tag, cwd=tiny, **hub)
    assert ended.code == 0, ended.err
    script = (
        "from huggingface_hub import HfApi; print(HfApi().list_repo_files('notus/tiny', revision='v0.3.0'))"
    )
    listed = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **hub}, check=True, capture_output=True
    )
    assert b"'model.safetensors'" in listed.stdout
    assert b"00001-of-00002" not in listed.stdout


def test_a_byte_that_flips_on_the_hub_is_found(trained: Path, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "runs" / "tiny")
    # A proxy for the world must not stand between us and the Hub on this machine.
    proxied = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    ended = fresh("publish", tiny / "tiny.yaml", "--hub", "local", cwd=tmp_path, **proxied)
    assert ended.code == 0, ended.err
    files = json.loads((tmp_path / "runs" / "tiny" / "release.json").read_text())["repositories"]["adapter"][
        "files"
    ]
    assert fresh("verify", tiny / "tiny.yaml", "--hub", "local", cwd=tmp_path).code == 0
    sha256 = files["adapter_model.safetensors"]["sha256"]
    stored = next(path for path in (tmp_path / "runs" / "hub" / "lfs").rglob("*") if path.name == sha256)
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1  # the last bit of a weight: too little for the logits, enough for a hash
    stored.chmod(0o600)
    stored.write_bytes(content)
    ended = fresh("verify", tiny / "tiny.yaml", "--hub", "local", cwd=tmp_path)
    assert ended.code == 1, ended.err
    assert "adapter_model.safetensors" in ended.err


def test_wrong_token(trained: Path, tiny: Path, hub: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    wrong = {**hub, "HF_TOKEN": "hf_wrong"}
    ended = fresh(
        "publish", tiny / "tiny.yaml", "--run", tmp_path / "run", "--hub", "remote", cwd=tiny, **wrong
    )
    assert "refuses the token (401)" in ended.mistake
    assert not (tmp_path / "run" / "release.json").exists()


def test_hub_that_does_not_answer(trained: Path, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_any"}
    ended = fresh(
        "publish", tiny / "tiny.yaml", "--run", tmp_path / "run", "--hub", "remote", cwd=tiny, **nowhere
    )
    assert "can't be reached; check HF_ENDPOINT and the network" in ended.mistake


def test_unpinned_recipe_is_not_released(hub: dict[str, str], tmp_path: Path) -> None:
    ended = fresh("publish", "notus-7b-v1-lora", "--hub", "remote", cwd=tmp_path, **hub)
    assert "notus-7b-v1-lora: model_revision and dataset_revision not pinned" in ended.mistake
    assert not (tmp_path / "runs").exists()


def test_local_base_without_a_public_name_is_not_released(
    trained: Path, tiny: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    change = ("--set", "hub_base_model_id=null", "--hub", "remote")
    ended = fresh("publish", tiny / "tiny.yaml", "--run", tmp_path / "run", *change, cwd=tiny, **hub)
    assert "set hub_base_model_id to publish it too" in ended.mistake
