"""Where the nodes of a training meet: what torchrun is told of it, and the network that they reach each other by."""

import contextlib
import ipaddress
import os
import socket
import time
import uuid

from recipe.errors import UserError
from recipe.nodes import Nodes

SECONDS = 1800  # one node may have a base to download that another has already
CONF = "PET_RDZV_CONF"  # where torchrun looks for what a user wants otherwise
ANYWHERE = "192.0.2.1"  # of RFC 5737: nobody's; what is sent there takes the default route


def meeting(nodes: Nodes) -> list[str]:
    """Return what torchrun is told of the nodes; all of it, as it would take the rest from the environment.

    Raises:
        UserError: This is node 0, and can't listen on its port.
    """
    restarts = f"--max-restarts={nodes.restarts}"
    if nodes.count == 1:
        # The name of this machine may lead nowhere, as in a container without a network.
        return [
            "--nnodes=1",
            "--local-addr=127.0.0.1",
            "--rdzv-backend=c10d",
            "--rdzv-endpoint=127.0.0.1:0",  # any port that is free
            f"--rdzv-id={uuid.uuid4()}",
            restarts,
        ]
    if nodes.first:
        try:
            socket.create_server(("", nodes.port)).close()
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise UserError(
                f"--rdzv-endpoint {nodes.endpoint}: node 0 can't listen on this port ({why}); choose another"
            ) from None
    how = _by_c10d(nodes) if nodes.restarts else _by_rank(nodes)
    return [f"--nnodes={nodes.count}", f"--rdzv-endpoint={nodes.endpoint}", "--rdzv-id=notus", restarts, *how]


def wait_for_node_0(nodes: Nodes) -> None:
    """Wait until node 0 listens, or as long as the nodes have to meet: by c10d torchrun would wait a minute only."""
    until = time.monotonic() + meeting_seconds()
    while not nodes.first and nodes.restarts and time.monotonic() < until:
        with contextlib.suppress(OSError):
            socket.create_connection((nodes.host, nodes.port), timeout=5).close()
            return
        time.sleep(1)


def meeting_seconds() -> float:
    """Return how long the nodes have to meet: PET_RDZV_CONF=timeout=SECONDS says otherwise."""
    given = dict(one.partition("=")[::2] for one in os.environ.get(CONF, "").split(","))
    return float(given.get("timeout") or SECONDS)


def _by_rank(nodes: Nodes) -> list[str]:
    """Have each node the rank that it is given: they meet once, and nothing is between their ranks from then on."""
    conf = [] if CONF in os.environ else [f"--rdzv-conf=timeout={SECONDS}"]
    return ["--rdzv-backend=static", f"--node-rank={nodes.rank}", *conf]


def _by_c10d(nodes: Nodes) -> list[str]:
    """Have the nodes meet again when a rank of one of them is started again: all others have to be, too.

    There torchrun deals the ranks in the order of the nodes' names, and node 0 has to be the first: its first rank is
    the one that writes. Its name is where the others reach it; theirs are names only.
    """
    name = (
        nodes.host if nodes.first else f"~{nodes.rank:06}"
    )  # "~" comes after all that an address is made of
    conf = (
        f"join_timeout={meeting_seconds():.0f},is_host={int(nodes.first)},{os.environ.get(CONF, '')}".rstrip(
            ","
        )
    )
    return ["--rdzv-backend=c10d", f"--local-addr={name}", f"--rdzv-conf={conf}"]


def gloo_between(nodes: Nodes) -> dict[str, str]:
    """Return, as a variable for Gloo, the network interface that leads to the other nodes; nothing where none is known.

    Gloo would take the one that this machine's own name leads to: on many machines that is the loopback, where no
    other node can be met, and the ranks would wait for each other until they time out.
    """
    import psutil

    if nodes.count == 1:
        return {}
    address = _address_towards(nodes.host, nodes.port)
    named_so = nodes.host == "localhost" or _is_loopback(nodes.host)
    if address and _is_loopback(address) and not named_so:
        address = _address_towards(ANYWHERE, nodes.port)  # to itself, a machine's name may mean just that
    for name, addresses in psutil.net_if_addrs().items():
        if address in {one.address.partition("%")[0] for one in addresses}:
            return {"GLOO_SOCKET_IFNAME": name}
    return {}


def _address_towards(host: str, port: int) -> str | None:
    """Return the address that this machine has towards another; nothing is sent."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as way:
            way.connect(where)
            return str(way.getsockname()[0]).partition("%")[0]
    except OSError:
        return None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
