"""One git repository: its commits, files and refs, read and written by dulwich.

What writes must hold the repository's lock (`Store.locked`); objects come first, a ref moves last.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dulwich.index import commit_tree
from dulwich.object_store import iter_commit_contents
from dulwich.objects import Blob, Commit, ObjectID, Tag, Tree
from dulwich.refs import Ref, check_ref_format
from dulwich.repo import Repo

from publish.localhub.errors import ConflictError, EntryNotFoundError, InvalidError, RevisionNotFoundError
from publish.localhub.lfs import Pointer

FILE, FOLDER = 0o100644, 0o040000
Files = dict[str, ObjectID]

# Size and pointer by blob id: to know the size of a blob is to read it whole.
_WEIGHED: dict[ObjectID, tuple[int, Pointer | None]] = {}


@dataclass(frozen=True)
class Meta:
    """What the Hub knows of a repository beside its git; `created` in seconds since 1970."""

    kind: str
    namespace: str
    name: str
    private: bool = False
    created: float = 0.0

    @property
    def id(self) -> str:
        """`namespace/name`, as it was created."""
        return f"{self.namespace}/{self.name}"

    @property
    def url(self) -> str:
        """Path of the repository below the Hub's address."""
        return f"/{self.id}" if self.kind == "models" else f"/{self.kind}/{self.id}"


@dataclass(frozen=True)
class Entry:
    """A file or folder at a commit; `size` in bytes of the content, with LFS that of the large file."""

    path: str
    oid: str
    size: int = 0
    lfs: Pointer | None = None
    folder: bool = False


class Repository:
    """One repository, open."""

    def __init__(self, git: Repo, meta: Meta) -> None:
        self.git = git
        self.meta = meta

    def resolve(self, revision: str) -> ObjectID:
        """Return the commit that a branch, tag, ref or commit id (its first 5 digits or more) names.

        Raises:
            RevisionNotFoundError: none, or several.
        """
        objects = self.git.object_store
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name.startswith("refs/") and (found := self.ref(name)):
                return found
        if re.fullmatch(r"[0-9a-f]{5,40}", revision):
            ids = [oid for oid in objects.iter_prefix(revision.encode()) if isinstance(objects[oid], Commit)]
            if len(ids) == 1:
                return ids[0]
        raise RevisionNotFoundError(f"Invalid rev id: {revision}")

    def ref(self, name: str) -> ObjectID | None:
        """Return the commit a full ref (refs/heads/main) points to, also by a tag's object; None without."""
        if not check_ref_format(Ref(name.encode())):
            return None
        oid = self.git.refs.as_dict().get(Ref(name.encode()))
        return oid and self.git.object_store.peel_sha(oid)

    def refs(self) -> dict[str, str]:
        """Return commit ids by full ref."""
        peel = self.git.object_store.peel_sha
        return {k.decode(): peel(v).decode() for k, v in self.git.refs.as_dict().items() if k != b"HEAD"}

    def commit(self, oid: ObjectID) -> Commit:
        """Return the commit of that id, which must be here."""
        found = self.git.object_store[oid]
        assert isinstance(found, Commit)
        return found

    def files(self, commit: ObjectID) -> Files:
        """Return blob ids by path, all files of a commit."""
        contents = iter_commit_contents(self.git.object_store, commit)
        return {item.path.decode(): item.sha for item in contents if item.path and item.sha}

    def read(self, oid: ObjectID) -> bytes:
        """Return the content of a blob."""
        blob = self.git.object_store[oid]
        assert isinstance(blob, Blob)
        return blob.data

    def text(self, commit: ObjectID, path: str) -> bytes:
        """Return the content of a file in git, empty where there is none."""
        try:
            return self.read(ObjectID(self.entry(commit, path).oid.encode()))
        except EntryNotFoundError:
            return b""

    def _find(self, commit: ObjectID, path: str) -> tuple[int, ObjectID]:
        mode, oid = FOLDER, self.commit(commit).tree
        for part in path.split("/") if path else []:
            folder = self.git.object_store[oid] if mode == FOLDER else None
            if not isinstance(folder, Tree) or part.encode() not in folder:
                raise EntryNotFoundError(
                    f'Entry "{path}" not found', headers={"X-Repo-Commit": commit.decode()}
                )
            mode, oid = folder[part.encode()]
        return mode, oid

    def _entry(self, path: str, mode: int, oid: ObjectID) -> Entry:
        if mode == FOLDER:
            return Entry(path, oid.decode(), folder=True)
        if oid not in _WEIGHED:
            content = self.read(oid)
            pointer = Pointer.decode(content)
            _WEIGHED[oid] = (pointer.size if pointer else len(content), pointer)
        size, lfs = _WEIGHED[oid]
        return Entry(path, oid.decode(), size, lfs)

    def entry(self, commit: ObjectID, path: str) -> Entry:
        """Return the file or folder at a path.

        Raises:
            EntryNotFoundError: neither.
        """
        return self._entry(path, *self._find(commit, path))

    def entries(self, commit: ObjectID, path: str = "", *, recursive: bool = False) -> Iterator[Entry]:
        """Give what lies in a folder, in git's order, folders before what is in them.

        Raises:
            EntryNotFoundError: no such folder.
        """
        mode, oid = self._find(commit, path)
        if mode != FOLDER:
            raise EntryNotFoundError(f'Entry "{path}" is a file', headers={"X-Repo-Commit": commit.decode()})
        yield from self._inside(path, oid, recursive)

    def _inside(self, path: str, oid: ObjectID, recursive: bool) -> Iterator[Entry]:
        folder = self.git.object_store[oid]
        assert isinstance(folder, Tree)
        for item in folder.iteritems():
            assert item.path
            assert item.mode
            assert item.sha
            entry = self._entry(f"{path}/{item.path.decode()}".lstrip("/"), item.mode, item.sha)
            yield entry
            if recursive and entry.folder:
                yield from self._inside(entry.path, item.sha, recursive)

    def history(self, commit: ObjectID) -> Iterator[Commit]:
        """Give the commits from this one to the first; there are no merges."""
        while True:
            found = self.commit(commit)
            yield found
            if not found.parents:
                return
            commit = found.parents[0]

    def last_commits(self, commit: ObjectID, paths: set[str]) -> dict[str, Commit]:
        """Return, of files and folders by path, the commit that last changed each."""
        last: dict[str, Commit] = {}
        ids: dict[str, ObjectID | None] = {}
        newer: Commit | None = None
        for found in self.history(commit):
            for path in paths - last.keys():
                try:
                    oid: ObjectID | None = self._find(found.id, path)[1]
                except EntryNotFoundError:
                    oid = None
                if newer is not None and oid != ids[path]:
                    last[path] = newer
                ids[path] = oid
            newer = found
        return last | {path: newer for path in paths - last.keys() if newer}

    def point(self, ref: str, commit: ObjectID, old: ObjectID | None) -> None:
        """Create a ref (`old` None) or move it from `old`. Under the repository's lock.

        Raises:
            InvalidError: no ref may have that name.
            ConflictError: it exists, or has moved, or another's name stands in the way (a and a/b).
        """
        name = Ref(ref.encode())
        if not check_ref_format(name):
            raise InvalidError(f"Invalid reference name: {ref}")
        refs = self.git.refs
        try:
            done = refs.add_if_new(name, commit) if old is None else refs.set_if_equals(name, old, commit)
        except (NotADirectoryError, IsADirectoryError, FileExistsError):
            done = False
        if not done:
            raise ConflictError(f"Reference {ref} already exists")

    def tag(self, name: str, commit: ObjectID, message: str, author: str) -> None:
        """Create a tag: with a message an object of its own, without one a mere ref.

        Raises:
            InvalidError: no tag may have that name.
            ConflictError: it exists.
        """
        target = commit
        if message:
            tag = Tag()
            tag.name, tag.tagger, tag.message = name.encode(), author.encode(), message.encode() + b"\n"
            tag.tag_time, tag.tag_timezone, tag.object = int(time.time()), 0, (Commit, commit)
            self.git.object_store.add_object(tag)
            target = tag.id
        self.point(f"refs/tags/{name}", target, None)

    def remove(self, ref: str) -> None:
        """Delete a ref. Under the repository's lock.

        Raises:
            RevisionNotFoundError: there is none.
        """
        if self.ref(ref) is None:
            raise RevisionNotFoundError(f"Invalid rev id: {ref}")
        self.git.refs.remove_if_equals(Ref(ref.encode()), None)

    def add_blob(self, content: bytes) -> ObjectID:
        """Store content in git. Under the repository's lock."""
        blob = Blob.from_string(content)
        self.git.object_store.add_object(blob)
        return blob.id

    def add_commit(self, files: Files, parent: ObjectID | None, message: str, author: str) -> ObjectID:
        """Store a commit of exactly these files; no ref moves. Under the repository's lock."""
        store = self.git.object_store
        commit = Commit()
        commit.tree = commit_tree(store, [(path.encode(), oid, FILE) for path, oid in files.items()])
        commit.parents = [parent] if parent else []
        commit.author = commit.committer = author.encode()
        commit.author_time = commit.commit_time = int(time.time())
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding, commit.message = b"UTF-8", message.encode() + b"\n"
        store.add_object(commit)
        return commit.id
