"""The bill of materials of a repository: CycloneDX 1.6 with the parts for machine learning.

What is published, with its files; the base and the data that it was made of; every package of the environment that it
was made in. All of it is read from the run's artifacts; licences of packages from what is installed in just that
version, and left out where nothing says them.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from publish.licenses import license_of
from publish.origins import Source
from recipe.made_by import versions
from recipe.schema import Recipe, canonical_sha256

if TYPE_CHECKING:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import License
    from cyclonedx.model.tool import ToolRepository

METRICS = {  # as the run's metrics call them, and in words
    "accuracy": "reward accuracy",
    "likelier": "share of pairs whose chosen answer is the likelier one",
    "loss": "DPO loss",
    "margin": "reward margin",
}


@dataclass(frozen=True)
class Material:
    """What a bill of materials says, read from a run.

    Attributes:
        kind: `base`, `data`, `adapter` or `merged`.
        repo_id: The repository.
        recipe: The recipe.
        base: The base; None for a data set, which none is needed for.
        data: The data; None for a base that was not made of any.
        config: The model's configuration (`config.json`); None for a data set.
        metrics: The run's `training/metrics.json`; None for what was not trained.
        files: sha256 of each file that is published, by its path in the repository.
        packages: Versions of all packages that were installed, by name.
        python: The version of Python.
        made: When it was made: the end of the last stage that did.
    """

    kind: str
    repo_id: str
    recipe: Recipe
    base: Source | None
    data: Source | None
    config: Mapping[str, Any] | None
    metrics: Mapping[str, Any] | None
    files: Mapping[str, str]
    packages: Mapping[str, str]
    python: str
    made: datetime


def render(material: Material) -> dict[str, Any]:
    """Return the bill of materials as plain values: the same for the same material and installed packages."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import ComponentType
    from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle
    from cyclonedx.output.json import JsonV1Dot6

    release = material.recipe.release
    published = _published(material)
    sources: list[Component] = []
    if material.base is not None and material.kind != "base":
        sources.append(_source("base", ComponentType.MACHINE_LEARNING_MODEL, material.base, "models"))
    if material.data is not None:
        sources.append(_source("data", ComponentType.DATA, material.data, "datasets"))
    packages = [_package(name, version) for name, version in sorted(material.packages.items())]
    identity = ["notus", material.repo_id, release.version, canonical_sha256(dict(material.files))]
    metadata = BomMetaData(
        timestamp=material.made,
        component=published,
        tools=_tools(),
        lifecycles=[PredefinedLifecycle(LifecyclePhase.BUILD)],
        properties=_properties({"notus:python": material.python, "notus:recipe": material.recipe.name}),
    )
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, ":".join(["urn", *identity])),
        metadata=metadata,
        components=[*sources, *packages],
    )
    bom.register_dependency(published, [*sources, *packages])
    rendered: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library knows neither model cards nor data components' contents.
    if material.config is not None:
        rendered["metadata"]["component"]["modelCard"] = _model_card(material)
    for component in rendered["components"]:
        if component["bom-ref"] == "data" and material.data is not None:
            component["data"] = _contents(material.data)
    return rendered


def _published(material: Material) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    release = material.recipe.release
    owner, _, name = material.repo_id.rpartition("/")
    is_data = material.kind == "data"
    model, license_ = ComponentType.MACHINE_LEARNING_MODEL, release.license
    return Component(
        type=ComponentType.DATA if is_data else model,
        bom_ref="published",
        group=owner or None,
        name=name,
        version=release.version,
        description=f"{release.model_name}: {_what(material)}",
        licenses=_license((release.dataset_license or "") if is_data else license_),
        components=_files("published", material.files),
        properties=_properties({"notus:science:sha256": material.recipe.science_sha256}),
    )


def _what(material: Material) -> str:
    base = material.base.name if material.base else ""
    return {
        "base": "the base that it was tuned from",
        "data": "the preference pairs that it was tuned on",
        "adapter": f"a LoRA adapter of {base}",
        "merged": f"{base} with the adapter merged into it",
    }[material.kind]


def _source(ref: str, type_: "ComponentType", source: Source, hub_type: str) -> "Component":
    """Return the component of what was read; named by commit where it is the Hub's, else by its content."""
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    owner, _, name = source.name.rpartition("/")
    purl = None
    if source.from_hub and hub_type == "models":
        purl = PackageURL("huggingface", owner or None, name, source.revision)
    where = ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(source.uri))
    return Component(
        type=type_,
        bom_ref=ref,
        group=owner or None,
        name=name,
        version=source.revision or f"sha256-{source.content_sha256[:16]}",
        purl=purl,
        external_references=[where] if source.from_hub else [],
        components=_files(ref, source.sha256),
        properties=_properties({"notus:content:sha256": source.content_sha256, "notus:uri": source.uri}),
    )


def _files(of: str, sha256: Mapping[str, str]) -> list["Component"]:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    return [
        Component(
            type=ComponentType.FILE,
            bom_ref=f"{of}/{name}",
            name=name,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        )
        for name, digest in sorted(sha256.items())
    ]


def _package(name: str, version: str) -> "Component":
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    kind = "generic" if name == "notus" else "pypi"  # ours is on no index, where another may have its name
    purl = PackageURL(kind, name=name, version=version)
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        name=name,
        version=version,
        purl=purl,
        licenses=_license(license_of(name, version)),
    )


def _license(text: str) -> list["License"]:
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(text)] if text else []


def _properties(values: Mapping[str, str]) -> list["Property"]:
    from cyclonedx.model import Property

    return [Property(name=name, value=value) for name, value in values.items()]


def _tools() -> "ToolRepository":
    from cyclonedx.contrib.this.builders import this_component
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository

    here = versions().get("notus")
    notus = Component(type=ComponentType.APPLICATION, name="notus", version=here, bom_ref="tool:notus")
    return ToolRepository(components=[notus, this_component()])


def _model_card(material: Material) -> dict[str, Any]:
    """Return CycloneDX's model card, of what artifacts say."""
    assert material.config is not None
    science, text = material.recipe.science, [{"format": "text"}]
    parameters: dict[str, Any] = {"task": "text-generation", "inputs": text, "outputs": text}
    parameters["architectureFamily"] = material.config["model_type"]
    if architectures := material.config.get("architectures"):
        parameters["modelArchitecture"] = architectures[0]
    if material.data is not None:  # preference pairs are labelled; no reward model, nothing sampled
        parameters |= {"approach": {"type": "supervised"}, "datasets": [{"ref": "data"}]}
    card: dict[str, Any] = {"modelParameters": parameters}
    if (metrics := material.metrics) is not None:
        after = metrics["after"]
        card["quantitativeAnalysis"] = {
            "performanceMetrics": [
                {"type": said, "value": str(after[name]), "slice": f"{after['pairs']} held-out pairs"}
                for name, said in METRICS.items()
            ]
        }
        card["considerations"] = {"technicalLimitations": _limitations(material.recipe)}
        keys = ("beta", "learning_rate", "lora_alpha", "lora_r", "loss_type", "seed")
        shown = {f"notus:science:{key}": str(getattr(science, key)) for key in keys}
        card["properties"] = _plain(_properties(shown | {"notus:steps": str(metrics["steps"])}))
    return card


def _limitations(recipe: Recipe) -> list[str]:
    science, release = recipe.science, recipe.release
    return [
        f"Tuned on pairs of at most {science.max_length} tokens, {science.max_prompt_length} of them the prompt's; "
        "what was longer was cut.",
        f"Tuned for these languages: {', '.join(release.language)}.",
        "The figures are of held-out pairs of the data that it was tuned on, and say nothing of any other.",
    ]


def _contents(source: Source) -> list[dict[str, Any]]:
    """Return the data of a data component: where it is if it is the Hub's, and each file's hash."""
    hashes = _plain(_properties({f"sha256:{name}": digest for name, digest in sorted(source.sha256.items())}))
    place = {"url": source.uri} if source.from_hub else {}
    return [{"type": "dataset", "name": source.name, "contents": {**place, "properties": hashes}}]


def _plain(properties: Iterable["Property"]) -> list[dict[str, str]]:
    return [{"name": one.name, "value": one.value or ""} for one in properties]
