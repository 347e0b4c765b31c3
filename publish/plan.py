"""What a release would do: what each repository has, what it lacks, what would go; all of it only looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from publish.contents import SBOM, SIGNATURE, STATEMENT, FileHash, Repo
from publish.retry import PatientHub
from recipe.errors import UserError
from recipe.progress import Reporter

KEPT = {".gitattributes"}  # the Hub's own file
FOLLOWS = (SIGNATURE, STATEMENT, SBOM)  # differ if any other file does
LISTED = 20  # files of a repository that are shown one by one; the rest is summed up

Remote = Mapping[str, tuple[str, int]]
"""sha256 (large files) or git blob id, and size (bytes), of each file of a repository by its path."""


class TakenError(UserError):
    """The version's tag is on other content.

    Args:
        said: Where, and what differs.
        follows: Whether only that differs which does so because another repository's files do.
    """

    def __init__(self, said: str, *, follows: bool = False) -> None:
        super().__init__(said)
        self.follows = follows


@dataclass(frozen=True)
class RepoPlan:
    """One repository of a release, and what the Hub has of it.

    Attributes:
        repo: What is released.
        head: Commit id of main; None where there is no repository.
        remote: Files of the tag's commit if there is the tag, else of the head.
        tagged: Commit id that the version's tag is on, with this content; None without the tag.
    """

    repo: Repo
    head: str | None
    remote: Remote
    tagged: str | None

    @property
    def wrong(self) -> list[str]:
        """Paths, sorted, at which the Hub has not what the release has."""
        return differing(self.repo.hashes, self.remote)

    @property
    def there(self) -> str | None:
        """The commit that has exactly this release's files; None where one has to be made."""
        return self.tagged or (self.head if not self.wrong else None)

    @property
    def states(self) -> dict[str, str]:
        """`same`, `changed`, `new` or `stale` (to be deleted) by path, sorted."""
        wrong, files = set(self.wrong), self.repo.hashes
        found = {
            path: "same" if path not in wrong else "changed" if path in self.remote else "new"
            for path in files
        }
        return dict(sorted((found | {path: "stale" for path in self.remote if path not in files}).items()))

    @property
    def upload_bytes(self) -> int:
        """Bytes of the files that are changed or new."""
        return sum(self.repo.hashes[path].size for path in self.wrong if path in self.repo.hashes)

    @property
    def does(self) -> str:
        """What is to be done, in words."""
        if self.tagged:
            return "nothing: tagged"
        todo = [] if self.there else ["create, commit" if self.head is None else "commit"]
        return ", ".join([*todo, "tag"])


def plan_repositories(hub: PatientHub, repos: Sequence[Repo], version: str) -> list[RepoPlan]:
    """Look at what the Hub has of each repository.

    Raises:
        TakenError: The version's tag exists on other content.
        UserError: The Hub can't be reached, or refuses.
    """
    plans, taken = [], []
    for repo in repos:
        try:
            plans.append(plan_repository(hub, repo, version))
        except TakenError as error:
            taken.append(error)
    if taken:
        raise min(taken, key=lambda error: error.follows)
    return plans


def plan_repository(hub: PatientHub, repo: Repo, version: str) -> RepoPlan:
    """Look at what the Hub has of one repository; errors as for all."""
    try:
        head, tags = refs(hub, repo)
    except UserError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            return RepoPlan(repo, None, {}, None)
        raise
    tagged = tags.get(version)
    at = tagged or head
    plan = RepoPlan(repo, head, remote_files(hub, repo, at) if at else {}, tagged)
    if tagged and (wrong := sorted(plan.wrong, key=lambda path: (path in FOLLOWS, path))):
        raise TakenError(
            f"{repo.repo_id}: the tag {version} exists on other content ({wrong[0]}"
            f"{f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''}); publish under another with --tag",
            follows=wrong[0] in FOLLOWS,
        )
    return plan


def refs(hub: PatientHub, repo: Repo) -> tuple[str | None, dict[str, str]]:
    """Return the commit id of main, and that of each tag by its name.

    Raises:
        UserError: No such repository (its cause is the client's), or the Hub can't be reached.
    """
    found = hub.ask(
        f"looking at {repo.repo_id}", lambda: hub.api.list_repo_refs(repo.repo_id, repo_type=repo.type)
    )
    heads = {ref.name: ref.target_commit for ref in found.branches}
    return heads.get(constants.DEFAULT_REVISION), {ref.name: ref.target_commit for ref in found.tags}


def remote_files(hub: PatientHub, repo: Repo, revision: str) -> Remote:
    """Return what a repository has at a revision, but for the Hub's own file."""

    def listed() -> Remote:
        found = {}
        entries = hub.api.list_repo_tree(repo.repo_id, revision=revision, recursive=True, repo_type=repo.type)
        for entry in entries:
            if isinstance(entry, RepoFile) and entry.path not in KEPT:
                found[entry.path] = (entry.lfs.sha256 if entry.lfs else entry.blob_id, entry.size)
        return found

    return hub.ask(f"listing {repo.repo_id}", listed)


def differing(released: Mapping[str, FileHash], remote: Remote) -> list[str]:
    """Return the paths, sorted, at which the Hub has not what the release has."""
    wrong = set(remote) - set(released)
    for path, facts in released.items():
        if remote.get(path) not in {(facts.sha256, facts.size), (facts.blob_id, facts.size)}:
            wrong.add(path)
    return sorted(wrong)


def show_plan(plans: Sequence[RepoPlan], version: str, reporter: Reporter) -> dict[str, Any]:
    """Print what a release would do, and return it."""
    for plan in plans:
        reporter.head(f"{plan.repo.repo_id} ({plan.repo.type}): {plan.does}")
        states = plan.states
        shown = sorted(states, key=lambda path: (states[path] == "same", path))
        reporter.table(
            ("file", "bytes", "sha256", "on the Hub"),
            [
                (path, f"{facts.size:,}" if facts else "", facts.sha256[:16] if facts else "", states[path])
                for path in shown[:LISTED]
                for facts in [plan.repo.hashes.get(path)]
            ],
        )
        if rest := shown[LISTED:]:
            counts = {
                state: sum(states[path] == state for path in rest) for state in dict.fromkeys(states.values())
            }
            size = sum(plan.repo.hashes[path].size for path in rest if path in plan.repo.hashes)
            said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
            reporter.say(f"  and {len(rest)} more ({said}; {size:,} bytes); --json lists all")
    reporter.head(f"release {version}, at {constants.ENDPOINT}")
    reporter.table(
        ("repository", "files", "MB", "MB to upload", "head", "to do"),
        [
            (
                plan.repo.repo_id,
                len(plan.repo.files),
                f"{plan.repo.size / 1e6:,.2f}",
                f"{plan.upload_bytes / 1e6:,.2f}",
                (plan.head or "none")[:12],
                plan.does,
            )
            for plan in plans
        ],
    )
    return {
        "version": version,
        "endpoint": constants.ENDPOINT,
        "upload_bytes": sum(plan.upload_bytes for plan in plans),
        "repositories": {plan.repo.kind: _as_json(plan) for plan in plans},
    }


def _as_json(plan: RepoPlan) -> dict[str, Any]:
    hashes = plan.repo.hashes
    return {
        "repo_id": plan.repo.repo_id,
        "repo_type": plan.repo.type,
        "head": plan.head,
        "tagged": plan.tagged,
        "does": plan.does,
        "upload_bytes": plan.upload_bytes,
        "files": {
            path: {"state": state}
            | ({"sha256": hashes[path].sha256, "size": hashes[path].size} if path in hashes else {})
            for path, state in plan.states.items()
        },
    }
