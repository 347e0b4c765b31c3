"""`provenance.json`: an in-toto statement, with SLSA's provenance as its predicate, of which file was made of what."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from google.protobuf.json_format import ParseDict, ParseError
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import (
    Provenance,
)
from in_toto_attestation.v1.statement import STATEMENT_TYPE_URI, Statement
from in_toto_attestation.v1.statement_pb2 import (
    Statement as StatementMessage,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from publish.checks.folder import (
    MOST_FILES,
    BadFileError,
    Fault,
    Folder,
    is_plain_name,
)
from publish.contents import BUILD_TYPE, PREDICATE_TYPE, SIGNATURE, STATEMENT

LARGEST = 8 << 20  # bytes
ON_THE_HUB = re.compile(r"hf://(?:models|datasets)/(?P<id>[^@]+)@(?P<revision>[^@/]+)")
OF_OURS = re.compile(r"urn:notus:(?:base|data):(?P<id>.+)")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hex = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]
Name = Annotated[str, Field(min_length=1, max_length=512)]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, strict=True)


class Dependency(_Part):
    """What a release was made of; `uri` and `digest` say which."""

    name: Name
    uri: str = ""
    digest: dict[str, Hex] = {}

    def where(self) -> tuple[str, str | None] | None:
        """Return its name and, where it is on the Hub, its revision; None if the uri is of no known kind."""
        if found := ON_THE_HUB.fullmatch(self.uri):
            return found["id"], found["revision"]
        return (unquote(found["id"]), None) if (found := OF_OURS.fullmatch(self.uri)) else None


class _Subject(_Part):
    name: Name
    digest: dict[str, Hex]


class RecipeHashes(_Part):
    """The recipe's name, the hash of its science, and the sha256 of the file that is published."""

    name: Name
    science_sha256: Sha256 = Field(alias="science_sha256")
    sha256: Sha256


class _External(_Part):
    repository: Name
    kind: Literal["base", "data", "adapter", "merged"]
    version: Name
    recipe: RecipeHashes


class _Build(_Part):
    build_type: str
    external_parameters: _External
    resolved_dependencies: list[Dependency]


class _Predicate(_Part):
    build_definition: _Build
    run_details: dict[str, Any]


class _Statement(_Part):
    subject: list[_Subject] = Field(min_length=1, max_length=MOST_FILES)
    predicate: _Predicate


@dataclass(frozen=True)
class Stated:
    """What a statement says: of which repository and version, the files' sha256 by path; base and data."""

    repository: str
    kind: str
    version: str
    recipe: RecipeHashes
    files: Mapping[str, str]
    made_of: Mapping[str, Dependency]


def read_statement(folder: Folder) -> Stated:
    """Return what `provenance.json` says.

    Raises:
        BadFileError: It is missing, or no statement that Notus makes.
    """
    if STATEMENT not in folder.files:
        raise BadFileError(STATEMENT, "missing; a release of Notus has one")
    raw = folder.json_object(STATEMENT, LARGEST)
    if raw.get("_type") != STATEMENT_TYPE_URI:
        raise BadFileError(STATEMENT, f"its _type is not {STATEMENT_TYPE_URI}")
    if raw.get("predicateType") != PREDICATE_TYPE:
        raise BadFileError(STATEMENT, f"its predicateType is not {PREDICATE_TYPE}")
    try:
        message = ParseDict(raw, StatementMessage(), ignore_unknown_fields=True)
        Statement.copy_from_pb(message).validate()
        ParseDict(raw["predicate"], Provenance(), ignore_unknown_fields=True)
        stated = _Statement.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadFileError(STATEMENT, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (ParseError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFileError(STATEMENT, f"not an in-toto statement ({error})") from None
    build = stated.predicate.build_definition
    if build.build_type != BUILD_TYPE:
        raise BadFileError(STATEMENT, f"its buildType is {build.build_type!r}, not {BUILD_TYPE}")
    external = build.external_parameters
    return Stated(
        external.repository,
        external.kind,
        external.version,
        external.recipe,
        _files(stated.subject),
        _sources(build.resolved_dependencies),
    )


def statement_faults(
    stated: Stated, folder: Folder, repo_id: str | None, versions: Sequence[str] | None, repo_type: str | None
) -> Iterator[Fault]:
    """Give what a statement says of another repository, kind or version than this, or does not say."""
    if repo_id is not None and stated.repository != repo_id:
        yield Fault(f"it is of {stated.repository!r}, not of {repo_id}", STATEMENT)
    if versions is not None and stated.version not in versions:
        yield Fault(f"it is of version {stated.version!r}, not of {' or '.join(versions)}", STATEMENT)
    if stated.kind not in (kinds := _kinds(folder, repo_type)):
        yield Fault(f"it is of kind {stated.kind!r}; these are files of kind {' or '.join(kinds)}", STATEMENT)
    needed = {"base": ("base",), "data": ("data",)}.get(stated.kind, ("base", "data"))
    for name in needed:
        if name not in stated.made_of:
            yield Fault(f"it does not name the {name}", STATEMENT)
    for name in ("base", "data"):
        one = stated.made_of.get(name)
        if one is not None and one.where() is None:
            yield Fault(f"the {name}'s uri {one.uri!r} is neither hf://...@REVISION nor urn:notus", STATEMENT)
        if one is not None and not one.digest:
            yield Fault(f"it names the {name} without a digest", STATEMENT)


def hash_faults(stated: Stated, folder: Folder) -> Iterator[Fault]:
    """Give the files whose sha256 is not the stated one, that are missing, or that are not named."""
    ours = set(folder.files) - {STATEMENT, SIGNATURE}
    for name in sorted(ours | set(stated.files)):
        if name not in stated.files:
            yield Fault("not named in provenance.json", name)
        elif name not in ours:
            yield Fault("named in provenance.json, and missing", name)
        elif (found := folder.hash(name).sha256) != stated.files[name]:
            yield Fault(f"sha256 is {found[:12]}..., provenance.json says {stated.files[name][:12]}...", name)


def _files(subjects: list[_Subject]) -> dict[str, str]:
    files: dict[str, str] = {}
    for subject in subjects:
        if not is_plain_name(subject.name) or subject.name in {STATEMENT, SIGNATURE}:
            raise BadFileError(STATEMENT, f"it names the file {subject.name!r}, which no release has")
        if subject.name in files:
            raise BadFileError(STATEMENT, f"it names {subject.name!r} twice")
        if len(subject.digest.get("sha256", "")) != 64:
            raise BadFileError(STATEMENT, f"it has no sha256 of {subject.name!r}")
        files[subject.name] = subject.digest["sha256"]
    return files


def _sources(every: list[Dependency]) -> dict[str, Dependency]:
    """Return base and data; there is one of each, where commits, images and files may be several."""
    found: dict[str, Dependency] = {}
    for one in every:
        if one.name in found:
            raise BadFileError(STATEMENT, f"it names the {one.name} twice")
        if one.name in {"base", "data"}:
            found[one.name] = one
    return found


def _kinds(folder: Folder, repo_type: str | None) -> tuple[str, ...]:
    if "adapter_config.json" in folder.files:
        return ("adapter",)
    if repo_type == "model" or (repo_type is None and "config.json" in folder.files):
        return ("merged", "base")
    return ("data",)
