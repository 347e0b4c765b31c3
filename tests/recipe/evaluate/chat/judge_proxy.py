"""Between the judge's client and its server: what a network and a busy endpoint do to requests, by a script.

A request that is not troubled goes on to the server behind, and its answer comes back as it is.
"""

import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

Upstream = Callable[[bytes], tuple[int, bytes]]
"""Answers a request's body: status and body."""

GARBAGE = b'{"choices": [{"message": {"content": "Output (a'


class Trouble:
    """What is done to a request instead of passing it on.

    Args:
        status: Answered.
        body: Answered; without one, an error as OpenAI's, or with 200 a part of an answer.
        headers: Of the answer.
        reset: The connection is reset.
        cut: The body ends halfway, whatever its length was said to be.
        silent: Seconds for which nothing comes.
    """

    def __init__(
        self,
        status: int = 200,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        reset: bool = False,
        cut: bool = False,
        silent: float = 0,
        code: str | None = None,
        said: str = "not now",
    ) -> None:
        self.status, self.body, self.headers = status, body, headers or {}
        self.reset, self.cut, self.silent = reset, cut, silent
        self.code, self.said = code, said


TROUBLES = (
    Trouble(429, headers={"Retry-After": "1"}),
    Trouble(503),
    Trouble(reset=True),
    Trouble(cut=True),
    Trouble(body=b"<html>a gateway's page</html>"),
    Trouble(body=b'{"object": "chat.completion", "choices": []}'),
    Trouble(silent=8.0),
    Trouble(500),
)
Script = Callable[[str, int], Trouble | None]
"""By a body's hash and which attempt at it this is (1, 2, ...): what happens to it, if anything."""


class Proxy:
    """A proxy that counts.

    Attributes:
        url: What to give as the endpoint.
        seen: Requests for completions, by the hash of their body.
        answered: Those whose answer was passed back whole.
        times: When each request came, in order, by body.
        bodies: The requests, by hash.
        key: What the client has to send; anything, if none.
    """

    def __init__(self, upstream: Upstream, script: Script | None = None, key: str | None = None) -> None:
        self.upstream, self.script, self.key = upstream, script, key
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self.bodies: dict[str, dict[str, Any]] = {}
        self.busiest = self._busy = 0
        self.lock = threading.Lock()
        self.came = threading.Condition(self.lock)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def wait_for(self, requests: int, timeout: float = 60) -> None:
        """Wait until so many requests have come."""
        with self.came:
            assert self.came.wait_for(lambda: self.seen.total() >= requests, timeout), self.seen

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count how many are worked on at the same time."""
        with self.lock:
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
        try:
            yield
        finally:
            with self.lock:
                self._busy -= 1


def server_at(url: str) -> Upstream:
    """Return a server of OpenAI's protocol as what lies behind a proxy."""

    def ask(body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        found = httpx2.post(f"{url}/chat/completions", content=body, headers=headers, timeout=300)
        return found.status_code, found.content

    return ask


def saying(answer: Callable[[str], str]) -> Upstream:
    """Return a server that says what a function makes of the last message: for what no real one can be made to say."""

    def ask(body: bytes) -> tuple[int, bytes]:
        asked = json.loads(body)["messages"][-1]["content"]
        return 200, completion(answer(asked))

    return ask


def completion(text: str | None, **more: Any) -> bytes:
    """Return a body as an endpoint answers."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "judge-1", "choices": [choice]}
    return json.dumps(body).encode()


def once(*troubles: Trouble) -> Script:
    """Give each body's first attempts one of these each, from another one on for each body."""
    order: dict[str, int] = {}

    def script(body: str, attempt: int) -> Trouble | None:
        place = order.setdefault(body, len(order))
        return troubles[place % len(troubles)] if attempt == 1 else None

    return script


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self._refused():
                return
            self._send(200, b'{"object": "list", "data": []}')

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self._refused():
                return
            digest = hashlib.sha256(body).hexdigest()
            with proxy.came:
                proxy.seen[digest] += 1
                attempt = proxy.seen[digest]
                proxy.times.setdefault(digest, []).append(time.monotonic())
                proxy.bodies[digest] = json.loads(body)
                proxy.came.notify_all()
            trouble = proxy.script(digest, attempt) if proxy.script else None
            if trouble is not None:
                self._trouble(trouble)
                return
            with proxy.working():
                status, answer = proxy.upstream(body)
            self._send(status, answer)
            if status == 200:
                with proxy.lock:
                    proxy.answered[digest] += 1

        def _refused(self) -> bool:
            if proxy.key is None or self.headers.get("Authorization") == f"Bearer {proxy.key}":
                return False
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            error = {"message": f"Incorrect API key provided: {given}.", "code": "invalid_api_key"}
            self._send(401, json.dumps({"error": error}).encode())
            return True

        def _trouble(self, trouble: Trouble) -> None:
            if trouble.silent:
                time.sleep(trouble.silent)
                self.close_connection = True
            elif trouble.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            else:
                error = {"error": {"message": trouble.said, "code": trouble.code}}
                wrong = GARBAGE if trouble.status == 200 else json.dumps(error).encode()
                self._send(trouble.status, trouble.body or wrong, trouble.headers, cut=trouble.cut)

        def _send(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) * (2 if cut else 1)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = cut

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def handle(self) -> None:
            with suppress(OSError, ValueError):  # the client is gone, or was sent away
                super().handle()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    return Handler
