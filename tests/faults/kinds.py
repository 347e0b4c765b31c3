"""The kinds of fault: what each does to one request, and at which requests it makes sense."""

import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.exchange import Exchange, Seen

SECONDS_ASKED = 1  # by Retry-After
DISK = "DISK"  # what a point calls the room on its small disk

Do = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        does: For people.
        at: Whether it makes sense at a request.
        do: What happens instead of the request's own answer.
        lasting: Whether every later request meets it too, until the client has ended.
        ends: Whether the client can't but end by it, but for a collection's requests.
        passes: Whether the client has to go on as if nothing had been, likewise.
        patience: Seconds that the client waits for the Hub in all.
        disk: Whether the run lies on a small disk of its own.
    """

    does: str
    at: Callable[[Seen], bool]
    do: Do
    lasting: bool = False
    ends: bool = False
    passes: bool = False
    patience: float = 3.0
    disk: bool = False


def _every(_: Seen) -> bool:
    return True


def _has_body(seen: Seen) -> bool:
    return seen.sent > 0


def _stores(seen: Seen) -> bool:
    return seen.writes


def _file(seen: Seen) -> bool:
    """A file's bytes go over the wire."""
    return seen.method == "GET" and seen.of_a_file and seen.status == 200 and seen.answered > 1


def _file_or_tag(seen: Seen) -> bool:
    return _file(seen) or "/tag/" in seen.path  # after the last tag there is still the record to be written


def _stored_file(seen: Seen) -> bool:
    return _file(seen) and seen.path.startswith("/lfs-files/")


def _uploads(seen: Seen) -> bool:
    return seen.method == "PUT" and seen.path.startswith("/lfs-files/")


def _answers(status: int, headers: Mapping[str, str] | None = None) -> Do:
    async def do(exchange: Exchange) -> None:
        await exchange.drain()
        await exchange.answer(status, headers)

    return do


async def _lost_answer(exchange: Exchange) -> None:
    await exchange.work()
    await exchange.answer(504)


async def _reset_request(exchange: Exchange) -> None:
    await exchange.work_on_half()
    exchange.reset()


async def _reset_answer(exchange: Exchange) -> None:
    done = await exchange.work()
    if done.body and not exchange.only_head:
        await exchange.begin(done)
    exchange.reset()


async def _truncate(exchange: Exchange) -> None:
    await exchange.begin(await exchange.work())
    exchange.close()


async def _flip_after_upload(exchange: Exchange) -> None:
    done = await exchange.work()
    exchange.flip_stored()
    await exchange.pass_on(done)


async def _flip_before_download(exchange: Exchange) -> None:
    exchange.flip_stored()
    await exchange.pass_on(await exchange.work())


async def _flip_in_answer(exchange: Exchange) -> None:
    done = await exchange.work()
    await exchange.pass_on(done.flipped())


async def _kill(exchange: Exchange) -> None:
    exchange.kill_client()
    exchange.reset()


async def _kill_after(exchange: Exchange) -> None:
    await exchange.work()
    exchange.kill_client()
    exchange.reset()


async def _fill_disk(exchange: Exchange) -> None:
    done = await exchange.work()
    fill(Path(os.environ[DISK]), leave=0)
    await exchange.pass_on(done)


async def _half_fill_disk(exchange: Exchange) -> None:
    done = await exchange.work()
    fill(Path(os.environ[DISK]), leave=len(done.body) // 2)
    await exchange.pass_on(done)


def fill(disk: Path, leave: int) -> None:
    """Take all the room of a disk but some bytes."""
    with (disk / "filler").open("ab") as file:
        if (take := shutil.disk_usage(disk).free - leave) > 0:
            os.posix_fallocate(file.fileno(), file.tell(), take)


_WRONG_TOKEN = {"X-Error-Message": "Invalid credentials in Authorization header"}

KINDS: dict[str, Kind] = {
    "429": Kind(
        f"429, Retry-After: {SECONDS_ASKED}",
        _every,
        _answers(429, {"Retry-After": str(SECONDS_ASKED)}),
        passes=True,
    ),
    "500": Kind("500 before the work", _every, _answers(500), passes=True),
    "503": Kind("503 before the work", _every, _answers(503), passes=True),
    "504": Kind("504 before the work", _every, _answers(504), passes=True),
    "504-after": Kind("504 after the work", _stores, _lost_answer, passes=True),
    "reset-request": Kind("connection reset mid-body of the request", _has_body, _reset_request, passes=True),
    "reset-answer": Kind("connection reset mid-body of the answer", _every, _reset_answer, passes=True),
    "truncated": Kind("download ends too early", _file, _truncate, passes=True),
    "flip-stored": Kind("stored byte flips after upload", _uploads, _flip_after_upload),
    "flip-read": Kind("stored byte flips before read-back", _stored_file, _flip_before_download),
    "flip-answer": Kind("byte flips on the way", _file, _flip_in_answer, passes=True),
    "401": Kind("401 from here on", _every, _answers(401, _WRONG_TOKEN), lasting=True, ends=True),
    "down": Kind("503 from here on", _stores, _answers(503), lasting=True, ends=True, patience=0.3),
    "disk-full": Kind("disk full at a download or tag", _file_or_tag, _fill_disk, disk=True),
    "disk-half": Kind("disk full within a download", _file, _half_fill_disk, disk=True),
    "kill": Kind("SIGKILL before the work", _every, _kill, ends=True),
    "kill-after": Kind("SIGKILL after the work", _stores, _kill_after, ends=True),
}
SMALL_DISK = "disk-small"
# Of the release's size, what is free on the run's disk from the start.
SMALL_DISKS = (0.0, 0.5, 0.9, 1.0, 1.02, 1.05, 1.1, 1.5)
DOES = {name: kind.does for name, kind in KINDS.items()} | {SMALL_DISK: "small disk from the start"}
