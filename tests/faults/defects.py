"""Ways to publish wrongly, planted in a client: the harness has to notice every one."""

from collections.abc import Callable
from typing import Any

import publish.readback
import publish.release
import publish.retry
import publish.tags

# Modules whose names are set to something else: any of theirs, of any type.
release: Any = publish.release
tags: Any = publish.tags
readback: Any = publish.readback
retry: Any = publish.retry


def tags_before_reading_back() -> None:
    read = release._read_all_back

    def tagged_first(run: Any, hub: Any, repos: Any, commits: Any, load: Any) -> Any:
        for repo in tags.in_order(repos):
            tags.tag(hub, repo, run.recipe.release.version, commits[repo.kind])
        return read(run, hub, repos, commits, load)

    release._read_all_back = tagged_first


def does_not_compare_what_comes_back() -> None:
    download = readback._download

    def trusted(hub: Any, cache: Any, kind: Any, repo: Any, name: str, **options: Any) -> str:
        download(hub, cache, kind, repo, name, **options)
        return str(repo.hashes[name].sha256)

    readback._download = trusted


def does_not_compare_trees() -> None:
    """Whoever finds a tag takes it for their own."""
    tags.differing = lambda released, remote: []


def moves_a_tag() -> None:
    def create(hub: Any, repo: Any, name: str, commit: str) -> str:
        if name in tags._tags(hub, repo):
            hub.ask("removing", lambda: hub.api.delete_tag(repo.repo_id, tag=name, repo_type=repo.type))
        hub.ask(
            "tagging",
            lambda: hub.api.create_tag(repo.repo_id, tag=name, revision=commit, repo_type=repo.type),
            found=lambda: tags._tags(hub, repo).get(name),
        )
        return commit

    tags._create = create


def records_before_tagging() -> None:
    read = release._read_all_back

    def recorded(run: Any, hub: Any, repos: Any, commits: Any, load: Any) -> Any:
        found = read(run, hub, repos, commits, load)
        release._record(run, release._release(run, repos, commits, "remote"))
        return found

    release._read_all_back = recorded


def pushes_one_tags_one() -> None:
    """Each repository is tagged as soon as it is pushed."""
    push = release.push

    def tagged(hub: Any, plan: Any, recipe: Any, refuse: Any) -> str:
        commit = push(hub, plan, recipe, refuse)
        return str(tags.tag(hub, plan.repo, recipe.release.version, commit))

    release.push = tagged


def leaves_its_cache() -> None:
    readback.shutil = _NothingRemoved


class _NothingRemoved:
    @staticmethod
    def rmtree(*_: object, **__: object) -> None:
        pass


def is_impatient() -> None:
    retry.ATTEMPTS = 1


def does_not_wait_as_asked() -> None:
    retry._asked = lambda response: None


def gives_up_with_a_traceback() -> None:
    retry.GaveUpError = RuntimeError


def counts_a_full_disk_as_a_bug() -> None:
    readback.UserError = RuntimeError


DEFECTS: dict[str, Callable[[], object]] = {
    defect.__name__: defect
    for defect in (
        tags_before_reading_back,
        does_not_compare_what_comes_back,
        does_not_compare_trees,
        moves_a_tag,
        records_before_tagging,
        pushes_one_tags_one,
        leaves_its_cache,
        is_impatient,
        does_not_wait_as_asked,
        gives_up_with_a_traceback,
        counts_a_full_disk_as_a_bug,
    )
}
