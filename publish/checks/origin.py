"""What a release says of where it comes from: base, card, bill of materials and recipe, against the statement."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from publish.checks.folder import BadFileError, Fault, Folder
from publish.checks.statement import Stated
from publish.checks.weights import INDEX_SUFFIX, SUFFIX
from publish.contents import SBOM, STATEMENT
from publish.localhub.card_check import front_matter
from recipe.fetch import BASE_FILES
from recipe.schema import canonical_sha256

ADAPTER_CONFIG, CONFIG, CARD, RECIPE = "adapter_config.json", "config.json", "README.md", "recipe.yaml"
LARGEST_CARD, LARGEST_CONFIG, LARGEST_SBOM = 4 << 20, 4 << 20, 16 << 20  # bytes
# A commit, or the tag that is named after the content of a base.
PINNED = re.compile(r"[0-9a-f]{40}|sha256-[0-9a-f]{16,64}")
_REPO_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


def base_faults(folder: Folder, stated: Stated | None) -> Iterator[Fault]:
    """Give where an adapter's configuration does not pin the stated base, or a model's is none.

    Raises:
        BadFileError: It can't be read.
    """
    if ADAPTER_CONFIG not in folder.files:
        yield from _model_faults(folder)
        if stated is not None and stated.kind == "base":
            yield from _content_faults(folder, stated)
        return
    config = folder.json_object(ADAPTER_CONFIG, LARGEST_CONFIG)
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(name, str) or not _REPO_ID.fullmatch(name):
        yield Fault(f"base_model_name_or_path is {name!r}, not a repository", ADAPTER_CONFIG)
        return
    if not isinstance(revision, str) or not PINNED.fullmatch(revision):
        yield Fault(f"revision is {revision!r}, neither a commit nor a tag of content", ADAPTER_CONFIG)
        return
    base = stated.made_of.get("base") if stated else None
    if base is None or (where := base.where()) is None:
        return
    stated_name, stated_revision = where
    if name != stated_name:
        yield Fault(f"its base is {name}, provenance.json says {stated_name}", ADAPTER_CONFIG)
    if stated_revision is not None and revision != stated_revision:
        yield Fault(f"its revision is {revision}, provenance.json says {stated_revision}", ADAPTER_CONFIG)
    digest = base.digest.get("sha256") if revision.startswith("sha256-") else base.digest.get("gitCommit")
    if digest is None or not digest.startswith(revision.removeprefix("sha256-")):
        yield Fault(
            f"its revision is {revision}, provenance.json has the digest {base.digest}", ADAPTER_CONFIG
        )


def card_faults(folder: Folder, stated: Stated | None) -> Iterator[Fault]:
    """Give where the card can't be read, or names another base than the statement.

    Raises:
        BadFileError: It can't be read.
    """
    metadata = _metadata(folder)
    if stated is None or stated.kind not in {"adapter", "merged"}:
        return
    base = stated.made_of.get("base")
    if base is None or (where := base.where()) is None:
        return
    if metadata.get("base_model") != where[0]:
        yield Fault(
            f"base_model is {str(metadata.get('base_model'))[:100]!r}, provenance.json says {where[0]}", CARD
        )


def sbom_faults(folder: Folder, repo_id: str, versions: Sequence[str]) -> Iterator[Fault]:
    """Give why the bill of materials is none, or another release's.

    Raises:
        BadFileError: It can't be read.
    """
    from cyclonedx.model.bom import Bom

    raw = folder.json_object(SBOM, LARGEST_SBOM)
    if raw.get("bomFormat") != "CycloneDX":
        raise BadFileError(SBOM, "its bomFormat is not CycloneDX")
    try:
        bom = Bom.from_json(raw)  # type: ignore[attr-defined]
        about = bom.metadata.component
        names = about and {about.name, f"{about.group}/{about.name}"}
        named_version = about and about.version
    except Exception as error:  # what the parser makes of hostile JSON is anything
        raise BadFileError(
            SBOM, f"not a CycloneDX bill of materials ({type(error).__name__}: {error})"
        ) from None
    if names is None or repo_id not in names:
        yield Fault(f"it does not name {repo_id} as what it is of", SBOM)
    elif named_version is not None and named_version not in versions:
        yield Fault(f"it is of version {named_version}, not of {' or '.join(versions)}", SBOM)


def recipe_faults(folder: Folder, stated: Stated) -> Iterator[Fault]:
    """Give why `recipe.yaml` is not the stated one; only an adapter has it beside it.

    Raises:
        BadFileError: It is missing.
    """
    if RECIPE not in folder.files:
        raise BadFileError(RECIPE, "missing; an adapter is published with its recipe")
    if (found := folder.hash(RECIPE).sha256) != stated.recipe.sha256:
        yield Fault(
            f"sha256 is {found[:12]}..., the recipe's in provenance.json {stated.recipe.sha256[:12]}...",
            RECIPE,
        )


def _model_faults(folder: Folder) -> Iterator[Fault]:
    config = folder.json_object(CONFIG, LARGEST_CONFIG)
    if not isinstance(config.get("model_type"), str):
        yield Fault("names no model_type", CONFIG)
    name = config.get("_name_or_path")
    if name and (not isinstance(name, str) or not _REPO_ID.fullmatch(name)):
        yield Fault(f"_name_or_path is {str(name)[:100]!r}, of somebody's machine", CONFIG)


def _content_faults(folder: Folder, stated: Stated) -> Iterator[Fault]:
    """Give whether a base is not the stated one: its name and tag are made of this hash over its own files."""
    suffixes = (SUFFIX, INDEX_SUFFIX)
    own = {
        name: folder.hash(name).sha256
        for name in folder.files
        if name in BASE_FILES or name.endswith(suffixes)
    }
    base = stated.made_of.get("base")
    if base is not None and "sha256" in base.digest and base.digest["sha256"] != canonical_sha256(own):
        yield Fault("the base's digest is not of the files that are here", STATEMENT)


class _Plain(yaml.SafeLoader):
    """YAML as a card has it: no aliases, by which a few lines become a billion, and no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value]
        if len(keys) > len({str(key) for key in keys}):
            raise yaml.YAMLError("a key twice")
        return super().construct_mapping(node, deep)


def _metadata(folder: Folder) -> dict[str, Any]:
    """Return the metadata of the card.

    Raises:
        BadFileError: There is no card, or none in it.
    """
    front = front_matter(folder.text(CARD, LARGEST_CARD))
    if front is None or len(front) > 1 << 18:
        raise BadFileError(CARD, "has no metadata, or too much")
    try:
        metadata = yaml.load(front, _Plain)  # a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise BadFileError(CARD, f"metadata that is no YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(metadata, dict):
        raise BadFileError(CARD, "metadata that is no mapping")
    return metadata
