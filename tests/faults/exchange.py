"""One request to the Hub under the harness's hands: counted, answered otherwise, cut off, or its client killed."""

import asyncio
import contextlib
import json
import mmap
import os
import re
import signal
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A commit's id is another in each release, and so are those of a collection and of what is in it.
_ANOTHER = re.compile(r"(?<=[/-])(?:[0-9a-f]{40}|[0-9a-f]{24})(?=/|$)")
_WRITES = re.compile(
    r"/api/repos/create|.*/commit/[^/]+|.*/tag/[^/]+|/lfs-files/[0-9a-f]{64}|/api/collections.*"
)


@dataclass(frozen=True)
class Key:
    """Which request of a release it is: the `nth`, from 0, of that method and path."""

    method: str
    path: str
    nth: int

    def __str__(self) -> str:
        path = re.sub(r"(/lfs-files/[0-9a-f]{8})[0-9a-f]+", r"\1", self.path)
        return f"{self.method} {path}" + (f" (the {self.nth + 1}.)" if self.nth else "")


@dataclass(frozen=True)
class Seen:
    """A request as it was: bytes of the two bodies, the status, and when it came (seconds).

    `wrong` is what was wrong on the Hub right after it, if it made a tag.
    """

    method: str
    path: str
    nth: int
    sent: int
    answered: int
    status: int
    at: float
    wrong: list[str] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """Which request it is."""
        return Key(self.method, self.path, self.nth)

    @property
    def writes(self) -> bool:
        """Whether it changes what is stored."""
        return self.method in {"POST", "PUT", "PATCH"} and bool(_WRITES.fullmatch(self.path))

    @property
    def of_a_collection(self) -> bool:
        """Whether it is about a collection, without which a release is whole."""
        return self.path.startswith("/api/collections")

    @property
    def of_a_file(self) -> bool:
        """Whether its answer is a file's content, or where that is."""
        return "/resolve/" in self.path or self.path.startswith("/lfs-files/")


@dataclass(frozen=True)
class Done:
    """The Hub's own answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def flipped(self) -> "Done":
        """Return the same with one bit of the body's middle another."""
        body = bytearray(self.body)
        body[len(body) // 2] ^= 1
        return replace(self, body=bytes(body))


class Journal:
    """The requests of one client, counted as they come and written down as they end, a line each.

    Args:
        path: Where.
        look: Says what is wrong on the Hub; asked each time that a tag was made.
    """

    def __init__(self, path: Path, look: Callable[[], list[str]]) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._look = look
        self._counts: Counter[tuple[str, str]] = Counter()

    def key(self, scope: Scope) -> Key:
        """Return which request this is."""
        method, path = scope["method"], _ANOTHER.sub("*", scope["raw_path"].decode("latin-1"))
        nth = self._counts[method, path]
        self._counts[method, path] += 1
        return Key(method, path, nth)

    def write(self, seen: Seen) -> None:
        """Write a request down."""
        if seen.method == "POST" and "/tag/" in seen.path:
            seen = replace(seen, wrong=self._look())
        os.write(self._descriptor, (json.dumps(asdict(seen)) + "\n").encode())


def read_journal(path: Path) -> list[Seen]:
    """Return the requests of a client in the order in which they came."""
    found = [Seen(**json.loads(line)) for line in path.read_text(encoding="ascii").splitlines()]
    return sorted(found, key=lambda seen: seen.at)


class Exchange:
    """A request, and what may be done with it.

    Args:
        asgi: The application, and what it is called with.
        transport: The connection.
        root: The Hub's folder.
        client: Holds the client's process id.
    """

    def __init__(
        self,
        asgi: tuple[ASGIApp, Scope, Receive, Send],
        transport: asyncio.Transport,
        root: Path,
        client: mmap.mmap,
    ) -> None:
        self._app, self._scope, self._receive, self._send = asgi
        self._transport, self._root, self._client = transport, root, client
        self.sent = self.answered = self.status = 0

    @property
    def only_head(self) -> bool:
        """Whether the answer has no body, whatever its headers say."""
        return bool(self._scope["method"] == "HEAD")

    async def receive(self) -> Message:
        """Take the next part of the request."""
        message = await self._receive()
        self.sent += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Send the next part of the answer."""
        self.status = message.get("status", self.status)
        self.answered += len(message.get("body", b"")) if not self.only_head else 0
        await self._send(message)

    async def plain(self) -> None:
        """Let it be."""
        await self._app(self._scope, self.receive, self.send)

    async def drain(self) -> None:
        """Read the request to its end."""
        while (message := await self.receive())["type"] == "http.request" and message.get("more_body"):
            pass

    async def work(self, receive: Receive | None = None) -> Done:
        """Have the Hub do it, and return the answer instead of sending it."""
        start: list[Message] = []
        body = bytearray()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
            else:
                body.extend(message.get("body", b""))

        await self._app(self._scope, receive or self.receive, keep)
        headers: Any = start[0].get("headers", [])
        return Done(start[0]["status"], list(headers), bytes(body))

    async def work_on_half(self) -> None:
        """Have the Hub read the request's first half, and nothing after it."""
        given: list[bytes] = []

        async def half() -> Message:
            if given:
                return {"type": "http.disconnect"}
            given.append((await self.receive()).get("body", b""))
            return {"type": "http.request", "body": given[0][: len(given[0]) // 2], "more_body": True}

        with contextlib.suppress(Exception):  # the Hub's own way to say that the client has gone
            await self.work(half)

    async def answer(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        """Answer something else."""
        found = {"Content-Type": "application/json", "X-Error-Message": f"made to fail: {status}"}
        body = json.dumps({"error": f"made to fail: {status}"}).encode()
        raw = [(k.lower().encode(), v.encode()) for k, v in (found | dict(headers or {})).items()]
        await self.pass_on(Done(status, [*raw, (b"content-length", str(len(body)).encode())], body))

    async def pass_on(self, done: Done) -> None:
        """Send an answer."""
        await self.send({"type": "http.response.start", "status": done.status, "headers": done.headers})
        await self.send({"type": "http.response.body", "body": done.body, "more_body": False})

    async def begin(self, done: Done) -> None:
        """Send an answer's head, and the first half of its body."""
        await self.send({"type": "http.response.start", "status": done.status, "headers": done.headers})
        half = done.body[: len(done.body) // 2]
        await self.send({"type": "http.response.body", "body": half, "more_body": True})

    def close(self) -> None:
        """Hang up in good order."""
        self._transport.close()

    def reset(self) -> None:
        """Break the connection: the client's system gets a RST."""
        connection: Any = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def kill_client(self) -> None:
        """End the client as the kernel does when memory is out."""
        os.kill(int.from_bytes(self._client[:8], "little"), signal.SIGKILL)

    def flip_stored(self) -> None:
        """Change one bit of the large file that the path names, where it is stored."""
        oid = self._scope["path"].rpartition("/")[2]
        path = self._root / "lfs" / oid[:2] / oid[2:4] / oid
        if path.is_file():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)


Trap = Callable[[Key], "Callable[[Exchange], Any] | None"]


class Watched:
    """The Hub's application on one connection, with a trap at some requests.

    Args:
        app: The application.
        transport: The connection.
        root: The Hub's folder.
        client: Holds the client's process id.
        journal: Where requests are written down.
        trap: Says what is to be done with a request; None lets it be.
    """

    def __init__(
        self,
        app: ASGIApp,
        transport: asyncio.Transport,
        root: Path,
        client: mmap.mmap,
        journal: Journal,
        trap: Trap,
    ) -> None:
        self._app, self._transport, self._root, self._client = app, transport, root, client
        self._journal, self._trap = journal, trap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        at = asyncio.get_running_loop().time()
        key = self._journal.key(scope)
        exchange = Exchange((self._app, scope, receive, send), self._transport, self._root, self._client)
        do = self._trap(key)
        try:
            await (do(exchange) if do else exchange.plain())
        finally:
            self._journal.write(
                Seen(key.method, key.path, key.nth, exchange.sent, exchange.answered, exchange.status, at)
            )
