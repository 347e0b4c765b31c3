"""Repositories on disk: bare git ones that `git log` and `git fsck` read, and what the Hub knows of each.

DIR/models/<namespace>/<name>.git, likewise datasets and spaces, in lower case as the Hub's names have none;
`hub.json` in each holds the rest. All writing to one repository happens under its lock, which other processes
respect, and moves a ref last: a killed server leaves objects that nothing points to, never half a commit.
"""

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from dulwich.repo import Repo
from filelock import FileLock

from publish.localhub.errors import ConflictError, InvalidError, RepoNotFoundError
from publish.localhub.repository import Meta, Repository
from publish.localhub.rules import check_name, default_attributes

KINDS = ("models", "datasets", "spaces")


class Store:
    """All repositories of a Hub."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (*KINDS, "locks", "aside"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def _path(self, kind: str, repo_id: str) -> Path:
        parts = repo_id.lower().split("/")
        try:
            namespace, name = (check_name(part) for part in parts)
        except (ValueError, InvalidError):
            raise RepoNotFoundError("Repository not found") from None
        return self.root / kind / namespace / f"{name}.git"

    def meta(self, kind: str, repo_id: str) -> Meta:
        """Return what is known of a repository, without regard to case.

        Raises:
            RepoNotFoundError: there is none.
        """
        try:
            return Meta(**json.loads((self._path(kind, repo_id) / "hub.json").read_text()))
        except (FileNotFoundError, NotADirectoryError):
            raise RepoNotFoundError("Repository not found") from None

    def all(self, kind: str) -> Iterator[Meta]:
        """Give what is known of each repository, the youngest first."""
        found = [Meta(**json.loads(path.read_text())) for path in (self.root / kind).glob("*/*.git/hub.json")]
        yield from sorted(found, key=lambda meta: -meta.created)

    @contextmanager
    def open(self, meta: Meta) -> Iterator[Repository]:
        """Open a repository to read it."""
        git = Repo(str(self._path(meta.kind, meta.id)))
        try:
            yield Repository(git, meta)
        finally:
            git.close()

    @contextmanager
    def locked(self, meta: Meta) -> Iterator[Repository]:
        """Open a repository to write it, alone.

        Raises:
            RepoNotFoundError: it is gone since.
        """
        with self._lock(meta.kind, meta.id) as path:
            busy = path / "hub.busy"
            if busy.exists():  # who held the lock was killed: git's own lock files are nobody's
                for left in path.rglob("*.lock"):
                    left.unlink()
            with self.open(self.meta(meta.kind, meta.id)) as repository:
                busy.touch()
                try:
                    yield repository
                finally:
                    busy.unlink()

    @contextmanager
    def _lock(self, kind: str, repo_id: str) -> Iterator[Path]:
        path = self._path(kind, repo_id)
        # Beside the repository, not in it: it stays the same file when the repository goes.
        name = f"{kind}--{path.parent.name}--{path.name}.lock"
        with FileLock(self.root / "locks" / name, thread_local=False).acquire(poll_interval=0.005):
            yield path

    @staticmethod
    def _write_meta(path: Path, meta: Meta) -> None:
        aside = path / "hub.json.aside"
        aside.write_text(json.dumps(asdict(meta)))
        aside.replace(path / "hub.json")

    def create(self, meta: Meta, author: str, extra: dict[str, bytes] | None = None) -> Meta:
        """Create a repository with the Hub's first commit: built aside, then renamed into place.

        Raises:
            InvalidError: the name may not be one.
            ConflictError: it exists.
        """
        check_name(meta.namespace)
        check_name(meta.name)
        with self._lock(meta.kind, meta.id) as path:
            if path.exists():
                raise ConflictError(f"You already created this {meta.kind[:-1]} repo")
            aside = self.root / "aside" / secrets.token_hex(8)
            aside.mkdir()
            git = Repo.init_bare(str(aside), default_branch=b"main")
            try:
                repository = Repository(git, meta)
                contents = {".gitattributes": default_attributes(meta.kind), **(extra or {})}
                files = {name: repository.add_blob(content) for name, content in contents.items()}
                head = repository.add_commit(files, None, "initial commit", author)
                repository.point("refs/heads/main", head, None)
            finally:
                git.close()
            self._write_meta(aside, meta)
            path.parent.mkdir(exist_ok=True)
            aside.rename(path)
        return meta

    def set_private(self, meta: Meta, private: bool) -> None:
        """Hide a repository from all but its owners, or show it."""
        with self._lock(meta.kind, meta.id) as path:
            self._write_meta(path, replace(self.meta(meta.kind, meta.id), private=private))

    def delete(self, meta: Meta) -> None:
        """Delete a repository; large files stay, others may share them."""
        with self._lock(meta.kind, meta.id) as path:
            aside = self.root / "aside" / secrets.token_hex(8)
            path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
