"""The gate: each condition by itself, all reasons at once, and a release from a clean checkout to the embedded Hub."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from huggingface_hub import HfApi

from publish import conditions, gate, on_hub
from publish.conditions import Candidate, NotYetError
from publish.localhub import LocalHub, running
from publish.retry import PatientHub
from recipe.code import Code
from recipe.disk import read_json, write_json
from recipe.errors import UserError
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run, Stage
from tests.support import ROOT, Outcome

HERE, ELSEWHERE = "a" * 40, "b" * 40
CODE = Code(HERE, ())
QUIET = Reporter(quiet=True)
ASKS_NOTHING = ("evaluate=[]", "floors={}")


def stage(name: str, *needs: str) -> Stage:
    def work(run: Run, out: Path, reporter: Reporter) -> dict[str, object]:
        (out / name).mkdir()
        (out / name / "file.txt").write_text(f"{name} of {run.recipe.release.version}")
        return {}

    reads = ("release",) if name in conditions.DESCRIBE else ("science",)
    return Stage(name, f"makes {name}", needs, (name,), reads, work)


STAGES = (stage("train"), stage("merge", "train"), stage("card", "merge"), stage("signature", "card"))


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Candidate:
    """A run of two stages that make a model and two that describe it, all done by the code that is to release it."""
    monkeypatch.delenv("NOTUS_REVISION", raising=False)
    monkeypatch.setattr("recipe.run.code_of", lambda: CODE)
    run = Run(tmp_path / "run", load_recipe("smoke", ["version=v1.0.0", *ASKS_NOTHING]))
    with run.locked():
        run.bring(STAGES, QUIET)
    return Candidate(run, STAGES, cast("PatientHub", None), code=CODE)


def entry(wanted: Candidate, name: str, **values: Any) -> None:
    """Change what the manifest says of a stage; None: say nothing."""
    manifest = wanted.run.manifest
    found = manifest["stages"][name] | values
    manifest["stages"][name] = {key: value for key, value in found.items() if value is not None}
    write_json(wanted.run.path("manifest.json"), manifest)


def refusal(look: gate.Look, wanted: Candidate) -> str:
    with pytest.raises(UserError) as refused:
        look(wanted)
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_what_is_fit_for_it(wanted: Candidate) -> None:
    assert conditions.releasable(wanted) == "smoke is pinned"
    assert conditions.committed(wanted) == "aaaaaaaaaaaa, and nothing else"
    assert conditions.tagged(wanted) == "there is no v1.0.0"
    assert conditions.tagged(replace(wanted, tagged=HERE)) == "is at this commit"
    assert conditions.complete(wanted) == "train, merge up to date"
    assert conditions.same_code(wanted) == "every stage by this commit"
    assert conditions.same_place(wanted) == "all without the image"
    assert conditions.unchanged(wanted) == "2 files have the sha256 of the manifest"


def test_a_recipe_that_is_not_pinned(wanted: Candidate, tmp_path: Path) -> None:
    unpinned = replace(wanted, run=Run(tmp_path / "other", load_recipe("notus-7b-v1-lora")))
    assert "model_revision and dataset_revision not pinned" in refusal(conditions.releasable, unpinned)
    with pytest.raises(NotYetError):
        on_hub.may_publish(unpinned)


def test_code_that_is_no_commits(wanted: Candidate) -> None:
    assert "no commit is known" in refusal(conditions.committed, replace(wanted, code=Code()))
    changed = replace(wanted, code=Code(HERE, ("a.py", "b.py", "c.py", "d.py", "e.py")))
    assert "not as committed (a.py, b.py, c.py and 2 more)" in refusal(conditions.committed, changed)


def test_a_git_tag_at_another_commit(wanted: Candidate) -> None:
    line = refusal(conditions.tagged, replace(wanted, tagged=ELSEWHERE))
    assert "git has the tag v1.0.0 at bbbbbbbbbbbb, and the code is of aaaaaaaaaaaa" in line


def test_a_run_that_is_not_complete(wanted: Candidate) -> None:
    wanted.run.path("train", "file.txt").write_text("not what was made")
    assert "train not done or not up to date" in refusal(conditions.complete, wanted)
    wanted.run.forget("merge")
    assert "train, merge not done or not up to date" in refusal(conditions.complete, wanted)
    nothing = replace(wanted, run=Run(wanted.run.path("nowhere"), wanted.run.recipe))
    assert "train, merge not done" in refusal(conditions.complete, nothing)
    with pytest.raises(NotYetError, match="there is no run"):
        conditions.same_code(nothing)


def test_what_describes_it_need_not_be_there(wanted: Candidate) -> None:
    wanted.run.forget("card")
    entry(wanted, "signature", code={"commit": ELSEWHERE, "clean": True})
    assert conditions.complete(wanted)
    assert conditions.same_code(wanted)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ({"commit": ELSEWHERE, "clean": True}, "(merge by bbbbbbbbbbbb)"),
        ({"commit": HERE, "clean": False}, "(merge by aaaaaaaaaaaa with changes)"),
        ({"commit": HERE, "clean": None}, "(merge by aaaaaaaaaaaa with changes)"),
        ({"commit": None, "clean": None}, "(merge by no known commit)"),
        (None, "(merge by no known commit)"),  # by a version that did not say
    ],
)
def test_a_stage_by_other_code(wanted: Candidate, code: dict[str, Any] | None, said: str) -> None:
    entry(wanted, "merge", code=code)
    assert said in refusal(conditions.same_code, wanted)


def test_unknown_code_is_not_the_same_as_unknown_code(wanted: Candidate) -> None:
    for name in ("train", "merge"):
        entry(wanted, name, code=None)
    assert "train, merge by no known commit" in refusal(conditions.same_code, replace(wanted, code=Code()))


def test_some_in_the_image_and_some_not(wanted: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(wanted, "train", image={"digest": None, "revision": HERE, "build": None})
    assert "train in the image, and merge, this release not" in refusal(conditions.same_place, wanted)
    entry(wanted, "merge", image={"digest": None, "revision": HERE, "build": None})
    assert "train, merge in the image, and this release not" in refusal(conditions.same_place, wanted)
    monkeypatch.setenv("NOTUS_REVISION", HERE)
    assert conditions.same_place(wanted) == "all in the image"


def test_a_file_that_was_changed_behind_its_size_and_time(wanted: Candidate) -> None:
    path = wanted.run.path("train", "file.txt")
    status = path.stat()
    path.write_text(path.read_text().replace("train", "tra1n"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert conditions.complete(wanted)
    assert "not as made: train/file.txt" in refusal(conditions.unchanged, wanted)


def only(monkeypatch: pytest.MonkeyPatch, after: dict[str, gate.Look] | None = None) -> None:
    """Leave out the conditions that ask a Hub."""
    before = {name: look for name, look in gate.BEFORE.items() if look.__module__ == "publish.conditions"}
    monkeypatch.setattr(gate, "BEFORE", before)
    monkeypatch.setattr(gate, "AFTER", after or {})


def test_all_reasons_are_told_at_once(
    wanted: Candidate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(monkeypatch, {"cards": lambda _: "never looked at"})
    before = wanted.run.manifest
    entry(wanted, "merge", code={"commit": ELSEWHERE, "clean": True})
    changed = wanted.run.manifest
    wrong = replace(wanted, code=Code(HERE, ("new.py",)), tagged=ELSEWHERE)
    with pytest.raises(UserError) as refused:
        gate.gate(wrong, Reporter())
    line = str(refused.value)
    assert line.startswith("v1.0.0 is not released: the code is not as committed (new.py)")
    assert "; git has the tag v1.0.0" in line
    assert "; the run was made by other code" in line
    table = dict(re.findall(r"^(\S.*?) {2,}(yes|no|-) ", capsys.readouterr().out, re.MULTILINE))
    assert table == {
        "recipe": "yes",
        "code committed": "no",
        "git's tag": "no",
        "run complete": "yes",
        "one commit": "no",
        "one place": "yes",
        "files as made": "yes",
        "evaluated": "yes",
        "cards": "-",
    }
    assert wanted.run.manifest == changed != before  # nothing was written for a release that is none


def test_what_describes_it_is_written_by_the_code_that_releases(
    wanted: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, {"files": lambda found: found.run.path("card", "file.txt").read_text()})
    other = {"commit": ELSEWHERE, "clean": True}
    entry(wanted, "card", code=other)
    entry(wanted, "signature", code=other)
    signed = wanted.run.done("signature")
    found = gate.gate(wanted, QUIET)
    assert [one for one in found if one.ok is not True] == []
    card = wanted.run.done("card")
    assert card is not None
    assert card["code"] == CODE.entry()
    assert wanted.run.done("signature") == signed  # what it signs is the same
    before = wanted.run.manifest
    gate.gate(wanted, QUIET)
    assert wanted.run.manifest == before


def test_the_version_of_the_release_gets_into_what_describes_it(
    wanted: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, {"files": lambda found: found.run.path("card", "file.txt").read_text()})
    run = Run(wanted.run.folder, load_recipe("smoke", ["version=v2.0.0", *ASKS_NOTHING]))
    found = gate.gate(replace(wanted, run=run), QUIET)
    assert found[-1].said == "card of v2.0.0"


def test_a_condition_of_the_files_that_does_not_hold(
    wanted: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(_: Candidate) -> str:
        raise UserError("a card is wrong")

    only(monkeypatch, {"cards": bad})
    with pytest.raises(UserError, match=r"v1\.0\.0 is not released: a card is wrong"):
        gate.gate(wanted, QUIET)


def test_what_the_inspection_finds_is_told(
    wanted: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.bin").write_text("x")
    repo = SimpleNamespace(
        kind="adapter", repo_id="notus/one", type="model", files={"model.bin": tmp_path / "model.bin"}
    )
    monkeypatch.setattr(Candidate, "repos", [repo])
    line = refusal(on_hub.inspected, wanted)
    assert "notus/one: provenance.json: missing" in line
    assert "more" in line


# A release, from a checkout of its own


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code as a clean checkout of one commit, wherever the tests run and whatever was changed there."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("commandline", "container", "modelcard", "publish", "recipe", "notus.py"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    (root / ".gitignore").write_text("__pycache__/\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "All of it")
    return root


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.invalid")
    ended = subprocess.run(
        ["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True
    )
    return ended.stdout.strip()


@pytest.fixture(scope="module")
def finished(trained: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, as if the checkout's commit had made it. Not to be written to."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(trained, folder)
    manifest = read_json(folder / "manifest.json")
    for made in manifest["stages"].values():
        made["code"] = {"commit": git(checkout, "rev-parse", "HEAD"), "clean": True}
    write_json(folder / "manifest.json", manifest)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with running(tmp_path / "hub") as served:
        yield served


def release(checkout: Path, tiny: Path, run: Path, hub: LocalHub, *more: object) -> Outcome:
    """Release `run` by the code of the checkout, to `hub`."""
    options = ("--run", run, "--hub", "remote", "--set", "collection=Tiny and all", *more)
    ended = subprocess.run(
        [sys.executable, "-m", "notus", "release", tiny / "tiny.yaml", *map(str, options)],
        cwd=checkout,
        env={**os.environ, **hub.environment, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def standing(hub: LocalHub) -> dict[str, Any]:
    """Return all that is on the Hub: heads and tags by repository, and collections with their items."""
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    found: dict[str, Any] = {}
    for model in api.list_models():
        refs = api.list_repo_refs(model.id)
        found[model.id] = sorted((ref.ref, ref.target_commit) for ref in (*refs.branches, *refs.tags))
    for one in api.list_collections():
        items = api.get_collection(one.slug).items
        found[one.slug] = [(item.item_type, item.item_id, item.note) for item in items]
    return found


@dataclass(frozen=True)
class Released:
    """A signed release, and what a dry run before it said and left."""

    run: Path
    hub: LocalHub
    key: Path
    looked: Outcome
    left: dict[str, Any]
    ended: Outcome


@pytest.fixture(scope="module")
def released(
    checkout: Path, tiny: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Released]:
    folder = tmp_path_factory.mktemp("released")
    run, key = folder / "run", folder / "key.pem"
    shutil.copytree(finished, run)
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key.write_bytes(private)
    with running(folder / "hub") as hub:
        looked = release(checkout, tiny, run, hub, "--tag", "v1.0.0", "--key", key, "--dry-run")
        left = standing(hub)
        ended = release(checkout, tiny, run, hub, "--tag", "v1.0.0", "--key", key, "--json")
        yield Released(run, hub, key, looked, left, ended)


@pytest.mark.slow
def test_a_dry_run_shows_conditions_and_plan_and_leaves_the_hub_alone(released: Released) -> None:
    assert released.looked.code == 0, released.looked.err
    assert "code committed" in released.looked.out
    assert "create, commit, tag" in released.looked.out
    assert released.left == {}


@pytest.mark.slow
def test_a_release(released: Released) -> None:
    assert released.ended.code == 0, released.ended.err
    answer = json.loads(released.ended.out)
    assert set(answer["gate"]) == {*gate.BEFORE, *gate.AFTER}
    assert answer["publish"]["published"] is True
    assert answer["verify"]["ok"] is True
    assert set(answer["publish"]["repositories"]) == {"base", "adapter", "merged"}
    assert "model.sig" in answer["publish"]["repositories"]["adapter"]["files"]
    there = standing(released.hub)
    repos = {"notus/tiny-base", "notus/tiny-adapter", "notus/tiny"}
    assert {name for name in there if "tiny-and-all" not in name} == repos
    for repo in repos:
        assert "refs/tags/v1.0.0" in dict(there[repo])
    [items] = [items for slug, items in there.items() if slug.startswith("notus/tiny-and-all-")]
    assert sorted(items) == [
        ("model", "notus/tiny", "merged weights, v1.0.0"),
        ("model", "notus/tiny-adapter", "the LoRA adapter, v1.0.0"),
        ("model", "notus/tiny-base", "the base, v1.0.0"),
    ]


@pytest.mark.slow
def test_the_same_again_is_nothing_to_do(released: Released, checkout: Path, tiny: Path) -> None:
    there = standing(released.hub)
    again = release(checkout, tiny, released.run, released.hub, "--tag", "v1.0.0", "--key", released.key)
    assert again.code == 0, again.err
    assert "v1.0.0 is on the Hub already, with these files: nothing to do" in again.out
    assert standing(released.hub) == there


@pytest.mark.slow
def test_a_tag_on_other_content_is_refused_and_nothing_is_written(
    released: Released, checkout: Path, tiny: Path, run: Path
) -> None:
    there = standing(released.hub)
    ended = release(checkout, tiny, run, released.hub, "--tag", "v1.0.0", "--set", "license=mit")
    assert "the tag v1.0.0 exists on other content" in ended.mistake
    for repo in ("notus/tiny-adapter", "notus/tiny"):
        assert f"{repo}: the tag" in ended.mistake
    assert standing(released.hub) == there


@pytest.mark.slow
def test_a_card_that_the_hub_does_not_want(checkout: Path, tiny: Path, run: Path, hub: LocalHub) -> None:
    ended = release(checkout, tiny, run, hub, "--tag", "v1.0.0", "--set", "license=nonsense")
    assert '"license" must be one of' in ended.mistake
    assert standing(hub) == {}


@pytest.mark.slow
def test_what_is_not_fit_is_refused_with_all_reasons_and_nothing_is_written(
    checkout: Path, tiny: Path, run: Path, hub: LocalHub, tmp_path: Path
) -> None:
    changed = tmp_path / "checkout"
    shutil.copytree(checkout, changed)
    (changed / "recipe" / "new.py").touch()
    git(changed, "tag", "v1.0.0")
    git(changed, "commit", "--quiet", "--allow-empty", "--message", "Later")
    with (run / "adapter" / "adapter_model.safetensors").open("ab") as file:
        file.write(b"0")
    ended = release(changed, tiny, run, hub, "--tag", "v1.0.0")
    for said in (
        "the code is not as committed (recipe/new.py)",
        "git has the tag v1.0.0 at",
        "train not done or not up to date",
        "the run was made by other code than",
        "not as made: adapter/adapter_model.safetensors",
    ):
        assert said in ended.mistake
    assert "may publish       yes" in ended.out
    assert standing(hub) == {}
    assert not (run / "release.json").exists()


@pytest.mark.slow
def test_a_release_needs_a_tag_and_a_run(checkout: Path, tiny: Path, hub: LocalHub, tmp_path: Path) -> None:
    assert release(checkout, tiny, tmp_path / "none", hub).code == 2
    ended = release(checkout, tiny, tmp_path / "none", hub, "--tag", "v1.0.0")
    assert "not done or not up to date, and a release makes no model" in ended.mistake
    assert not (tmp_path / "none").exists()
    assert standing(hub) == {}
