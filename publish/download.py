"""A repository at one revision as a stranger gets it: listed, downloaded to a clean cache, held against the list."""

import errno
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from publish.checks.folder import MOST_FILES, is_plain_name
from publish.contents import hash_file
from publish.data import refuse_no_repository_name
from publish.inspect import Check
from recipe.errors import UserError
from recipe.hub import hub_errors
from recipe.progress import Reporter

AT_A_TIME = 4
_PREFIXES = {"models/": "model", "datasets/": "dataset"}
_COMMIT, CONTENT_TAG = re.compile(r"[0-9a-f]{40}"), re.compile(r"sha256-[0-9a-f]{16,64}")


@dataclass(frozen=True)
class Published:
    """A repository at a revision.

    Attributes:
        repo_id: As the Hub spells it.
        repo_type: `model` or `dataset`.
        revision: As it was asked for.
        commit: That it is at.
        fixed: `tag` or `commit`; None if it is neither, so that what is there may be another thing tomorrow.
        tags: All that are at this commit.
        files: The Hub's list of what is there, by path.
        kept: The tree's other files: too odd to be downloaded.
    """

    repo_id: str
    repo_type: str
    revision: str
    commit: str
    fixed: str | None
    tags: tuple[str, ...]
    files: dict[str, RepoFile]
    kept: tuple[str, ...]

    @property
    def versions(self) -> Sequence[str]:
        """The tags that a release at this revision can be of: the one that was asked for, and no other that was moved.

        A commit, and the tag that is named after a base's content, may be of any release there.
        """
        if self.fixed == "tag" and not CONTENT_TAG.fullmatch(self.revision):
            return (self.revision,)
        return self.tags or (self.revision,)

    @property
    def size(self) -> int:
        """Bytes of all files, as the Hub says."""
        return sum(file.size for file in self.files.values())


def find(repo: str, revision: str) -> Published:
    """Ask the Hub what a repository is at a revision.

    Args:
        repo: `owner/name`, of a model or else of a data set; `datasets/owner/name` for a data set only.
        revision: A tag or a commit id; a branch is found too, and is not `fixed`.

    Raises:
        UserError: There is no such repository or revision, or the Hub can't be reached.
    """
    api = HfApi()
    prefix = next((prefix for prefix in _PREFIXES if repo.startswith(prefix)), "")
    repo_id = repo.removeprefix(prefix)
    if repo_id.count("/") != 1:
        raise UserError(f"{repo}: not a repository; with --revision write owner/name or datasets/owner/name")
    refuse_no_repository_name("with --revision", repo_id)
    repo_type = _PREFIXES[prefix] if prefix else _type_of(api, repo_id)
    try:
        with hub_errors(f"reading {repo_id}"):
            refs = api.list_repo_refs(repo_id, repo_type=repo_type)
            tags = {ref.name: ref.target_commit for ref in refs.tags}
            asked = tags.get(revision, revision)
            info = api.repo_info(repo_id, revision=asked, repo_type=repo_type)
            assert info.sha is not None
            entries = api.list_repo_tree(repo_id, revision=info.sha, recursive=True, repo_type=repo_type)
            listed = list(islice((one for one in entries if isinstance(one, RepoFile)), MOST_FILES + 1))
    except UserError as error:
        if isinstance(error.__cause__, RevisionNotFoundError):
            known = ", ".join(sorted(tags)[-3:]) or "none"
            raise UserError(f"{repo_id}: no revision {revision} there; its tags: {known}") from error
        raise
    if len(listed) > MOST_FILES:
        raise UserError(f"{repo_id}: more than {MOST_FILES:,} files; no release has so many")
    commit = info.sha
    fixed = "tag" if revision in tags else "commit" if _COMMIT.fullmatch(revision) else None
    plain = {one.path for one in listed if is_plain_name(one.path) and one.path.split("/")[0] != ".cache"}
    return Published(
        info.id,
        repo_type,
        revision,
        commit,
        fixed,
        tuple(sorted(tag for tag, at in tags.items() if at == commit)),
        {one.path: one for one in listed if one.path in plain},
        tuple(sorted(one.path for one in listed if one.path not in plain)),
    )


@contextmanager
def downloaded(found: Published, reporter: Reporter) -> Iterator[tuple[Path, list[Check]]]:
    """Yield a folder with the files, which goes after, and whether all came as the Hub lists them.

    Raises:
        UserError: There is no room for them, or the Hub can't be reached any more.
    """
    with tempfile.TemporaryDirectory(prefix="notus-verify-") as cache:
        if (free := shutil.disk_usage(cache).free) < found.size:
            raise UserError(
                f"{cache}: {found.size / 1e9:.2f} GB to download, {free / 1e9:.2f} GB free; "
                "set TMPDIR to a folder with room"
            )
        folder = Path(cache) / "files"
        folder.mkdir()
        checks = [_revision_check(found)]
        checks += [Check("download", False, "not a name that a release has", name) for name in found.kept]
        with reporter.bar("files", len(found.files)) as bar, ThreadPoolExecutor(AT_A_TIME) as pool:

            def come(file: RepoFile) -> str | None:
                try:
                    return _come(found, file, Path(cache) / "hub", folder)
                finally:
                    bar.advance()

            for name, said in zip(found.files, pool.map(come, found.files.values()), strict=True):
                if said is not None:
                    checks.append(Check("download", False, said, name))
        if all(check.name != "download" for check in checks):
            files = f"{len(found.files)} files, {found.size / 1e6:,.2f} MB"
            checks.append(Check("download", True, f"{files}, each with the size and hash that the Hub lists"))
        yield folder, checks


def _come(found: Published, file: RepoFile, cache: Path, folder: Path) -> str | None:
    """Download a file and link it into `folder`. Return what is wrong with it as it came."""
    link = folder / file.path
    try:
        with hub_errors(f"downloading {found.repo_id}"):
            came = hf_hub_download(
                found.repo_id,
                file.path,
                revision=found.commit,
                repo_type=found.repo_type,
                cache_dir=cache,
            )
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(came).resolve())
    except (UserError, HfHubHTTPError) as error:
        answer = _answer(error)
        if answer is None:  # not this file, but the network
            raise
        return f"does not come ({answer})"
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"{cache}: the disk is full; set TMPDIR to a folder with room") from None
        return (
            f"does not come whole ({' '.join(str(error).split())[:150]})"  # of another size, the client says
        )
    return _difference(link, file)


def _answer(error: BaseException | None) -> str | None:
    """Return how the Hub answered where an error comes of an answer."""
    while error is not None:
        if isinstance(error, HfHubHTTPError):
            return str(error.response.status_code) if error.response is not None else type(error).__name__
        error = error.__cause__
    return None


def _difference(path: Path, file: RepoFile) -> str | None:
    """Return how a file differs from what the Hub lists."""
    came = hash_file(path)
    if came.size != file.size:
        return f"came with {came.size:,} bytes, the Hub lists {file.size:,}"
    here, listed = (came.sha256, file.lfs.sha256) if file.lfs else (came.blob_id, file.blob_id)
    what = "sha256" if file.lfs else "blob id"
    return None if here == listed else f"came with {what} {here[:12]}..., the Hub lists {listed[:12]}..."


def _type_of(api: HfApi, repo_id: str) -> str:
    """Return `model` or `dataset`, whichever there is; a model if there are both."""
    for repo_type in ("model", "dataset"):
        try:
            with hub_errors(f"looking for {repo_id}"):
                api.repo_info(repo_id, repo_type=repo_type)
        except UserError as error:
            if not isinstance(error.__cause__, RepositoryNotFoundError):
                raise
        else:
            return repo_type
    raise UserError(
        f"{repo_id}: no such model or data set at {constants.ENDPOINT}, or HF_TOKEN may not see it; check the name"
    )


def _revision_check(found: Published) -> Check:
    if found.fixed is None:
        said = f"{found.revision} is neither a tag nor a commit, at {found.commit} by now; name one"
        return Check("revision", False, said)
    others = [tag for tag in found.tags if tag != found.revision]
    also = f", as {' and '.join(others[:3])}" if others else ""
    return Check("revision", True, f"the {found.fixed} {found.revision} is at {found.commit}{also}")
