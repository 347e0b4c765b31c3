"""What torchrun is told of the nodes, and the network that they meet on."""

import socket
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from recipe.errors import UserError
from recipe.meeting import SECONDS, gloo_between, meeting, meeting_seconds
from recipe.nodes import ALONE, Nodes


@pytest.fixture
def port() -> int:
    """A port of this machine that is free."""
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


def value_of(options: list[str], name: str) -> str:
    (found,) = [option for option in options if option.startswith(f"--{name}=")]
    return found.partition("=")[2]


def test_nodes_that_meet_once_have_the_ranks_that_they_are_given(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in (0, 1):
        options = meeting(Nodes(2, rank, f"localhost:{port}"))
        assert value_of(options, "rdzv-backend") == "static"
        assert value_of(options, "node-rank") == str(rank)
        assert value_of(options, "rdzv-conf") == f"timeout={SECONDS}"
        assert value_of(options, "max-restarts") == "0"
    monkeypatch.setenv("PET_RDZV_CONF", "timeout=7")
    assert not any("rdzv-conf" in option for option in meeting(Nodes(2, 1, "host:1")))  # torchrun reads it


@pytest.mark.parametrize("host", ["10.0.0.9", "node0", "zebra.example", "ZEBRA", "[fe80::ff]", "[::1]"])
def test_nodes_that_meet_again_have_their_ranks_by_the_order_of_their_names(port: int, host: str) -> None:
    nodes = [meeting(Nodes(12, rank, f"{host}:{port}", 3)) for rank in range(12)]
    names = [value_of(options, "local-addr") for options in nodes]
    assert names == sorted(names)
    assert len(set(names)) == 12
    assert names[0] == host.strip("[]")
    assert {value_of(options, "rdzv-backend") for options in nodes} == {"c10d"}
    assert {value_of(options, "max-restarts") for options in nodes} == {"3"}
    hosts = [value_of(options, "rdzv-conf") for options in nodes]
    assert hosts == [f"join_timeout={SECONDS},is_host={int(rank == 0)}" for rank in range(12)]


def test_the_time_to_meet_is_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert meeting_seconds() == SECONDS
    monkeypatch.setenv("PET_RDZV_CONF", "read_timeout=30,timeout=7")
    assert meeting_seconds() == 7
    conf = value_of(meeting(Nodes(2, 1, "host:1", 1)), "rdzv-conf")
    assert conf == "join_timeout=7,is_host=0,read_timeout=30,timeout=7"


def test_node_0_needs_its_port(port: int) -> None:
    with socket.create_server(("", port)), pytest.raises(UserError, match="can't listen on this port"):
        meeting(Nodes(2, 0, f"localhost:{port}", 1))


def test_gloo_takes_the_network_that_leads_to_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    (loopback,) = [
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(one.address == "127.0.0.1" for one in addresses)
    ]
    for host in ("127.0.0.1", "localhost"):
        assert gloo_between(Nodes(2, 0, f"{host}:1")) == {"GLOO_SOCKET_IFNAME": loopback}
    assert gloo_between(Nodes(2, 1, "nowhere.invalid:1")) == {}
    assert gloo_between(ALONE) == {}
    # To itself a machine is at its loopback: the others don't reach it there.
    monkeypatch.setattr(socket, "getaddrinfo", by_name(socket.getaddrinfo))
    assert gloo_between(Nodes(2, 0, "node0:1")).get("GLOO_SOCKET_IFNAME") != loopback


def by_name(look_up: Callable[..., Any]) -> Callable[..., Any]:
    """Return a look-up to which `node0` is what Debian writes into /etc/hosts of it."""
    return lambda host, *rest, **more: look_up("127.0.1.1" if host == "node0" else host, *rest, **more)
