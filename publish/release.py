"""A run becomes a release: plan, push, read back, tag.

Each repository gets one commit, parented on the head that was planned against, with stale files deleted in
it. Only when every file was read back from the Hub, and the logits with it, are the tags made, on the commit
ids that came back; only then is `release.json` written. Whatever ends it in between, the next call goes on.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from huggingface_hub import constants
from huggingface_hub.errors import LocalTokenNotFoundError

from publish.collection import group
from publish.contents import KEYS, Repo, kinds, own_files, repositories
from publish.data import refuse_no_repository_name, refuse_unpublishable
from publish.guard import refuse_faulty_cards, refuse_other_base, refuse_unfit_files
from publish.loading import Load, load_in_a_process
from publish.plan import RepoPlan, TakenError, plan_repositories, show_plan
from publish.push import addition, push, refuse_other_listing, upload
from publish.readback import ReadBack, Released, read_back, room_on_disk
from publish.retry import PatientHub, patient
from publish.tags import in_order, tag, tag_content
from recipe.disk import read_json, refuse_full_disk, write_json
from recipe.errors import UserError
from recipe.fetch import load_inputs
from recipe.pin import refuse_unpinned
from recipe.progress import Reporter
from recipe.run import Run
from recipe.schema import Recipe

__all__ = ["plan_release", "preflight", "publish", "show_plan"]


@dataclass
class _Standing:
    """What is on the Hub by now: commit ids by repository, and the repositories that are tagged."""

    pushed: dict[str, str] = field(default_factory=dict)
    tagged: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        on_it = ", ".join(f"{repo} at {commit[:12]}" for repo, commit in self.pushed.items())
        tagged = f"tagged: {', '.join(self.tagged)}" if self.tagged else "nothing was tagged"
        return f"on the Hub now: {on_it or 'nothing of it'}; {tagged}"


def publish(
    run: Run,
    reporter: Reporter,
    *,
    hub: str,
    with_data: bool = False,
    force: bool = False,
    load: Load = load_in_a_process,
) -> dict[str, Any]:
    """Publish a run whose stages are done; a release that is there already is left alone.

    Args:
        run: The run folder; its recipe names the repositories and the version.
        reporter: Says what happens.
        hub: What `release.json` calls the Hub.
        with_data: Whether the run's data set is part of the release.
        force: Whether adapter and cards may replace those of another base.
        load: Loads what was downloaded, and says how far its logits are from the run's.

    Returns:
        What `release.json` holds, and whether anything was `published` now.

    Raises:
        UserError: An unpinned recipe, a base that nobody could load, a file that must not be published, a
            token that may not write, a tag that exists on other content, a Hub that can't be reached, or
            what came back is not what was pushed. It says what is on the Hub now, if anything was pushed.
    """
    with patient(reporter) as online:
        user = preflight(run.recipe, with_data=with_data, hub=online)
        refuse_unfit_files(run, with_data=with_data)
        version = run.recipe.release.version
        plans = plan_repositories(online, repositories(run, with_data=with_data), version)
        repos = [plan.repo for plan in plans]
        if all(plan.tagged for plan in plans):
            reporter.say(f"  {version} is on the Hub already, with these files: nothing to do")
            group(online.api, run.recipe, repos, reporter)
            there = _release(run, repos, {plan.repo.kind: str(plan.tagged) for plan in plans}, hub)
            if not _recorded(run, there):  # killed between the last tag and the record
                _record(run, there)
            return there | {"published": False}
        reporter.say(f"  as {user}, to {constants.ENDPOINT}")
        refuse_full_disk({run.folder: sum(repo.size for repo in repos)})  # read back beside the run
        with _told() as standing:
            commits = _push_all(run, online, plans, standing, force=force)
            back = _read_all_back(run, online, repos, commits, load)
            said = "".join(f"; {rows:,} {split} pairs" for split, rows in back.rows.items())
            reporter.say(
                "  read back: every file's hash, and through PEFT the logits "
                f"(largest difference {back.difference:.2g}){said}"
            )
            for repo in in_order(repos):
                commits[repo.kind] = tag(online, repo, version, commits[repo.kind])
                standing.tagged.append(repo.repo_id)
            release = _release(run, repos, commits, hub)
            group(online.api, run.recipe, repos, reporter)
            _record(run, release)
    reporter.table(
        ("repository", "files", "MB", "commit"),
        [(r.repo_id, len(r.files), f"{r.size / 1e6:,.2f}", commits[r.kind][:12]) for r in repos],
    )
    if hub == "remote":
        for repo in repos:
            reporter.say(f"  {_link(repo, version)}")
    return release | {"published": True}


def plan_release(run: Run, *, with_data: bool = False, reporter: Reporter | None = None) -> list[RepoPlan]:
    """Look at what publishing would do, in the order of the repositories; `show_plan` prints it.

    Needs no token that may write, and changes nothing.

    Raises:
        UserError: As for `publish`, as far as it can be known.
    """
    refuse_unreleasable(run.recipe, with_data=with_data)
    refuse_unfit_files(run, with_data=with_data)
    with patient(reporter or Reporter(quiet=True)) as hub:
        return plan_repositories(hub, repositories(run, with_data=with_data), run.recipe.release.version)


def preflight(recipe: Recipe, *, with_data: bool = False, hub: PatientHub | None = None) -> str:
    """Check, before hours of training, what would stop the release after them; return who publishes.

    Raises:
        UserError: The recipe can't be released, the Hub does not answer, or it refuses the token.
    """
    refuse_unreleasable(recipe, with_data=with_data)
    if hub is not None:
        return _who(hub, recipe, with_data=with_data)
    with patient(Reporter(quiet=True)) as online:
        return _who(online, recipe, with_data=with_data)


def _who(hub: PatientHub, recipe: Recipe, *, with_data: bool) -> str:
    try:
        me = hub.ask("who publishes", hub.api.whoami)
    except LocalTokenNotFoundError:
        raise UserError(
            "who publishes: no token; set HF_TOKEN to one that may write, or use --hub local"
        ) from None
    if me.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise UserError(
            f"who publishes: {me['name']}'s token may only read; set HF_TOKEN to one that may write"
        )
    # As the Hub compares them: without case.
    owned = {str(one["name"]).lower() for one in (me, *me.get("orgs", ()))}
    for kind, name in kinds(recipe, with_data=with_data).items():
        if name.partition("/")[0].lower() not in owned:
            raise UserError(
                f"{KEYS[kind]}: {me['name']} may not write to {name}; name a repository of {' or '.join(sorted(owned))}"
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
    if recipe.science.base_source != "hub" and recipe.release.hub_base_model_id is None:
        raise UserError(
            f"{recipe.name}: no one else has the base, a local folder; set hub_base_model_id to publish it too"
        )
    for kind, name in kinds(recipe, with_data=with_data).items():
        refuse_no_repository_name(KEYS[kind], name)


@contextmanager
def _told() -> Iterator[_Standing]:
    """Give what keeps account of what is on the Hub, and add it to the line that a mistake ends in."""
    standing = _Standing()
    try:
        yield standing
    except TakenError as error:  # the same command can't go on
        raise UserError(f"{error}; {standing}") from error
    except UserError as error:
        if not standing.pushed:
            raise
        raise UserError(f"{error}; {standing}; the same command goes on from there") from error


def _push_all(
    run: Run, hub: PatientHub, plans: list[RepoPlan], standing: _Standing, *, force: bool
) -> dict[str, str]:
    """Push what is not there yet; return the commit of each kind. Nothing is, before all of it may be."""

    def refuse(plan: RepoPlan) -> None:
        if not force:
            refuse_other_base(hub, plan)

    for plan in plans:
        refuse(plan)
    refuse_faulty_cards(hub, [plan.repo for plan in plans if not plan.there])
    commits = {}
    for plan in plans:
        commit = commits[plan.repo.kind] = push(hub, plan, run.recipe, refuse)
        standing.pushed[plan.repo.repo_id] = commit
        refuse_other_listing(hub, plan.repo, commit)
    return commits


def _read_all_back(
    run: Run, hub: PatientHub, repos: list[Repo], commits: Mapping[str, str], load: Load
) -> ReadBack:
    """Read every file back, and load the release; then tag the base by its content, as the adapter names it."""
    by_kind = {repo.kind: repo for repo in repos}

    def mend(kind: str, name: str) -> None:
        hub.reporter.warn(f"{by_kind[kind].repo_id}: {name} came back with other bytes; once more")
        upload(hub, by_kind[kind], [addition(by_kind[kind], name)])

    released = {kind: Released(repo.repo_id, commits[kind], repo.hashes) for kind, repo in by_kind.items()}
    back = read_back(run, hub, released, load, mend)
    if back.problems:
        raise UserError("; ".join(back.problems))
    if "base" in by_kind:
        revision = load_inputs(run)["base"]["revision"]
        tag_content(hub, by_kind["base"], revision, commits["base"], own_files(run, "base"))
    return back


def _record(run: Run, release: Mapping[str, Any]) -> None:
    with room_on_disk(run.folder, "release.json is written"):
        write_json(run.path("release.json"), release)


def _link(repo: Repo, version: str) -> str:
    kind = "datasets/" if repo.type == "dataset" else ""
    return f"{constants.ENDPOINT}/{kind}{repo.repo_id}/tree/{version}"


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
