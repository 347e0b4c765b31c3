"""`notus verify`: whether the Hub still has what was released."""

from typing import Any

from huggingface_hub.errors import RepositoryNotFoundError

from publish.contents import FileHash, Repo
from publish.loading import load_in_a_process
from publish.plan import differing, refs, remote_files
from publish.readback import Released, read_back
from publish.retry import PatientHub, patient
from recipe.disk import read_json
from recipe.errors import UserError
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
    release: dict[str, Any] = read_json(path)
    with patient(reporter) as hub:
        found = _verify(run, hub, release)
    for problem in found["problems"]:
        reporter.warn(problem)
    return found


def _verify(run: Run, hub: PatientHub, release: dict[str, Any]) -> dict[str, Any]:
    version, problems = release["version"], []
    repos = {
        kind: Repo(
            kind, repo["repo_id"], {}, {name: FileHash(**facts) for name, facts in repo["files"].items()}
        )
        for kind, repo in release["repositories"].items()
    }
    commits = {kind: repo["commit"] for kind, repo in release["repositories"].items()}
    for kind, repo in repos.items():
        problems += _listing_problems(hub, repo, version, commits[kind])
        hub.reporter.say(f"  {repo.repo_id} at {version}: {len(repo.hashes)} files")
    found: dict[str, Any] = {"version": version}
    if not problems:
        released = {kind: Released(repo.repo_id, commits[kind], repo.hashes) for kind, repo in repos.items()}
        back = read_back(run, hub, released, load_in_a_process)
        problems += back.problems
        if back.differences:
            found["largest_logit_difference"] = back.difference
            hub.reporter.say(
                f"  every file's bytes, and logits from a clean cache: largest difference {back.difference:.2g}"
                + "".join(f"; {rows:,} {split} pairs" for split, rows in back.rows.items())
            )
    return found | {"ok": not problems, "problems": problems}


def _listing_problems(hub: PatientHub, repo: Repo, version: str, commit: str) -> list[str]:
    try:
        _, tags = refs(hub, repo)
    except UserError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            return [f"{repo.kind}: {repo.repo_id} is gone"]
        raise
    if tags.get(version) != commit:
        return [f"{repo.kind}: tag {version} is at {tags.get(version)}, released at {commit}"]
    wrong = differing(repo.hashes, remote_files(hub, repo, commit))
    return [f"{repo.kind}: {name} has other bytes than were released" for name in wrong]
