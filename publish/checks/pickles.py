"""What runs code when it is loaded: pickles and what may hold them, and Python that `trust_remote_code` would run.

Nothing is unpickled or unpacked to find it: pickletools reads the operations of a pickle without doing them.
"""

import bz2
import io
import lzma
import pickletools
import re
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from publish.checks.folder import BadFileError, Fault, Folder

# Suffixes of files that torch, joblib, NumPy, Keras and their like unpickle or run.
PICKLES = frozenset((
    ".bin", ".ckpt", ".dill", ".h5", ".hdf5", ".joblib", ".keras", ".mar", ".nemo", ".npy", ".npz", ".pck", ".pickle",
    ".pkl", ".pt", ".pt2", ".pth", ".ptl", ".t7",
))  # fmt: skip
CODE = frozenset((
    ".bat", ".cmd", ".dll", ".dylib", ".exe", ".ipynb", ".jar", ".ps1", ".py", ".pyc", ".pyd", ".pyi", ".pyx", ".pyz",
    ".sh", ".so", ".whl",
))  # fmt: skip
# A configuration's keys that name code, in the repository or in another one.
KEYS_OF_CODE = ("auto_map", "auto_mapping", "custom_pipelines", "trust_remote_code")
_IMPORTS = frozenset(("GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"))
_CALLS = frozenset(("REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"))
_NAMES = re.compile(r"[\w.]+ [\w.]+")  # module and name, as pickletools gives them
MOST_OPERATIONS = 20_000
LONGEST_ARGUMENT = 16 << 20  # bytes
_PACKED = 1 << 20  # bytes of what is compressed that are looked at
_Unpack = Callable[[bytes], bytes]
_COMPRESSED: tuple[tuple[bytes, str, _Unpack], ...] = (
    (b"\x1f\x8b", "gzip", lambda head: zlib.decompressobj(31).decompress(head, _PACKED)),
    (b"x", "zlib", lambda head: zlib.decompressobj().decompress(head, _PACKED)),
    (b"BZh", "bzip2", lambda head: bz2.BZ2Decompressor().decompress(head, _PACKED)),
    (b"\xfd7zXZ\0", "xz", lambda head: lzma.LZMADecompressor(memlimit=1 << 28).decompress(head, _PACKED)),
    (b"]\0\0", "lzma", lambda head: lzma.LZMADecompressor(memlimit=1 << 28).decompress(head, _PACKED)),
)
_ZIP = "a zip archive, as torch.save and numpy.savez pickle into"
_ARCHIVES = (
    *((magic, _ZIP) for magic in (b"PK\3\4", b"PK\5\6", b"PK\7\10")),
    (b"\x89HDF\r\n\x1a\n", "HDF5, into which Keras writes code"),
    *((magic, "an archive, which can hold pickles") for magic in (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")),
    *((magic, "compressed, and can hold a pickle") for magic in (b"(\xb5/\xfd", b"\x04\x22M\x18")),
)


def pickle_faults(folder: Folder) -> Iterator[Fault]:
    """Give the files that are pickles, may hold some, or are called as if they were."""
    for name, path in folder.files.items():
        suffix = PurePosixPath(name).suffix.casefold()
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            said = _pickled(file, size)
        if said is None and suffix in PICKLES:
            said = f"called {suffix}, which is unpickled or run when it is loaded"
        if said is not None:
            yield Fault(said, name)


def code_faults(folder: Folder) -> Iterator[Fault]:
    """Give the files that are code, and the configurations that name some."""
    for name, path in folder.files.items():
        suffix = PurePosixPath(name).suffix.casefold()
        with path.open("rb") as file:
            head = file.read(4)
        if suffix in CODE:
            yield Fault(f"code ({suffix}); a release has none", name)
        elif head[:2] in {b"#!", b"MZ"} or head in {b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"}:
            yield Fault("a program; a release has none", name)
        elif name.endswith("config.json"):
            yield from _named_code(folder, name)


def _named_code(folder: Folder, name: str) -> Iterator[Fault]:
    try:
        config = folder.json(name)
    except BadFileError:
        return  # another check says so
    for key in KEYS_OF_CODE:
        if isinstance(config, dict) and config.get(key):
            yield Fault(f"{key} names code to run: {config[key]!r}", name)


def _pickled(file: BinaryIO, size: int, deep: int = 0) -> str | None:
    """Return what makes a file's content dangerous to load, or None.

    Args:
        file: Opened at its beginning.
        size: In bytes.
        deep: In how many compressed files it lies.
    """
    head = file.read(_PACKED)
    if said := _archive(head):
        return said
    if head.startswith(b"\x93NUMPY"):
        return _numpy(head)
    file.seek(0)
    if is_pickle(file, size):
        return "a pickle"
    for magic, what, unpack in _COMPRESSED:
        if head.startswith(magic):
            try:
                inside = unpack(head)
            except (zlib.error, OSError, lzma.LZMAError, EOFError, MemoryError):
                continue
            if deep == 3:
                return f"compressed again and again ({what})"
            said = _pickled(io.BytesIO(inside), len(inside), deep + 1)
            return said and f"compressed by {what}: {said}"
    return None


def is_pickle(file: BinaryIO, size: int) -> bool:
    """Whether a pickle stands at the beginning, whole or so far that loading it would have called something.

    Args:
        file: Opened at its beginning.
        size: In bytes.
    """
    reader, stack, imported = _Bounded(file, size), _Stack(), False
    place = 0
    try:
        for place, (operation, argument, _) in enumerate(pickletools.genops(reader)):  # type: ignore[arg-type]
            if operation.name == "STOP":  # of text a full stop is the end by chance
                return reader.has_protocol or imported or (len(stack) == 1 and file.tell() == size)
            if not stack.does(operation):
                return False
            if operation.name in {"GLOBAL", "INST"} and not _NAMES.fullmatch(str(argument)):
                return reader.has_protocol  # two lines of text by chance: there is no such module
            imported |= operation.name in _IMPORTS
            called = imported and (reader.has_protocol or operation.name in _CALLS)
            if called or place == MOST_OPERATIONS:
                return True
    except _TooLongError:
        return True
    except (ValueError, OverflowError):
        pass
    return reader.has_protocol and place > 1  # what pickletools can't read, pickle may


class _TooLongError(Exception):
    """An operation's argument lies in the file, and is larger than what is read at once."""


class _Stack(list[bool]):
    """The unpickler's stack without its values: True where a mark lies."""

    def does(self, operation: pickletools.OpcodeInfo) -> bool:
        """Do an operation; False if the stack does not hold what it takes."""
        takes = operation.stack_before
        if pickletools.markobject in takes:
            if True not in self:
                return False
            while not self.pop():
                pass
            takes = takes[: takes.index(pickletools.markobject)]
        if len(self) < len(takes):
            return False
        del self[len(self) - len(takes) :]
        self.extend(one is pickletools.markobject for one in operation.stack_after)
        return True


class _Bounded:
    """What pickletools reads from: no argument larger than `LONGEST_ARGUMENT` is ever in memory."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.has_protocol = file.read(1) == b"\x80"
        file.seek(0)

    def read(self, count: int) -> bytes:
        if self.file.tell() + count > self.size:
            return b""  # as at the end of a file
        if count > LONGEST_ARGUMENT:
            raise _TooLongError
        return self.file.read(count)

    def readline(self) -> bytes:
        line = self.file.readline(LONGEST_ARGUMENT)
        if len(line) == LONGEST_ARGUMENT:
            raise _TooLongError
        return line

    def tell(self) -> int:
        return self.file.tell()


def _archive(head: bytes) -> str | None:
    """Return what an archive is: some hold pickles that torch, NumPy or joblib load, and a release has none."""
    for magic, what in _ARCHIVES:
        if head.startswith(magic):
            return what
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "replace")
    except tarfile.HeaderError:
        return None
    return "a tar archive, as torch.save once pickled into"


def _numpy(head: bytes) -> str | None:
    from numpy.lib import format as npy

    stream = io.BytesIO(head)
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python 2
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            _, _, dtype = read(stream, max_header_size=10_000)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return "a NumPy array with an odd header"
    return "a NumPy array of pickled objects" if dtype.hasobject else None
