"""A run becomes a release: plan, push, read back, tag.

Each repository gets one commit, parented on the head that was planned against, with stale files deleted in
it. Only when every file was read back from the Hub, and the logits with it, are the tags made, on the commit
ids that came back; only then is `release.json` written.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import LocalTokenNotFoundError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from publish.contents import FileHash, Repo, own_files, repositories
from publish.data import refuse_no_repository_name, refuse_unpublishable
from publish.readback import read_back
from recipe.disk import read_json, refuse_full_disk, write_json
from recipe.errors import UserError
from recipe.fetch import load_inputs
from recipe.hub import hub_errors
from recipe.pin import refuse_unpinned
from recipe.progress import Reporter
from recipe.run import Run
from recipe.schema import Recipe

KEPT = {".gitattributes"}  # the Hub's own file


def publish(run: Run, reporter: Reporter, *, hub: str, with_data: bool = False) -> dict[str, Any]:
    """Publish a run whose card is done; a release that is there already is left alone.

    Args:
        run: The run folder; its recipe names the repositories and the version.
        reporter: Says what happens.
        hub: What `release.json` calls the Hub.
        with_data: Whether the run's data set is part of the release.

    Returns:
        What `release.json` holds, and whether anything was `published` now.

    Raises:
        UserError: An unpinned recipe, a base that nobody could load, a token that may not write, a tag that
            exists on other content, a Hub that can't be reached.
    """
    user = preflight(run.recipe, with_data=with_data)
    api, version = HfApi(), run.recipe.release.version
    repos = repositories(run, with_data=with_data)
    commits = {repo.kind: _tagged(api, repo, version) for repo in repos}
    if all(commits.values()):
        reporter.say(f"  {version} is on the Hub already, with these files: nothing to do")
        there = _release(run, repos, {kind: str(commit) for kind, commit in commits.items()}, hub)
        if not _recorded(run, there):  # killed between the last tag and the record
            write_json(run.path("release.json"), there)
        return there | {"published": False}
    reporter.say(f"  as {user}, to {constants.ENDPOINT}")
    refuse_full_disk({run.folder: sum(repo.size for repo in repos)})  # read back beside the run
    pushed: dict[str, str] = {}
    base_revision = load_inputs(run)["base"]["revision"]
    for repo in repos:
        pushed[repo.kind] = commits[repo.kind] or _push(api, repo, run, reporter)
        _compare(api, repo, pushed[repo.kind])
        if repo.kind == "base":
            _tag_content(api, repo, base_revision, pushed["base"], own_files(run, "base"))
    back = read_back(run, {repo.kind: (repo.repo_id, pushed[repo.kind]) for repo in repos})
    for repo in repos:
        if wrong := changed(repo.hashes, back.sha256[repo.kind]):
            message = f"{repo.repo_id}: {', '.join(wrong)} came back with other bytes; nothing was tagged"
            raise RuntimeError(message)
    if back.problems:
        message = f"{'; '.join(back.problems)}; nothing was tagged"
        raise RuntimeError(message)
    reporter.say(
        f"  read back: every file's hash, and through PEFT the logits (largest difference {back.difference:.2g})"
        + "".join(f"; {rows:,} {split} pairs" for split, rows in back.rows.items())
    )
    for repo in repos:
        _tag(api, repo, version, pushed[repo.kind])
    release = _release(run, repos, pushed, hub)
    write_json(run.path("release.json"), release)
    reporter.table(
        ("repository", "files", "MB", "commit"),
        [(r.repo_id, len(r.files), f"{r.size / 1e6:,.2f}", pushed[r.kind][:12]) for r in repos],
    )
    return release | {"published": True}


def preflight(recipe: Recipe, *, with_data: bool = False) -> str:
    """Check, before hours of training, what would stop the release after them; return who publishes.

    Raises:
        UserError: The recipe can't be released, the Hub does not answer, or it refuses the token.
    """
    refuse_unreleasable(recipe, with_data=with_data)
    try:
        with hub_errors("who publishes"):
            me = HfApi().whoami()
    except LocalTokenNotFoundError:
        raise UserError(
            "who publishes: no token; set HF_TOKEN to one that may write, or use --hub local"
        ) from None
    if me.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise UserError(
            f"who publishes: {me['name']}'s token may only read; set HF_TOKEN to one that may write"
        )
    return str(me["name"])


def refuse_unreleasable(recipe: Recipe, *, with_data: bool = False) -> None:
    """Refuse what could not be rebuilt or loaded by anyone else.

    Raises:
        UserError: Names the key to set.
    """
    refuse_unpinned(recipe)
    if with_data:
        refuse_unpublishable(recipe)
    release = recipe.release
    names = {"hub_model_id": release.hub_model_id, "hub_merged_model_id": release.hub_merged_model_id}
    if recipe.science.base_source != "hub":
        if release.hub_base_model_id is None:
            raise UserError(
                f"{recipe.name}: no one else has the base, a local folder; set hub_base_model_id to publish it too"
            )
        names["hub_base_model_id"] = release.hub_base_model_id
    for key, name in names.items():
        refuse_no_repository_name(key, name)


def remote_hashes(
    api: HfApi, repo_id: str, revision: str, type_: str = "model"
) -> dict[str, tuple[str, int]]:
    """Return sha256 (large files) or git blob id, and size, of each file of a repository at `revision`."""
    found = {}
    for entry in api.list_repo_tree(repo_id, revision=revision, recursive=True, repo_type=type_):
        if isinstance(entry, RepoFile) and entry.path not in KEPT:
            found[entry.path] = (entry.lfs.sha256 if entry.lfs else entry.blob_id, entry.size)
    return found


def differing(released: Mapping[str, FileHash], remote: Mapping[str, tuple[str, int]]) -> list[str]:
    """Return the paths, sorted, at which the Hub has not what the release has."""
    wrong = set(remote) - set(released)
    for path, facts in released.items():
        if remote.get(path) not in {(facts.sha256, facts.size), (facts.blob_id, facts.size)}:
            wrong.add(path)
    return sorted(wrong)


def changed(released: Mapping[str, FileHash], downloaded: Mapping[str, str]) -> list[str]:
    """Return the paths, sorted, whose downloaded sha256 is not the released one, or that were not there."""
    return sorted(name for name, facts in released.items() if downloaded.get(name) != facts.sha256)


def _tagged(api: HfApi, repo: Repo, version: str) -> str | None:
    """Return the commit that `version` is at if it has this release's files, None if there is no such tag.

    Raises:
        UserError: The tag exists on other content.
    """
    try:
        with hub_errors(f"{repo.repo_id}"):
            tags = _tags(api, repo)
    except UserError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            return None
        raise
    if version not in tags:
        return None
    wrong = differing(repo.hashes, remote_hashes(api, repo.repo_id, tags[version], repo.type))
    if wrong:
        raise UserError(
            f"{repo.repo_id}: the tag {version} exists on other content ({len(wrong)} file(s): {wrong[0]}, ...); "
            "publish under another with --tag"
        )
    return tags[version]


def _tags(api: HfApi, repo: Repo) -> dict[str, str]:
    refs = api.list_repo_refs(repo.repo_id, repo_type=repo.type)
    return {ref.name: ref.target_commit for ref in refs.tags}


def _push(api: HfApi, repo: Repo, run: Run, reporter: Reporter) -> str:
    with hub_errors(f"publishing {repo.repo_id}"):
        api.create_repo(repo.repo_id, repo_type=repo.type, private=run.recipe.release.private, exist_ok=True)
        head = api.repo_info(repo.repo_id, repo_type=repo.type).sha
        assert head is not None
        remote = remote_hashes(api, repo.repo_id, head, repo.type)
        wrong = differing(repo.hashes, remote)
        if not wrong:
            return head
        added = [CommitOperationAdd(path, str(repo.files[path])) for path in wrong if path in repo.files]
        deleted = [CommitOperationDelete(path) for path in wrong if path not in repo.files]
        reporter.say(f"  {repo.repo_id}: {len(added)} file(s) to push, {len(deleted)} to delete")
        api.preupload_lfs_files(repo.repo_id, additions=added, repo_type=repo.type)
        commit = api.create_commit(
            repo.repo_id,
            repo_type=repo.type,
            operations=[*added, *deleted],
            commit_message=f"{run.recipe.release.model_name} {run.recipe.release.version}",
            parent_commit=head,
        )
    return commit.oid


def _compare(api: HfApi, repo: Repo, commit: str) -> None:
    with hub_errors(f"reading {repo.repo_id} back"):
        wrong = differing(repo.hashes, remote_hashes(api, repo.repo_id, commit, repo.type))
    if wrong:
        message = (
            f"{repo.repo_id} at {commit}: {', '.join(wrong)} did not come back as pushed; nothing was tagged"
        )
        raise RuntimeError(message)


def _tag(api: HfApi, repo: Repo, tag: str, commit: str) -> None:
    """Put `tag` on `commit`; one that is there already must be on it.

    Raises:
        UserError: The tag is on another commit.
    """
    with hub_errors(f"tagging {repo.repo_id}"):
        there = _tags(api, repo)
        if tag not in there:
            api.create_tag(repo.repo_id, tag=tag, revision=commit, repo_type=repo.type)
        elif there[tag] != commit:
            raise UserError(
                f"{repo.repo_id}: the tag {tag} is on {there[tag][:12]}, not on {commit[:12]}; use another --tag"
            )


def _tag_content(api: HfApi, repo: Repo, tag: str, commit: str, own: set[str]) -> None:
    """Put the tag that is named after the base's content where it is not yet; the adapter's configuration names it.

    `own` are the paths that make up that content: a card may have changed since.

    Raises:
        UserError: The tag is there, on other content.
    """
    with hub_errors(f"tagging {repo.repo_id}"):
        tags = {ref.name for ref in api.list_repo_refs(repo.repo_id).tags}
        if tag not in tags:
            api.create_tag(repo.repo_id, tag=tag, revision=commit)
        elif wrong := set(differing(repo.hashes, remote_hashes(api, repo.repo_id, tag))) & own:
            raise UserError(
                f"{repo.repo_id}: the tag {tag} has other content ({min(wrong)}); remove that tag"
            )


def _recorded(run: Run, release: Mapping[str, Any]) -> bool:
    path = run.path("release.json")
    return path.is_file() and read_json(path)["repositories"] == release["repositories"]


def _release(run: Run, repos: list[Repo], commits: Mapping[str, str], hub: str) -> dict[str, Any]:
    return {
        "version": run.recipe.release.version,
        "hub": hub,
        "recipe": run.recipe.name,
        "science_sha256": run.recipe.science_sha256,
        "published_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "repositories": {
            repo.kind: {
                "repo_id": repo.repo_id,
                "repo_type": repo.type,
                "commit": commits[repo.kind],
                "files": {name: asdict(facts) for name, facts in repo.hashes.items()},
            }
            for repo in repos
        },
    }
