"""Provenance: every published file's hash tied to what made it; true, placeless, the same from the same run."""

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest

from modelcard.facts import MissingFactError
from publish import provenance
from publish.contents import files_of, kinds
from publish.origins import base_of, commits_of, data_of
from recipe.disk import file_sha256, write_json
from recipe.progress import Reporter
from recipe.run import MANIFEST, Run
from recipe.schema import canonical_sha256
from tests.publish.prepared import copied, prepared

DATA = ["hub_dataset_id=notus/tiny-preferences", "dataset_license=mit"]
COMMIT, OTHER = "c0ffee" * 6 + "c0ff", "a" * 40


@pytest.fixture(scope="module")
def run(trained: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return prepared(
        trained,
        tiny,
        tmp_path_factory.mktemp("provenance") / "run",
        ["version=v1.2.0", *DATA],
        with_data=True,
    )


@pytest.fixture
def fresh_run(trained: Path, tiny: Path, tmp_path: Path) -> Run:
    return copied(trained, tiny, tmp_path / "run")


def read(run: Run, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.path("provenance", kind, "provenance.json").read_text())
    return found


def stated(run: Run, kind: str = "adapter") -> dict[str, Any]:
    return provenance.statement(run, kind, kinds(run.recipe)[kind], {"some": "0" * 64})


def dependencies(statement: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {entry["name"]: entry for entry in found}


def change_entries(run: Run, **changed: object) -> None:
    manifest = run.manifest
    for entry in manifest["stages"].values():
        entry.update(changed)
    write_json(run.path(MANIFEST), manifest)


@pytest.mark.parametrize("kind", ["base", "data", "adapter", "merged"])
def test_every_published_file_is_a_subject(run: Run, kind: str) -> None:
    found = {entry["name"]: entry["digest"] for entry in read(run, kind)["subject"]}
    published = files_of(run, kind)
    assert set(found) == set(published) - {"provenance.json"}
    assert {"README.md", "sbom.cdx.json"} < set(found)
    assert found == {name: {"sha256": file_sha256(published[name])} for name in found}


def test_the_statement_is_slsas(run: Run) -> None:
    statement = read(run, "adapter")
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
    build, details = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    assert build["buildType"] == "urn:notus:release:v1"
    assert build["externalParameters"] == {
        "repository": "notus/tiny-adapter",
        "kind": "adapter",
        "version": "v1.2.0",
        "recipe": {
            "name": "tiny",
            "science_sha256": run.recipe.science_sha256,
            "sha256": file_sha256(run.path("card", "adapter", "recipe.yaml")),
        },
    }
    train = run.manifest["stages"]["train"]
    assert build["internalParameters"]["versions"] == train["versions"]
    assert details["metadata"]["startedOn"] == train["started"]
    assert details["metadata"]["finishedOn"] >= train["started"]
    assert details["builder"]["id"] == "urn:notus:venv"
    metrics = {"name": "training/metrics.json", "digest": {}}
    metrics["digest"] = {"sha256": file_sha256(run.path("training", "metrics.json"))}
    assert metrics in details["byproducts"]


def test_the_times_are_of_the_stages_that_made_it(run: Run) -> None:
    stages = run.manifest["stages"]
    for kind, first, last in (
        ("base", "fetch", "fetch"),
        ("data", "curate", "dataset"),
        ("merged", "train", "merge"),
    ):
        times = read(run, kind)["predicate"]["runDetails"]["metadata"]
        assert times["startedOn"] == stages[first]["started"]
        took = times["finishedOn"], stages[last]["started"]
        seconds = [datetime.datetime.fromisoformat(time).timestamp() for time in took]
        assert seconds[0] - seconds[1] == round(stages[last]["seconds"])


def test_base_and_data_by_content_where_they_are_no_repositories(run: Run) -> None:
    inputs = json.loads(run.path("inputs", "inputs.json").read_text())
    found = dependencies(read(run, "merged"))
    assert found["base"] == {
        "name": "base",
        "uri": "urn:notus:base:notus/tiny-base",
        "digest": {"sha256": canonical_sha256(inputs["base"]["sha256"])},
    }
    assert inputs["base"]["revision"] == f"sha256-{found['base']['digest']['sha256'][:16]}"
    assert found["data"]["uri"] == "urn:notus:data:feedback.jsonl"
    assert data_of({"data": inputs["data"] | {"name": "my data"}}).uri == "urn:notus:data:my%20data"
    assert found["data"]["digest"] == {"sha256": canonical_sha256(inputs["data"]["sha256"])}
    assert set(dependencies(read(run, "data"))) - {"code"} == {"data"}
    assert set(dependencies(read(run, "base"))) - {"code"} == {"base"}


def test_base_and_data_of_the_hub_by_commit(fresh_run: Run) -> None:
    path = fresh_run.path("inputs", "inputs.json")
    inputs = json.loads(path.read_text())
    inputs["base"] |= {"source": "hub", "name": "org/base", "revision": COMMIT}
    inputs["data"] |= {"source": "hub", "name": "org/data", "revision": OTHER}
    inputs["tokenizer"] = {
        "source": "hub",
        "name": "org/tok",
        "revision": OTHER,
        "sha256": {"tokenizer.json": "1"},
    }
    inputs["files"] = {"my fixes.jsonl": "0" * 64}
    path.write_text(json.dumps(inputs))
    statement = provenance.statement(fresh_run, "adapter", "notus/tiny-adapter", {"some": "0" * 64})
    found = dependencies(statement)
    assert found["base"]["uri"] == f"hf://models/org/base@{COMMIT}"
    assert found["base"]["digest"] == {"gitCommit": COMMIT}
    assert found["data"]["uri"] == f"hf://datasets/org/data@{OTHER}"
    assert found["tokenizer"]["uri"] == f"hf://models/org/tok@{OTHER}"
    assert found["file"] == {
        "name": "file",
        "uri": "urn:notus:file:my%20fixes.jsonl",
        "digest": {"sha256": "0" * 64},
    }
    assert base_of(inputs).from_hub


def test_what_is_not_known_is_left_out(fresh_run: Run) -> None:
    change_entries(fresh_run, code={"commit": None, "clean": None})
    assert set(dependencies(stated(fresh_run))) == {"base", "data"}


def test_the_code_by_its_commit(fresh_run: Run) -> None:
    change_entries(fresh_run, code={"commit": COMMIT, "clean": True})
    assert dependencies(stated(fresh_run))["code"] == {"name": "code", "digest": {"gitCommit": COMMIT}}
    assert commits_of(fresh_run, "adapter") == [(COMMIT, True)] * 2  # train's and the card's


def test_code_that_was_changed_is_no_commits(fresh_run: Run) -> None:
    change_entries(fresh_run, code={"commit": COMMIT, "clean": False})
    statement = stated(fresh_run)
    assert "code" not in dependencies(statement)
    parameters = statement["predicate"]["buildDefinition"]["internalParameters"]
    assert parameters["code"] == [{"commit": COMMIT, "clean": False}]


@pytest.mark.parametrize(
    ("digest", "uri", "builder"),
    [
        (
            f"registry.example/org/notus@sha256:{'1' * 64}",
            f"docker://registry.example/org/notus@sha256:{'1' * 64}",
            None,
        ),
        (f"sha256:{'1' * 64}", f"urn:notus:image:sha256:{'1' * 64}", None),
        (None, None, "urn:notus:image"),  # an image, and nobody said which
    ],
)
def test_the_image_that_it_was_made_in(
    fresh_run: Run, digest: str | None, uri: str | None, builder: str | None
) -> None:
    change_entries(fresh_run, image={"digest": digest, "revision": COMMIT, "build": None}, code=None)
    statement = stated(fresh_run, "merged")
    found = dependencies(statement)
    assert statement["predicate"]["runDetails"]["builder"]["id"] == (uri or builder)
    assert found.get("image") == (
        None if uri is None else {"name": "image", "uri": uri, "digest": {"sha256": "1" * 64}}
    )
    assert found["code"]["digest"] == {"gitCommit": COMMIT}  # an image is built from a commit


def test_the_same_run_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    provenance.work(run, tmp_path, Reporter(quiet=True), with_data=True)
    names = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.json"))
    assert len(names) == 8
    for name in names:
        assert (tmp_path / name).read_bytes() == (run.folder / name).read_bytes()


def test_a_second_time_there_is_nothing_to_do(run: Run) -> None:
    with run.locked():
        assert not run.bring([provenance.STAGE_WITH_DATA], Reporter(quiet=True))["provenance"]["ran"]


def test_no_place_of_this_machine_is_in_it(run: Run, tiny: Path) -> None:
    for path in run.path("provenance").rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        for place in (run.folder, tiny, Path.home(), Path.cwd()):
            assert str(place) not in text
        assert not re.search(r'"/|file:', text)


@pytest.mark.parametrize(
    "artifact",
    ["card/adapter/recipe.yaml", "inputs/inputs.json", "training/metrics.json", "training/environment.json"],
)
def test_an_artifact_that_is_missing_is_named(fresh_run: Run, tmp_path: Path, artifact: str) -> None:
    fresh_run.path(artifact).unlink()
    with pytest.raises((MissingFactError, FileNotFoundError), match=re.escape(Path(artifact).name)):
        provenance.work(fresh_run, tmp_path / "out", Reporter(quiet=True))


def test_a_stage_that_was_not_done_is_named(fresh_run: Run) -> None:
    fresh_run.forget("train")
    with pytest.raises(MissingFactError, match="the stage train"):
        stated(fresh_run)
