"""What every route needs: who calls, on which repository, with what; and how a refusal is sent."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from publish.localhub.errors import (
    ForbiddenError,
    HubError,
    InvalidError,
    RepoNotFoundError,
    UnauthorizedError,
)
from publish.localhub.lfs import LargeFiles, Pointer
from publish.localhub.repository import Meta, Repository
from publish.localhub.shelf import Collections
from publish.localhub.store import Store
from publish.localhub.users import User, Users

# Longest body taken of a call that is read as a whole (bytes).
MAX_BODY = 64 * 1024 * 1024


class Hub:
    """All the state there is; it lies on disk."""

    def __init__(self, root: Path) -> None:
        root = root.resolve()
        self.users = Users(root)
        self.store = Store(root)
        self.large = LargeFiles(root)
        self.collections = Collections(root)


@dataclass(frozen=True)
class Call:
    """One request, its body aside. `params` are the parts of its path, decoded."""

    hub: Hub
    request: Request
    user: User | None
    params: dict[str, str]
    body: bytes = b""

    @staticmethod
    def of(request: Request, body: bytes = b"") -> "Call":
        """Read a request.

        Raises:
            UnauthorizedError: a token that nobody has.
        """
        hub: Hub = request.app.state.hub
        params = {key: unquote(value) for key, value in request.path_params.items()}
        return Call(hub, request, hub.users.of_header(request.headers.get("authorization")), params, body)

    @property
    def endpoint(self) -> str:
        """Address of the Hub as the caller knows it."""
        return str(self.request.base_url).rstrip("/")

    def json(self) -> dict[str, Any]:
        """Return the body, a JSON object.

        Raises:
            InvalidError: it is not.
        """
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise InvalidError(f"The body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise InvalidError("The body is not a JSON object")
        return value

    def form(self) -> dict[str, list[str]]:
        """Return the body, a form."""
        return parse_qs(self.body.decode(errors="replace"))

    def flag(self, name: str) -> bool:
        """Whether a query parameter says yes."""
        return self.request.query_params.get(name, "").lower() in ("1", "true")

    def number(self, name: str, default: int) -> int:
        """Return a query parameter, a number; the default where it is none."""
        value = self.request.query_params.get(name, "")
        return int(value) if value.isdecimal() else default

    def signed_in(self) -> User:
        """Return who calls.

        Raises:
            UnauthorizedError: nobody does.
        """
        if self.user is None:
            raise UnauthorizedError("Invalid username or password.")
        return self.user

    def writer(self) -> User:
        """Return who calls, if with a token that writes.

        Raises:
            UnauthorizedError: nobody does.
            ForbiddenError: the token only reads.
        """
        user = self.signed_in()
        if user.role != "write":
            raise ForbiddenError("This token has no write permission")
        return user

    def may_write(self, namespace: str) -> User:
        """Return who calls, if the namespace is theirs.

        Raises:
            UnauthorizedError: nobody does.
            ForbiddenError: a token that only reads, or the namespace is another's.
        """
        user = self.writer()
        if not user.owns(namespace):
            raise ForbiddenError(f'You don\'t have the rights to write under the namespace "{namespace}"')
        return user

    def meta(self, *, write: bool = False, kind: str = "", repo_id: str = "") -> Meta:
        """Return what is known of the repository that the path names, or of another.

        Raises:
            RepoNotFoundError: there is none, or it is private and another's.
            UnauthorizedError: it would be written without a token.
            ForbiddenError: it would be written by another.
        """
        repo_id = repo_id or f"{self.params['namespace']}/{self.params['name']}"
        meta = self.hub.store.meta(kind or self.params.get("kind", "models"), repo_id)
        if meta.private and not (self.user and self.user.owns(meta.namespace)):
            raise RepoNotFoundError("Repository not found")
        if write:
            self.may_write(meta.namespace)
        return meta

    @contextmanager
    def reading(self) -> Iterator[Repository]:
        """Open the repository that the path names, as `meta` finds it."""
        with self.hub.store.open(self.meta()) as repository:
            yield repository

    @contextmanager
    def writing(self) -> Iterator[Repository]:
        """Open the repository that the path names, alone, as `meta` finds it."""
        with self.hub.store.locked(self.meta(write=True)) as repository:
            yield repository


def author(user: User) -> str:
    """Return a user as git's author."""
    return f"{user.name} <{user.name}@users.noreply.localhub>"


def name_of(author_line: bytes) -> str:
    """Return the user that `author` made an author of."""
    return author_line.decode(errors="replace").partition(" <")[0]


def date(seconds: float) -> str:
    """Return a time, in seconds since 1970, as the Hub writes it."""
    when = datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def lfs_fields(pointer: Pointer, key: str) -> dict[str, Any]:
    """Return what the Hub tells of a large file; the sha256 is `sha256` in some answers and `oid` in others."""
    return {key: pointer.oid, "size": pointer.size, "pointerSize": len(pointer.encode())}


def route(handler: Callable[[Call], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of a function that may block; it runs in a thread."""

    async def endpoint(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise InvalidError(f"The body is longer than {MAX_BODY} bytes")
        return await run_in_threadpool(lambda: handler(Call.of(request, bytes(body))))

    return endpoint


async def refuse(request: Request, error: Exception) -> Response:
    """Answer a `HubError`. One who is not signed in gets 401 for what is missing, as it might be private."""
    assert isinstance(error, HubError)
    anonymous = isinstance(error, RepoNotFoundError) and "authorization" not in request.headers
    message = " ".join(error.message.split()).encode("latin-1", "replace").decode("latin-1")
    headers = {**error.headers, "X-Error-Message": message}
    if error.code:
        headers["X-Error-Code"] = error.code
    return JSONResponse({"error": error.message, **error.body}, 401 if anonymous else error.status, headers)


async def lines(chunks: AsyncIterator[bytes], longest: int) -> AsyncIterator[bytes]:
    """Cut a body into lines, never holding more than one; empty ones are left out.

    Raises:
        InvalidError: a line longer than `longest` bytes.
    """
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *whole, rest = rest.split(b"\n")
            for line in whole:
                if line.strip():
                    yield bytes(line)
        if len(rest) > longest:
            raise InvalidError(f"A line of the body is longer than {longest} bytes")
    if rest.strip():
        yield bytes(rest)


class Frame:
    """Around all routes: match on the path as sent, as a revision keeps its %2F; name each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request; see https://asgi.readthedocs.io/en/latest/specs/main.html."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = secrets.token_hex(12).encode()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        await self.app({**scope, "path": scope["raw_path"].decode("latin-1")}, receive, named)
