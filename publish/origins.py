"""Where a run's files come from, by its artifacts: what was read, when, by which code, in which image."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from modelcard.facts.missing import missing
from publish.data import DATA
from recipe.disk import read_json
from recipe.run import Run
from recipe.schema import canonical_sha256, is_commit

PROVENANCE = "the provenance"
# The stages that make a repository's own files, in order; the card's are written by the stage `card`.
STAGES_OF = {
    "base": ("fetch",),
    DATA: ("curate", "dataset"),
    "adapter": ("train",),
    "merged": ("train", "merge"),
}


@dataclass(frozen=True)
class Source:
    """A base or data set that was read: its public name, its Hub commit or content, and each file's sha256."""

    name: str
    revision: str | None
    uri: str
    from_hub: bool
    sha256: Mapping[str, str]

    @property
    def content_sha256(self) -> str:
        """One sha256 over the names and hashes of all files."""
        return canonical_sha256(dict(self.sha256))


def base_of(inputs: Mapping[str, Any]) -> Source:
    """Return the base, by the run's `inputs.json`."""
    return source_of("base", "models", inputs["base"])


def data_of(inputs: Mapping[str, Any]) -> Source:
    """Return the data, by the run's `inputs.json`."""
    return source_of("data", "datasets", inputs["data"])


def source_of(what: str, hub_kind: str, facts: Mapping[str, Any]) -> Source:
    """Return one of the sources of `inputs.json`; what is local is named by its last name, as it is there."""
    name, revision, from_hub = facts["name"], facts["revision"], facts["source"] == "hub"
    uri = f"hf://{hub_kind}/{name}@{revision}" if from_hub else f"urn:notus:{what}:{quote(name)}"
    return Source(name, revision, uri, from_hub, facts["sha256"])


def times_of(run: Run, kind: str) -> tuple[datetime.datetime, datetime.datetime]:
    """Return when the first stage that makes a repository's files began, and when the last one was done (seconds)."""
    entries = [entry_of(run, stage) for stage in STAGES_OF[kind]]
    first, last = (
        datetime.datetime.strptime(entry["started"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
        for entry in (entries[0], entries[-1])
    )
    return first, last + datetime.timedelta(seconds=round(entries[-1]["seconds"]))


def commits_of(run: Run, kind: str) -> list[tuple[str, bool | None]]:
    """Return the commits that the code of the stages was at, card's included, and whether files were as committed."""
    found = []
    for stage in (*STAGES_OF[kind], "card"):
        entry = run.done(stage) or {}
        code = entry.get("code") or {"commit": (entry.get("image") or {}).get("revision"), "clean": None}
        if code["commit"] and is_commit(code["commit"]):
            found.append((code["commit"], code["clean"]))
    return found


def image_digest(entry: Mapping[str, Any]) -> str | None:
    """Return the image that a stage ran in, `REPOSITORY@sha256:HEX` or, built where it ran, `sha256:HEX`; or None."""
    digest = (entry.get("image") or {}).get("digest")
    return str(digest) if digest and "sha256:" in digest else None


def entry_of(run: Run, stage: str) -> dict[str, Any]:
    """Return the manifest's entry of a stage; one that was not done raises."""
    entry = run.done(stage)
    if entry is None:
        raise missing(f"the stage {stage}", needs=PROVENANCE)
    return entry


def made_sha256(run: Run, name: str) -> str:
    """Return the sha256 by which the manifest knows what a stage made."""
    for entry in run.manifest["stages"].values():
        if name in entry["outputs"]:
            return str(entry["outputs"][name]["sha256"])
    raise missing(name, needs=PROVENANCE)


def read(run: Run, *parts: str) -> Any:
    """Return a JSON file of the run; one that is not there raises."""
    try:
        return read_json(run.path(*parts))
    except FileNotFoundError as error:
        raise missing("/".join(parts), needs=PROVENANCE) from error
