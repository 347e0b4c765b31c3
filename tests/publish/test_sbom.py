"""The bill of materials: valid by CycloneDX's strict schema, complete, and the run's own figures."""

import importlib.metadata
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from publish.contents import files_of, kinds
from publish.licenses import license_of
from publish.provenance import material_of
from publish.sbom import Material, render
from recipe.disk import file_sha256
from recipe.run import Run
from tests.publish.prepared import prepared

KINDS = ["base", "data", "adapter", "merged"]


@pytest.fixture(scope="module")
def run(trained: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = ["hub_dataset_id=notus/tiny-preferences", "dataset_license=mit"]
    return prepared(trained, tiny, tmp_path_factory.mktemp("sbom") / "run", data, with_data=True)


def read(run: Run, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.path("provenance", kind, "sbom.cdx.json").read_text())
    return found


def material(run: Run, kind: str) -> Material:
    """What the stage rendered."""
    files = {name: file_sha256(path) for name, path in files_of(run, kind, beside=("card",)).items()}
    return material_of(run, kind, kinds(run.recipe, with_data=True)[kind], files)


def by_ref(bill: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["bom-ref"]: component for component in bill["components"]}


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_accepts_it(run: Run, kind: str) -> None:
    text = run.path("provenance", kind, "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert json.loads(text)["specVersion"] == "1.6"


def test_the_schema_is_looked_at(run: Run) -> None:
    bill = read(run, "adapter")
    bill["metadata"]["component"]["modelCard"]["modelParameters"]["approach"]["type"] = "by hand"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_every_package_is_in_it(run: Run, kind: str) -> None:
    environment = json.loads(run.path("training", "environment.json").read_text())
    found = {
        component["name"]: component["version"]
        for component in read(run, kind)["components"]
        if component["type"] == "library"
    }
    assert found == environment["packages"]
    assert len(found) > 60


def test_packages_by_url_and_licence(run: Run) -> None:
    found = {component["name"]: component for component in read(run, "adapter")["components"]}
    assert found["torch"]["purl"] == str(PackageURL("pypi", name="torch", version=found["torch"]["version"]))
    assert found["trl"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert found["tqdm"]["licenses"] == [{"expression": "MPL-2.0 AND MIT"}]
    if "notus" in found:  # on PyPI somebody else may have the name
        assert found["notus"]["purl"].startswith("pkg:generic/notus@")


def test_licences_are_the_packages_own() -> None:
    for name, said in (("markdown-it-py", "MIT"), ("transformers", "Apache-2.0"), ("sympy", "BSD License")):
        assert license_of(name, importlib.metadata.version(name)) == said
    assert license_of("transformers", "0.0.1") == ""  # of another version nothing is known
    assert license_of("no-such-package", "1.0") == ""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_published_with_each_file(run: Run, kind: str) -> None:
    component = read(run, kind)["metadata"]["component"]
    assert component["type"] == ("data" if kind == "data" else "machine-learning-model")
    found = {file["name"]: file["hashes"] for file in component["components"]}
    published = files_of(run, kind, beside=("card",))
    assert found == {
        name: [{"alg": "SHA-256", "content": file_sha256(path)}] for name, path in published.items()
    }
    licence = "MIT" if kind == "data" else "Apache-2.0"
    assert component["licenses"] == [{"license": {"id": licence}}]
    assert component["version"] == "v0.1.0"


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_the_parts_for_machine_learning(run: Run, kind: str) -> None:
    bill = read(run, kind)
    card = bill["metadata"]["component"]["modelCard"]
    assert card["modelParameters"] == {
        "approach": {"type": "supervised"},
        "task": "text-generation",
        "architectureFamily": "mistral",
        "modelArchitecture": "MistralForCausalLM",
        "datasets": [{"ref": "data"}],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    after = json.loads(run.path("training", "metrics.json").read_text())["after"]
    figures = {
        one["type"]: (one["value"], one["slice"])
        for one in card["quantitativeAnalysis"]["performanceMetrics"]
    }
    assert figures["DPO loss"] == (str(after["loss"]), "8 held-out pairs")
    assert figures["reward accuracy"][0] == str(after["accuracy"])
    assert len(figures) == 4
    assert "at most 256 tokens, 128 of them" in card["considerations"]["technicalLimitations"][0]


def test_base_and_data_are_components_with_their_content(run: Run) -> None:
    inputs = json.loads(run.path("inputs", "inputs.json").read_text())
    found = by_ref(read(run, "adapter"))
    base, data = found["base"], found["data"]
    assert (base["type"], base["group"], base["name"]) == ("machine-learning-model", "notus", "tiny-base")
    assert base["version"] == inputs["base"]["revision"]
    hashes = {file["name"]: file["hashes"][0]["content"] for file in base["components"]}
    assert hashes == inputs["base"]["sha256"]
    assert (data["type"], data["name"]) == ("data", "feedback.jsonl")
    listed = {entry["name"]: entry["value"] for entry in data["data"][0]["contents"]["properties"]}
    assert listed == {f"sha256:{name}": digest for name, digest in inputs["data"]["sha256"].items()}


@pytest.mark.parametrize(
    ("kind", "sources"),
    [("adapter", {"base", "data"}), ("merged", {"base", "data"}), ("data", {"data"}), ("base", set())],
)
def test_it_depends_on_all_of_them(run: Run, kind: str, sources: set[str]) -> None:
    bill = read(run, kind)
    depends = {entry["ref"]: set(entry.get("dependsOn", [])) for entry in bill["dependencies"]}
    assert depends["published"] == set(by_ref(bill))
    assert {ref for ref in depends["published"] if not ref.startswith("pkg:")} == sources


def test_repositories_have_serial_numbers_of_their_own(run: Run) -> None:
    bills = [read(run, kind) for kind in KINDS]
    assert len({bill["serialNumber"] for bill in bills}) == len(KINDS)
    train = run.manifest["stages"]["train"]
    again = [json.loads(json.dumps(render(material(run, kind)))) for kind in KINDS]
    assert [bill["serialNumber"] for bill in again] == [bill["serialNumber"] for bill in bills]
    other = replace(material(run, "adapter"), files={"README.md": "0" * 64})
    assert render(other)["serialNumber"] != bills[2]["serialNumber"]
    assert bills[2]["metadata"]["timestamp"][:19] >= train["started"][:19]
