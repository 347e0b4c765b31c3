"""`notus verify`: whether the Hub still has what was released."""

from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from publish.contents import FileHash
from publish.data import repo_type
from publish.readback import read_back
from publish.release import changed, differing, remote_hashes
from recipe.disk import read_json
from recipe.errors import UserError
from recipe.hub import hub_errors
from recipe.progress import Reporter
from recipe.run import Run


def verify(run: Run, reporter: Reporter) -> dict[str, Any]:
    """Compare the tags, every file and the logits of a release with `release.json`.

    Returns:
        `ok`, `problems` (one line each) and, if it could be loaded, `largest_logit_difference`.

    Raises:
        UserError: The run was never published, or the Hub can't be reached.
    """
    path = run.path("release.json")
    if not path.is_file():
        raise UserError(f"{run.folder}: not published yet (no release.json); run `notus publish` first")
    release, api = read_json(path), HfApi()
    version, problems = release["version"], []
    hashes = {
        kind: {name: FileHash(**facts) for name, facts in repo["files"].items()}
        for kind, repo in release["repositories"].items()
    }
    for kind, repo in release["repositories"].items():
        problems += _listing_problems(api, kind, repo, version, hashes[kind])
        reporter.say(f"  {repo['repo_id']} at {version}: {len(repo['files'])} files")
    found: dict[str, Any] = {"version": version}
    if not problems:
        back = read_back(
            run, {kind: (repo["repo_id"], version) for kind, repo in release["repositories"].items()}
        )
        for kind, files in hashes.items():
            problems += [
                f"{kind}: {name} comes with other bytes" for name in changed(files, back.sha256[kind])
            ]
        problems += back.problems
        found["largest_logit_difference"] = back.difference
        reporter.say(
            f"  every file's bytes, and logits from a clean cache: largest difference {back.difference:.2g}"
            + "".join(f"; {rows:,} {split} pairs" for split, rows in back.rows.items())
        )
    for problem in problems:
        reporter.warn(problem)
    return found | {"ok": not problems, "problems": problems}


def _listing_problems(
    api: HfApi, kind: str, repo: dict[str, Any], version: str, hashes: dict[str, FileHash]
) -> list[str]:
    repo_id = repo["repo_id"]
    try:
        with hub_errors(f"verifying {repo_id}"):
            tags = {
                ref.name: ref.target_commit
                for ref in api.list_repo_refs(repo_id, repo_type=repo_type(kind)).tags
            }
            if tags.get(version) != repo["commit"]:
                return [f"{kind}: tag {version} is at {tags.get(version)}, released at {repo['commit']}"]
            remote = remote_hashes(api, repo_id, version, repo_type(kind))
    except UserError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            return [f"{kind}: {repo_id} is gone"]
        raise
    return [f"{kind}: {name} has other bytes than were released" for name in differing(hashes, remote)]
