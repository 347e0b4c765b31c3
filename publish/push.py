"""What a repository lacks goes up as one commit on the head that was looked at, or not at all."""

from collections.abc import Callable

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from publish.contents import Repo
from publish.plan import RepoPlan, differing, plan_repository, refs, remote_files
from publish.retry import FaultError, PatientHub, RefusedError
from recipe.errors import UserError
from recipe.schema import Recipe

STALE = 412  # HTTP's: the branch is not at the parent that the commit names


class _MovedError(Exception):
    """The head is another than the one that was planned for."""


def push(
    hub: PatientHub, plan: RepoPlan, recipe: Recipe, refuse: Callable[[RepoPlan], None] = lambda _: None
) -> str:
    """Return the commit that has the release's files, made now unless it is there.

    A head that has moved since is planned for anew, once.

    Args:
        hub: The Hub.
        plan: What it has.
        recipe: Names the release.
        refuse: Is asked again about a plan that was made anew.

    Raises:
        UserError: The head moves again and again, the Hub refuses, or does not answer.
    """
    repo = plan.repo
    for planned_anew in (False, True):
        if plan.there:
            return plan.there
        if plan.head is None:
            _create(hub, repo, private=recipe.release.private)
            plan = plan_repository(hub, repo, recipe.release.version)
            refuse(plan)
            if plan.there:
                return plan.there
        try:
            return _commit(hub, plan, f"{recipe.release.model_name} {recipe.release.version}")
        except _MovedError:
            if not planned_anew:
                hub.reporter.say(f"  {repo.repo_id}: its head has moved; looking again")
                plan = plan_repository(hub, repo, recipe.release.version)
                refuse(plan)
    raise UserError(f"{repo.repo_id}: somebody else pushes to it, too; run this again once they are done")


def upload(hub: PatientHub, repo: Repo, operations: list[CommitOperationAdd]) -> None:
    """Upload the large ones of the files, so that a commit only has to name them."""

    def preupload() -> None:
        try:
            hub.api.preupload_lfs_files(
                repo.repo_id, additions=operations, repo_type=repo.type, free_memory=False
            )
        except RuntimeError as error:
            if error.__cause__ is not None:  # the client's threads wrap what ends them
                raise error.__cause__ from None
            raise FaultError(f"the upload broke ({error})") from error  # hf_xet's

    hub.ask(f"uploading to {repo.repo_id}", preupload)


def addition(repo: Repo, path: str) -> CommitOperationAdd:
    """Return the operation that adds a file, with the sha256 that we know: one that changes since is refused."""
    operation = CommitOperationAdd(path, str(repo.files[path]))
    operation.upload_info.sha256 = bytes.fromhex(repo.hashes[path].sha256)
    return operation


def refuse_other_listing(hub: PatientHub, repo: Repo, commit: str) -> None:
    """Hold what the Hub lists at a commit against the release.

    Raises:
        UserError: It has other files, or other content.
    """
    if wrong := differing(repo.hashes, remote_files(hub, repo, commit)):
        raise UserError(
            f"{repo.repo_id} at {commit[:12]}: {wrong[0]} did not come back as pushed ({len(wrong)} file(s))"
        )


def _create(hub: PatientHub, repo: Repo, *, private: bool) -> None:
    hub.ask(
        f"creating {repo.repo_id}",
        lambda: hub.api.create_repo(repo.repo_id, repo_type=repo.type, private=private, exist_ok=True),
    )


def _commit(hub: PatientHub, plan: RepoPlan, message: str) -> str:
    repo, wrong = plan.repo, plan.wrong
    assert plan.head is not None
    added = [addition(repo, path) for path in wrong if path in repo.files]
    deleted = [CommitOperationDelete(path) for path in wrong if path not in repo.files]
    hub.reporter.say(
        f"  {repo.repo_id}: {len(added)} file(s) to push ({plan.upload_bytes / 1e6:,.2f} MB), {len(deleted)} to delete"
    )
    if added:
        upload(hub, repo, added)

    def commit() -> str:
        return hub.api.create_commit(
            repo.repo_id,
            repo_type=repo.type,
            operations=[*added, *deleted],
            commit_message=message,
            parent_commit=plan.head,
        ).oid

    try:
        return hub.ask(f"publishing {repo.repo_id}", commit, found=lambda: _landed(hub, plan))
    except RefusedError as error:
        if error.status != STALE:
            raise
        # An answer may have been lost, and the commit of that time landed only now.
        if (commit_id := _landed(hub, plan)) is not None:
            return commit_id
        raise _MovedError from error


def _landed(hub: PatientHub, plan: RepoPlan) -> str | None:
    """Return the head if it has come to be what we push; whose commit that is does not matter."""
    head, _ = refs(hub, plan.repo)
    if head is None or head == plan.head:
        return None
    return None if differing(plan.repo.hashes, remote_files(hub, plan.repo, head)) else head
