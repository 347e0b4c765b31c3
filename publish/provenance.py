"""Stage: where every published file comes from: an in-toto statement with a SLSA provenance, and a bill of materials.

One statement a repository, `provenance.json`. Its subjects are the files of the repository by sha256; its predicate
ties them to the recipe, to base and data, to the code and the image, and to the versions that made them. All of it is
read from the run: what the run does not know is left out, what it should have and has not raises.
"""

import datetime
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modelcard.dataset import stage as dataset
from modelcard.facts.missing import missing
from publish.contents import BUILD_TYPE, PREDICATE_TYPE, SBOM, STATEMENT, files_of, kinds
from publish.data import DATA
from publish.origins import (
    PROVENANCE,
    STAGES_OF,
    Source,
    base_of,
    commits_of,
    data_of,
    entry_of,
    image_digest,
    made_sha256,
    read,
    source_of,
    times_of,
)
from publish.sbom import Material, render
from recipe.disk import file_sha256, write_json
from recipe.progress import Reporter
from recipe.run import Run, Stage

NAME = "provenance"
# What the stages made that is not published: whoever has the run can tell by these that it is the one.
BYPRODUCTS = {
    "base": ("inputs/inputs.json",),
    DATA: ("inputs/inputs.json", "data/data.json"),
    "adapter": ("inputs/inputs.json", "data/data.json", "training/metrics.json"),
    "merged": ("inputs/inputs.json", "data/data.json", "training/metrics.json", "probe/probe.json"),
}
RECIPE = ("card", "adapter", "recipe.yaml")


def work(
    run: Run,
    out: Path,
    reporter: Reporter,  # noqa: ARG001 - every stage has one
    *,
    with_data: bool = False,
) -> dict[str, object]:
    """Write `provenance/KIND/provenance.json` and, before it, as it is one of its subjects, `sbom.cdx.json`."""
    counts = []
    for kind, repo_id in kinds(run.recipe, with_data=with_data).items():
        folder = out / NAME / kind
        folder.mkdir(parents=True)
        files = {name: file_sha256(path) for name, path in files_of(run, kind, beside=("card",)).items()}
        bill = render(material_of(run, kind, repo_id, files))
        write_json(folder / SBOM, bill)
        files[SBOM] = file_sha256(folder / SBOM)
        write_json(folder / STATEMENT, statement(run, kind, repo_id, files))
        counts.append(f"{kind} ({len(files)} files, {len(bill['components'])} components)")
    return {"statements": ", ".join(counts)}


def statement(run: Run, kind: str, repo_id: str, files: Mapping[str, str]) -> dict[str, Any]:
    """Return the statement of a repository as plain values.

    Args:
        run: The run; its stages up to `card` are done.
        kind: `base`, `data`, `adapter` or `merged`.
        repo_id: The repository.
        files: sha256 of every file that is published there, by its path; but of the statement and the signature.

    Raises:
        MissingFactError: An artifact is not there.
    """
    from google.protobuf.json_format import MessageToDict, ParseDict
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import (
        Provenance,
    )
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    predicate = _predicate(run, kind, repo_id)
    ParseDict(predicate, Provenance())  # knows SLSA's fields, and refuses another
    subjects = [ResourceDescriptor(name=name, digest={"sha256": files[name]}).pb for name in sorted(files)]
    made = Statement(subjects, PREDICATE_TYPE, predicate)
    made.validate()
    values: dict[str, Any] = MessageToDict(made.pb)
    return values


def material_of(run: Run, kind: str, repo_id: str, files: Mapping[str, str]) -> Material:
    """Return what the bill of materials of a repository says.

    Raises:
        MissingFactError: An artifact is not there.
    """
    inputs, trained = read(run, "inputs", "inputs.json"), kind in {"adapter", "merged"}
    environment = read(run, "training", "environment.json")
    return Material(
        kind=kind,
        repo_id=repo_id,
        recipe=run.recipe,
        base=None if kind == DATA else base_of(inputs),
        data=None if kind == "base" else data_of(inputs),
        config=None if kind == DATA else read(run, "merged", "config.json"),  # the base's, but for the dtype
        metrics=read(run, "training", "metrics.json") if trained else None,
        files=files,
        packages=environment["packages"],
        python=environment["python"],
        made=times_of(run, kind)[1],
    )


def _predicate(run: Run, kind: str, repo_id: str) -> dict[str, Any]:
    recipe, inputs = run.recipe, read(run, "inputs", "inputs.json")
    entries = [entry_of(run, stage) for stage in STAGES_OF[kind]]
    started, finished = times_of(run, kind)
    published = run.path(*RECIPE)
    if not published.is_file():
        raise missing("/".join(RECIPE), needs=PROVENANCE)
    byproducts = {name: made_sha256(run, name) for name in BYPRODUCTS[kind]}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "repository": repo_id,
                "kind": kind,
                "version": recipe.release.version,
                "recipe": {
                    "name": recipe.name,
                    "science_sha256": recipe.science_sha256,
                    "sha256": file_sha256(published),
                },
            },
            "internalParameters": {"versions": entries[0]["versions"], **_changed_code(run, kind)},
            "resolvedDependencies": [*_inputs(inputs, kind), *_code(run, kind), *_images(entries)],
        },
        "runDetails": {
            "builder": {"id": _builder(entries[-1]), "version": _notus(entries[-1])},
            "metadata": {"startedOn": _said(started), "finishedOn": _said(finished)},
            "byproducts": [{"name": name, "digest": {"sha256": sha}} for name, sha in byproducts.items()],
        },
    }


def _inputs(inputs: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return what the stages read that is not theirs: the base only, for its own repository; for pairs, no base."""
    found = []
    if kind != DATA:
        found.append(_dependency("base", base_of(inputs)))
    if kind != "base":
        found.append(_dependency("data", data_of(inputs)))
        for name, sha256 in sorted(inputs["files"].items()):  # of corrections, of benchmarks
            found.append(
                {"name": "file", "uri": f"urn:notus:file:{quote(name)}", "digest": {"sha256": sha256}}
            )
    tokenizer = inputs["tokenizer"]
    if "sha256" in tokenizer and kind in {"adapter", "merged"}:  # it is another than the base's
        found.append(_dependency("tokenizer", source_of("tokenizer", "models", tokenizer)))
    return found


def _dependency(name: str, source: Source) -> dict[str, Any]:
    digest = {"gitCommit": source.revision} if source.from_hub else {"sha256": source.content_sha256}
    return {"name": name, "uri": source.uri, "digest": digest}


def _code(run: Run, kind: str) -> list[dict[str, Any]]:
    """Return the commits that the code was at, unless it had been changed since."""
    commits = [commit for commit, clean in commits_of(run, kind) if clean is not False]
    return [{"name": "code", "digest": {"gitCommit": commit}} for commit in dict.fromkeys(commits)]


def _changed_code(run: Run, kind: str) -> dict[str, Any]:
    """Say so where files of the code were not as committed: no commit has them."""
    changed = [commit for commit, clean in commits_of(run, kind) if clean is False]
    return (
        {"code": [{"commit": commit, "clean": False} for commit in dict.fromkeys(changed)]} if changed else {}
    )


def _images(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    digests = [digest for entry in entries if (digest := image_digest(entry))]
    return [
        {"name": "image", "uri": _image_uri(digest), "digest": {"sha256": digest.rpartition("sha256:")[2]}}
        for digest in dict.fromkeys(digests)
    ]


def _image_uri(digest: str) -> str:
    return f"docker://{digest}" if "@" in digest else f"urn:notus:image:{digest}"  # built where it ran


def _builder(entry: Mapping[str, Any]) -> str:
    """Say what built it: the image, or an environment of this machine's."""
    if digest := image_digest(entry):
        return _image_uri(digest)
    return "urn:notus:image" if entry.get("image") else "urn:notus:venv"


def _notus(entry: Mapping[str, Any]) -> dict[str, str]:
    return {name: version for name, version in entry["versions"].items() if name == "notus"}


def _said(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


STAGE = Stage(
    name=NAME,
    does="where every file comes from: provenance and bill of materials",
    needs=("fetch", "curate", "train", "merge", "card"),
    outputs=(NAME,),
    reads=("science", "release"),
    work=work,
)
STAGE_WITH_DATA = replace(STAGE, needs=(*STAGE.needs, dataset.NAME), work=partial(work, with_data=True))
