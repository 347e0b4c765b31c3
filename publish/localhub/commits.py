"""A commit as the client sends it: one JSON value a line, spooled to disk as it comes, applied as a whole.

Lines: header {summary, description, parentCommit}, file {path, content, encoding}, lfsFile {path, algo, oid,
size}, deletedFile {path}, deletedFolder {path}; they are applied in the order they come.
Source: `huggingface_hub._commit_api._prepare_commit_payload` (2.4.0).
"""

import base64
import binascii
import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dulwich.objects import ObjectID

from publish.localhub.card_check import check_card
from publish.localhub.errors import (
    EntryNotFoundError,
    InvalidError,
    InvalidPathError,
    RevisionNotFoundError,
    StaleError,
)
from publish.localhub.lfs import LargeFiles, Pointer
from publish.localhub.repository import Files, Repository
from publish.localhub.rules import MAX_REGULAR, check_path

# Longest line taken: a regular file in base64, with room for JSON.
MAX_LINE = 2 * MAX_REGULAR


@dataclass
class Operation:
    """One line. A file's content lies in the spool at `start`, `size` bytes long."""

    key: str
    path: str
    pointer: Pointer | None = None
    start: int = 0
    size: int = 0


@dataclass
class Incoming:
    """The lines of one commit. Used with `with`, which removes the spool."""

    large: LargeFiles
    spool_in: Path
    header: dict[str, Any] | None = None
    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Has no name on disk: a killed server leaves nothing behind.
        self._spool = tempfile.TemporaryFile(dir=self.spool_in)  # noqa: SIM115 - __exit__ closes it

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def add(self, line: bytes) -> None:
        """Take one line.

        Raises:
            InvalidError: not one of the lines above, or a file too large for git.
            InvalidPathError: a path that may not be in a repository.
            CorruptUploadError: an LFS file whose content is not here.
        """
        try:
            item = json.loads(line)
            key, value = item["key"], item["value"]
            path = "" if key == "header" else str(value["path"])
            if key == "header":
                self.header = dict(value)
            elif key == "file":
                content = value["content"]
                plain = value.get("encoding") != "base64"
                self._add_file(path, content.encode() if plain else base64.b64decode(content, validate=True))
            elif key == "lfsFile":
                pointer = self.large.pointer(str(value["oid"]), value.get("size"))
                self.operations.append(Operation(key, check_path(path), pointer))
            elif key in ("deletedFile", "deletedFolder"):
                self.operations.append(Operation(key, check_path(path.strip("/"))))
            else:
                raise InvalidError(f"Unknown key in commit: {str(key)[:80]!r}")
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            raise InvalidError(f"Malformed line in commit: {error!r}") from error

    def _add_file(self, path: str, content: bytes) -> None:
        if len(content) > MAX_REGULAR:
            raise InvalidError(f"{path} has {len(content)} bytes: files above {MAX_REGULAR} go through LFS")
        if pointer := Pointer.decode(content):
            self.large.pointer(pointer.oid, pointer.size)  # git would take any
        if path == "README.md" and (errors := check_card(content.decode(errors="replace")).errors):
            raise InvalidError("Invalid metadata in README.md: " + "; ".join(errors))
        start = self._spool.tell()
        self._spool.write(content)
        self.operations.append(Operation("file", check_path(path), start=start, size=len(content)))

    def _apply(self, repository: Repository, files: Files) -> None:
        for op in self.operations:
            if op.key in ("deletedFile", "deletedFolder"):
                gone = [path for path in files if path == op.path or path.startswith(op.path + "/")]
                if not gone:
                    raise EntryNotFoundError(f"A file with this name doesn't exist: {op.path}")
                for path in gone:
                    del files[path]
            elif op.pointer:
                files[op.path] = repository.add_blob(op.pointer.encode())
            else:
                self._spool.seek(op.start)
                files[op.path] = repository.add_blob(self._spool.read(op.size))
        folders = {path[: match.start()] for path in files for match in re.finditer("/", path)}
        if both := folders & files.keys():
            raise InvalidPathError(f"Both a file and a folder: {min(both)}")

    def land(
        self, repository: Repository, revision: str, author: str, *, as_pr: bool
    ) -> tuple[ObjectID, int | None]:
        """Make it a commit on a branch, or as a pull request's first; return its id and the request's number.

        Under the repository's lock.

        Raises:
            InvalidError: no summary, or nothing to do.
            RevisionNotFoundError: no such branch; a tag or a commit id is none.
            StaleError: the branch is not at `parentCommit`.
            EntryNotFoundError: a path to delete that is not there.
        """
        header = self.header or {}
        if not header.get("summary"):
            raise InvalidError("A commit needs a summary")
        if not self.operations:
            raise InvalidError("Add a line with the key `lfsFile`, `file`, `deletedFile` or `deletedFolder`")
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        head = repository.ref(ref)
        if head is None or ref.startswith("refs/tags/"):
            raise RevisionNotFoundError(f"Invalid rev id: {revision}")
        parent, expected = head, header.get("parentCommit")
        if expected and as_pr:
            parent = repository.resolve(str(expected))
        elif expected and not head.decode().startswith(str(expected)):
            raise StaleError(
                "The branch was updated since you opened this page. Please refresh and try again."
            )
        files = repository.files(parent)
        self._apply(repository, files)
        message = "\n\n".join(part for part in (header["summary"], header.get("description")) if part)
        commit = repository.add_commit(files, parent, message, author)
        if not as_pr:
            repository.point(ref, commit, head)
            return commit, None
        taken = [int(name.split("/")[2]) for name in repository.refs() if re.fullmatch(r"refs/pr/\d+", name)]
        number = max(taken, default=0) + 1
        repository.point(f"refs/pr/{number}", commit, None)
        return commit, number
