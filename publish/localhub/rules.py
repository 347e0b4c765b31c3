"""What the Hub allows and how it stores it: names, paths, large or regular, ignored or not."""

import re
from collections.abc import Iterable
from io import BytesIO

from dulwich.attrs import GitAttributes, Pattern, parse_git_attributes
from dulwich.ignore import IgnoreFilter, read_ignore_patterns

from publish.localhub.errors import InvalidError, InvalidPathError

# A regular file is held in git; the Hub takes none above this (bytes).
MAX_REGULAR = 10 * 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")

# Endings that the Hub's own first commit puts under LFS.
_LARGE = (
    "7z arrow bin bz2 ckpt ftz gz h5 joblib lfs.* mlmodel model msgpack npy npz onnx ot parquet pb pickle"
    " pkl pt pth rar safetensors tar tar.* tflite tgz wasm xz zip zst"
)
_LARGE_PATHS = ("saved_model/**/*", "*tfevents*")
_MEDIA = "pcm sam raw aac flac mp3 ogg wav bmp gif png tiff jpg jpeg webp mp4 webm"


def default_attributes(kind: str) -> bytes:
    """Return the .gitattributes of a repository's first commit; `kind` is models, datasets or spaces."""
    patterns = [f"*.{ending}" for ending in _LARGE.split()] + list(_LARGE_PATHS)
    if kind == "datasets":
        patterns += [f"*.{ending}" for ending in _MEDIA.split()]
    return "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in patterns).encode()


def check_name(name: str) -> str:
    """Return a user's or repository's name if it may be one; it becomes a folder's name.

    Raises:
        InvalidError: it may not.
    """
    if not _NAME.fullmatch(name) or "--" in name or ".." in name or name.lower().endswith((".git", ".lock")):
        raise InvalidError(f"Invalid name {name[:120]!r}: letters, digits, '-', '_', '.', at most 96 of them")
    return name


def check_path(path: str) -> str:
    """Return a path if it may be in a repository.

    Raises:
        InvalidPathError: absolute, a `.`, `..` or empty part, a backslash, a control character, or in .git.
    """
    parts = path.split("/")
    bad = {"", ".", "..", ".git", "git~1"} & {part.lower() for part in parts}
    if bad or "\\" in path or any(ord(c) < 32 or ord(c) == 127 for c in path):
        raise InvalidPathError(f"Invalid path in repo: {path[:200]!r}")
    return path


class UploadRules:
    """How files are to be uploaded to a revision, by its .gitattributes and .gitignore (their contents)."""

    def __init__(self, attributes: bytes, ignore: bytes) -> None:
        parsed: Iterable[tuple[bytes, dict[bytes, bytes | bool | None]]] = (
            (pattern, dict(values)) for pattern, values in parse_git_attributes(BytesIO(attributes))
        )
        self._attributes = GitAttributes([(Pattern(pattern), values) for pattern, values in parsed])
        self._ignore = IgnoreFilter(read_ignore_patterns(BytesIO(ignore)))

    def mode(self, path: str, size: int, sample: bytes) -> str:
        """Return "lfs" or "regular" for a file of `size` bytes that begins with `sample`.

        Binary content goes to LFS whatever its name: the Hub's git takes text only.
        """
        if size == 0:
            return "regular"
        by_name = self._attributes.match_path(path.encode()).get(b"filter") == b"lfs"
        return "lfs" if by_name or size > MAX_REGULAR or b"\0" in sample else "regular"

    def ignored(self, path: str) -> bool:
        """Whether .gitignore leaves the file out, by its own name or a folder's."""
        parts = path.split("/")
        folders = ("/".join(parts[:depth]) + "/" for depth in range(1, len(parts)))
        return any(self._ignore.is_ignored(name) for name in (*folders, path))
