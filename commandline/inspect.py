"""`notus verify REPO --revision TAG`: a published repository, from anywhere, without the run that it came from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commandline import online
from recipe.errors import UserError

if TYPE_CHECKING:
    from publish.download import Published
    from publish.inspect import Check
    from recipe.progress import Reporter

RESULTS = {True: "ok", False: "FAILED", None: "not checked"}


def inspect_repository(
    repo: str,
    revision: str | None,
    public_key: Path | None,
    hub: str | None,
    hub_root: Path,
    reporter: "Reporter",
    in_vain: Mapping[str, object],
) -> dict[str, Any]:
    """Download a repository at a revision, check it, and show what was found.

    Args:
        repo: `owner/name` or `datasets/owner/name`.
        revision: A tag or a commit.
        public_key: A PEM file to check the signature by.
        hub: `local` or `remote`, the default.
        hub_root: Where the embedded Hub lies.
        reporter: Says what is found.
        in_vain: What was given of the options that are of a run, and so of no use here.

    Returns:
        `ok`, the repository, `commit`, the `checks` and the `files` that do not match.

    Raises:
        UserError: No such repository, revision or key, or a Hub that can't be reached.
    """
    if revision is None:
        raise UserError(
            f"--public-key {public_key}: of use with --revision only; add it, and name a repository"
        )
    for option, given in in_vain.items():
        if given:
            raise UserError(
                f"{option}: --revision looks at what the Hub has, not at a run; leave one of them out"
            )
    if hub not in {None, "local", "remote"}:
        raise UserError(f"--hub {hub}: must be local or remote")
    if hub == "local" and not hub_root.is_dir():
        raise UserError(f"--hub-root {hub_root}: no embedded Hub lies there; name its folder")
    with online.hub_for_clients(hub or "remote", hub_root):
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # one of ours is over all files
        from publish.checks.signature import refuse_no_public_key
        from publish.download import downloaded, find
        from publish.inspect import inspect_folder
        from publish.retry import patient

        if public_key is not None:
            refuse_no_public_key(public_key)
        with patient(reporter) as patient_hub:
            found = find(patient_hub, repo, revision)
            reporter.head(f"verify: {found.repo_id} ({found.repo_type}) at {revision}")
            with downloaded(patient_hub, found) as (folder, came):
                checks = came + inspect_folder(
                    folder,
                    repo_id=found.repo_id,
                    revision=found.versions,
                    public_key=public_key,
                    repo_type=found.repo_type,
                )
    _show(found, checks, reporter)
    return {
        "ok": all(check.ok is not False for check in checks),
        "repository": found.repo_id,
        "type": found.repo_type,
        "revision": revision,
        "commit": found.commit,
        "checks": [vars(check) for check in checks],
        "files": _failed_files(checks),
    }


def _failed_files(checks: "list[Check]") -> list[str]:
    return sorted({check.file for check in checks if check.ok is False and check.file is not None})


def _show(found: "Published", checks: "list[Check]", reporter: "Reporter") -> None:
    from publish.checks.folder import printable

    rows = []
    for check in checks:
        said = check.said.removeprefix(f"{RESULTS[None]}: ")
        said = said if check.file is None else f"{check.file}: {said}"
        rows.append((check.name, RESULTS[check.ok], printable(said)))
    reporter.table(("check", "result", "what"), rows, right=False)
    failed = sorted({check.name for check in checks if check.ok is False})
    where = f"{found.repo_id} at {found.revision}"
    if failed:
        names = ", ".join(map(printable, _failed_files(checks) or failed))
        reporter.warn(f"{where} is not as it was released: {names}")
        return
    undone = [check.name for check in checks if check.ok is None]
    passed = len({check.name for check in checks if check.ok})
    reporter.say(
        f"\n  {where} is as it was released: {passed} checks passed"
        + (f", {len(undone)} not done ({', '.join(undone)})" if undone else "")
    )
