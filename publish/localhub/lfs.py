"""Large files: the bytes under DIR/lfs/ab/cd/<sha256>, and the pointers that stand for them in git.

Pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from publish.localhub.errors import CorruptUploadError, InvalidError
from recipe.disk import file_sha256

OID = re.compile(r"[0-9a-f]{64}")
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>\d+)\n?"
)


@dataclass(frozen=True)
class Pointer:
    """A large file as git sees it: the sha256 and the size in bytes of its content."""

    oid: str
    size: int

    def encode(self) -> bytes:
        """Return the pointer file."""
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\nsize {self.size}\n".encode()
        )

    @staticmethod
    def decode(content: bytes) -> "Pointer | None":
        """Read a pointer file; None for any other content."""
        match = _POINTER.fullmatch(content) if len(content) < 1024 else None
        return match and Pointer(match["oid"].decode(), int(match["size"]))


class LargeFiles:
    """Content-addressed files, shared by all repositories of a Hub."""

    def __init__(self, root: Path) -> None:
        self.root = root / "lfs"
        self._incoming = self.root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for left in self._incoming.iterdir():  # by servers that were killed; a young one may be in use
            if left.stat().st_mtime < time.time() - 24 * 3600:
                left.unlink(missing_ok=True)
        # By oid, size and mtime (ns) of files whose bytes were found to have it.
        self._whole: dict[str, tuple[int, int]] = {}

    def path(self, oid: str) -> Path:
        """Return where the content with this sha256 lies, or would.

        Raises:
            InvalidError: not a sha256 in lower-case hex.
        """
        if not OID.fullmatch(oid):
            raise InvalidError(f"not a sha256: {oid[:80]!r}")
        return self.root / oid[:2] / oid[2:4] / oid

    def size(self, oid: str) -> int | None:
        """Return the size in bytes of the content with this sha256; None where it is not here."""
        path = self.path(oid)
        return path.stat().st_size if path.is_file() else None

    def holds(self, oid: str, size: int) -> bool:
        """Whether the content is here and its bytes have this sha256; read again only once the file has changed."""
        path = self.path(oid)
        try:
            status = path.stat()
            if status.st_size != size:
                return False
            if self._whole.get(oid) != (status.st_size, status.st_mtime_ns):
                if file_sha256(path) != oid:
                    return False
                self._whole[oid] = (status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            return False
        return True

    def pointer(self, oid: str, size: int | None = None) -> Pointer:
        """Return the pointer to content that is here; `size` None takes what is here.

        Raises:
            CorruptUploadError: it is not here, or has another size.
        """
        held = self.size(oid)
        if held is None or size not in (None, held):
            here = "it was not uploaded" if held is None else f"it has {held}"
            raise CorruptUploadError(f"LFS object {oid} of {size} bytes: {here}")
        return Pointer(oid, held)

    async def receive(self, oid: str, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Take an upload, a chunk at a time: written aside, checked, then renamed.

        Raises:
            CorruptUploadError: another size or another sha256 than announced. Nothing is kept.
        """
        target = self.path(oid)
        aside = self._incoming / f"{oid}.{secrets.token_hex(8)}"
        digest, received = hashlib.sha256(), 0
        try:
            with aside.open("xb") as file:
                async for chunk in chunks:
                    received += len(chunk)
                    if received > size:
                        break
                    digest.update(chunk)
                    file.write(chunk)
            if received != size:
                raise CorruptUploadError(f"LFS object {oid}: announced {size} bytes, got {received}")
            if digest.hexdigest() != oid:
                raise CorruptUploadError(
                    f"LFS object {oid}: the bytes received have sha256 {digest.hexdigest()}"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
