"""Start and stop: in this process until a signal (`serve`), or in another within a `with` (`running`)."""

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from publish.localhub.users import DEFAULT_USER, User, Users
from recipe.errors import UserError
from recipe.secret import SIGNING, environment_without

HOST = "127.0.0.1"
# Seconds for a server to come up, and to finish what it does when told to stop.
START, STOP = 60, 10


@dataclass(frozen=True)
class LocalHub:
    """A Hub that runs: its address, and its default user with token."""

    endpoint: str
    token: str
    user: str
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that send the clients to this Hub. They are read when huggingface_hub is imported."""
        return {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": self.token, "HF_HUB_DISABLE_XET": "1"}


def _users(root: Path) -> Users:
    try:
        return Users(root)
    except OSError as error:
        raise UserError(f"The Hub cannot use the folder {root}: {error.strerror}") from error


def local_token(root: Path) -> str:
    """Return the token of the default user; on a folder's first use it is made.

    Raises:
        UserError: the folder cannot be made or read.
    """
    return _users(root).named(DEFAULT_USER).token


def add_user(
    root: Path,
    name: str,
    *,
    token: str,
    fullname: str | None = None,
    orgs: tuple[str, ...] = (),
    private_orgs: tuple[str, ...] = (),
    role: str = "write",
) -> None:
    """Add a user, or replace one; a server that runs on the folder knows at once.

    Args:
        root: the Hub's folder.
        name: also the user's namespace.
        token: in full, `hf_...`.
        fullname: as shown; the name without one.
        orgs: more namespaces to write in.
        private_orgs: likewise, where new repositories are private unless asked otherwise.
        role: of the token, read or write.
    """
    _users(root).add(User(name, token, fullname or name, role, orgs, private_orgs))


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"The Hub cannot listen on {host}:{port}: {reason}. Choose another port.") from error
    return listener


def serve(
    root: Path,
    port: int = 0,
    *,
    host: str = HOST,
    on_ready: Callable[[str], None] | None = None,
    while_open: int | None = None,
) -> None:
    """Serve the Hub in a folder until SIGINT or SIGTERM.

    Args:
        root: the Hub's folder; made where it is missing.
        port: 0 takes a free one.
        host: the address to listen at; loopback unless others are to reach it.
        on_ready: called with the address once it answers.
        while_open: a file descriptor; the server stops too when its other end is closed.

    Raises:
        UserError: the port is taken, or the folder cannot be made.
    """
    import uvicorn

    from publish.localhub.app import HOSTS, make_app

    _users(root)
    # On loopback no other name is right: a page in a browser here could come by one. To others we have any name.
    app = make_app(root, HOSTS if host in HOSTS else ["*"])
    with _listen(host, port) as listener:
        endpoint = f"http://{host}:{listener.getsockname()[1]}"

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if on_ready:
                    on_ready(endpoint)

        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(STOP / 2),
        )
        server = Server(config)
        if while_open is not None:
            threading.Thread(target=_stop_at_end, args=(server, while_open), daemon=True).start()
        with suppress(KeyboardInterrupt, SystemExit):  # uvicorn raises the signal again once it has stopped
            server.run(sockets=[listener])


def _stop_at_end(server: "uvicorn.Server", descriptor: int) -> None:  # type: ignore[name-defined]  # noqa: F821
    while os.read(descriptor, 1024):
        pass
    server.should_exit = True


@contextmanager
def running(root: Path, port: int = 0) -> Iterator[LocalHub]:
    """Serve the Hub in a folder from a process of its own, which ends with the `with` or with this process.

    What the server says is in DIR/server.log.

    Raises:
        UserError: the folder cannot be made or read, or the server does not come up, with its last line.
    """
    token = local_token(root)
    command = [sys.executable, "-m", "publish.localhub", "--root", str(root), "--port", str(port), "--child"]
    above = str(Path(__file__).parents[2])
    path = os.pathsep.join([above, *filter(None, [os.environ.get("PYTHONPATH")])])
    with (
        (root / "server.log").open("w+b") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**environment_without(SIGNING), "PYTHONPATH": path},
        ) as process,
    ):
        try:
            endpoint = _first_line(process)
            if not endpoint:
                process.kill()
                process.wait()
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()
                raise UserError(said[-1] if said else f"The Hub in {root} did not come up in {START} s")
            yield LocalHub(endpoint, token, DEFAULT_USER, root)
        finally:
            process.terminate()
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                process.kill()


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """Return the address that the server prints once it answers, empty if it never does."""
    assert process.stdout
    deadline = time.monotonic() + START
    said = b""
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0))
        chunk = os.read(process.stdout.fileno(), 1024) if ready else b""
        if not chunk:
            return ""
        said += chunk
    return said.decode().strip()
