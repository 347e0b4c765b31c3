"""A disk that is full: one in memory of a process's own, or, where nothing may be mounted, `/dev/full`."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tests.faults.kinds import DISK

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000


def own_mounts() -> bool:
    """Take this process's mounts apart from the machine's, so that it may mount. Return whether it may.

    To be called before the process has threads.
    """
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNS):
        if libc.unshare(CLONE_NEWNS | CLONE_NEWUSER):
            return False
        try:  # as root of a user namespace: what is ours stays ours
            Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")
        except OSError:
            return False
    private = ["mount", "--make-rprivate", "/"]
    return not subprocess.run(private, capture_output=True, check=False).returncode


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """Mount a disk of so many bytes in memory, and say where to those who fill it."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "notus", str(place)], check=True)
    os.environ[DISK] = str(place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def full_at(number: int) -> None:
    """Have this process's download of that number, from 0, and all after it meet a device that is full."""
    from huggingface_hub import file_download

    download: Any = file_download.http_get
    begun: list[str] = []

    def into_a_full_device(url: str, temp_file: BinaryIO, **options: Any) -> None:
        begun.append(url)
        if len(begun) <= number:
            download(url, temp_file, **options)
            return
        with Path("/dev/full").open("wb") as full:
            download(url, full, **options)

    file_download.http_get = into_a_full_device
