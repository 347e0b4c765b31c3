"""`notus verify`: whether the Hub still has what was released."""

from typing import Any

from huggingface_hub import HfApi

from publish.readback import read_back
from publish.release import remote_hashes
from recipe.errors import UserError
from recipe.hub import hub_errors
from recipe.progress import Reporter
from recipe.run import Run, read_json


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
    release, api, problems = read_json(path), HfApi(), []
    version = release["version"]
    for kind, repo in release["repositories"].items():
        with hub_errors(f"verifying {repo['repo_id']}"):
            tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo["repo_id"]).tags}
            if tags.get(version) != repo["commit"]:
                problems.append(
                    f"{kind}: tag {version} is at {tags.get(version)}, released at {repo['commit']}"
                )
                continue
            remote = remote_hashes(api, repo["repo_id"], version)
            problems += _file_problems(kind, repo, remote)
        reporter.say(f"  {repo['repo_id']} at {version}: {len(repo['files'])} files")
    found: dict[str, Any] = {"ok": not problems, "version": version, "problems": problems}
    if not problems:
        repos = {kind: (repo["repo_id"], version) for kind, repo in release["repositories"].items()}
        found["largest_logit_difference"] = read_back(run, repos)
        reporter.say(
            f"  logits from a clean cache: largest difference {found['largest_logit_difference']:.2g}"
        )
    for problem in problems:
        reporter.warn(problem)
    return found


def _file_problems(kind: str, repo: dict[str, Any], remote: dict[str, tuple[str, int]]) -> list[str]:
    problems = [f"{kind}: {name} is gone" for name in repo["files"] if name not in remote]
    problems += [f"{kind}: {name} was not released" for name in remote if name not in repo["files"]]
    for name, facts in repo["files"].items():
        if name in remote and remote[name] not in {
            (facts["sha256"], facts["size"]),
            (facts["blob_id"], facts["size"]),
        }:
            problems.append(f"{kind}: {name} has other bytes than were released")
    return problems
