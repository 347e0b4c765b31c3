"""Tags, last: on commit ids that were read back, never moved, in an order that makes the first one decide."""

from collections.abc import Mapping, Sequence

from publish.contents import Repo
from publish.plan import TakenError, differing, refs, remote_files
from publish.retry import PatientHub, RefusedError

# The adapter is part of every release: of those who publish the same version at once, who tags it goes on.
ORDER = ("adapter", "merged", "data", "base")
EXISTS = 409  # HTTP's


def in_order(repos: Sequence[Repo]) -> list[Repo]:
    """Return the repositories in the order in which they are tagged."""
    return sorted(repos, key=lambda repo: ORDER.index(repo.kind))


def tag(hub: PatientHub, repo: Repo, version: str, commit: str) -> str:
    """Put the version's tag on a commit; return the commit that has it.

    That is another one if somebody has tagged the same content.

    Raises:
        TakenError: The tag is on other content.
    """
    there = _create(hub, repo, version, commit)
    if there != commit and (wrong := differing(repo.hashes, remote_files(hub, repo, there))):
        raise TakenError(
            f"{repo.repo_id}: somebody else has put the tag {version} on other content ({there[:12]}: {wrong[0]}, ...) "
            "meanwhile; publish under another with --tag"
        )
    return there


def tag_content(hub: PatientHub, repo: Repo, name: str, commit: str, own: set[str]) -> None:
    """Put the tag that is named after the base's content where it is not yet; the adapter's configuration names it.

    `own` are the paths that make up that content: a card may have changed since.

    Raises:
        TakenError: The tag is there, on other content.
    """
    there = _create(hub, repo, name, commit)
    if there == commit:
        return
    if wrong := set(differing(repo.hashes, remote_files(hub, repo, there))) & own:
        raise TakenError(f"{repo.repo_id}: the tag {name} has other content ({min(wrong)}); remove that tag")


def _create(hub: PatientHub, repo: Repo, name: str, commit: str) -> str:
    """Return the commit that a tag is on, put there now if it is not yet."""

    def there() -> str | None:
        return _tags(hub, repo).get(name)

    def create() -> str:
        hub.api.create_tag(repo.repo_id, tag=name, revision=commit, repo_type=repo.type)
        return commit

    if (at := there()) is not None:
        return at
    try:
        return hub.ask(f"tagging {repo.repo_id}", create, found=there)
    except RefusedError as error:
        if error.status == EXISTS and (at := there()) is not None:
            return at
        raise


def _tags(hub: PatientHub, repo: Repo) -> Mapping[str, str]:
    return refs(hub, repo)[1]
