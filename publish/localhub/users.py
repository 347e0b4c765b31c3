"""Users, their tokens and signed URLs: all that DIR/tokens.json (mode 0600) holds."""

import hashlib
import hmac
import json
import os
import secrets
import string
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from publish.localhub.errors import ForbiddenError, UnauthorizedError

DEFAULT_USER = "notus"

_ALPHANUMERIC = string.ascii_letters + string.digits


@dataclass(frozen=True)
class User:
    """Who a token stands for. `role` is read or write; in `private_orgs` new repositories are private."""

    name: str
    token: str
    fullname: str
    role: str = "write"
    orgs: tuple[str, ...] = ()
    private_orgs: tuple[str, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Names under which the user's repositories lie."""
        return (self.name, *self.orgs, *self.private_orgs)

    def owns(self, namespace: str) -> bool:
        """Whether a namespace is the user's, without regard to case, as on the Hub."""
        return namespace.lower() in {name.lower() for name in self.namespaces}


class Users:
    """The tokens file. It is read anew when it has changed, so `add_user` reaches a running server."""

    def __init__(self, root: Path) -> None:
        self.path = root / "tokens.json"
        self._lock = FileLock(root / "tokens.lock")
        self._seen: tuple[int, int] = (0, 0)
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            if not self.path.exists():
                self._secret = secrets.token_hex(32)
                token = "hf_" + "".join(secrets.choice(_ALPHANUMERIC) for _ in range(34))
                self._users = {DEFAULT_USER: User(DEFAULT_USER, token, "Notus")}
                self._write()
        self._load()

    def _load(self) -> None:
        stat = self.path.stat()
        if (stamp := (stat.st_mtime_ns, stat.st_ino)) == self._seen:
            return
        held = json.loads(self.path.read_text())
        self._secret = held["secret"]
        lists = ("orgs", "private_orgs")
        users = [User(**user | {key: tuple(user[key]) for key in lists}) for user in held["users"]]
        self._users = {user.name: user for user in users}
        self._seen = stamp

    def _write(self) -> None:
        held = {"secret": self._secret, "users": [asdict(user) for user in self._users.values()]}
        # mkstemp makes the file with mode 0600: at no moment can another account read it.
        handle, aside = tempfile.mkstemp(dir=self.path.parent, prefix="tokens.")
        with os.fdopen(handle, "w") as file:
            json.dump(held, file, indent=2)
        Path(aside).replace(self.path)

    def add(self, user: User) -> None:
        """Add a user or replace the one of that name."""
        with self._lock:
            self._load()
            self._users[user.name] = user
            self._write()
        self._load()

    def named(self, name: str) -> User:
        """Return the user of that name.

        Raises:
            KeyError: there is none.
        """
        self._load()
        return self._users[name]

    def of_header(self, authorization: str | None) -> User | None:
        """Return who sent an `Authorization` header, None where there is none.

        Raises:
            UnauthorizedError: a token that nobody has. The client knows this message: with another one it
                would tell of a missing repository.
        """
        if authorization is None:
            return None
        self._load()
        scheme, _, token = authorization.partition(" ")
        found = None
        for user in self._users.values():  # all of them: the time taken says nothing about the match
            if hmac.compare_digest(user.token.encode(), token.strip().encode()):
                found = user
        if found is None or scheme.lower() != "bearer":
            raise UnauthorizedError("Invalid credentials in Authorization header")
        return found

    def _mac(self, parts: Sequence[str]) -> str:
        return hmac.new(self._secret.encode(), "\n".join(parts).encode(), hashlib.sha256).hexdigest()

    def sign(self, *parts: str, seconds: int = 6 * 3600) -> str:
        """Return a query string that lets whoever holds the URL do what `parts` say, for a while."""
        expires = str(int(time.time()) + seconds)
        return f"expires={expires}&signature={self._mac([*parts, expires])}"

    def check(self, *parts: str, expires: str, signature: str) -> None:
        """Check what `sign` made.

        Raises:
            ForbiddenError: another URL was signed, or its time is over.
        """
        good = hmac.compare_digest(self._mac([*parts, expires]).encode(), signature.encode())
        if not good or int(expires) < time.time():
            raise ForbiddenError("This signed URL is not valid or its time is over")
