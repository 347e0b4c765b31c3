"""Several nodes of one training: which of them this is, and where they meet."""

import os
from dataclasses import dataclass

from recipe.errors import UserError


@dataclass(frozen=True)
class Nodes:
    """One node of those that train together.

    Attributes:
        count: How many there are.
        rank: Which this is, from 0. Node 0 owns what training makes.
        endpoint: HOST:PORT, where node 0 listens; empty where there is one node only.
        restarts: How often its ranks are started again when one of them is lost.
    """

    count: int = 1
    rank: int = 0
    endpoint: str = ""
    restarts: int = 0

    @property
    def first(self) -> bool:
        """Whether this is node 0."""
        return self.rank == 0

    @property
    def port(self) -> int:
        """The port of the endpoint."""
        return int(self.endpoint.rpartition(":")[2])

    @property
    def host(self) -> str:
        """The host of the endpoint, an address of IPv6 without its brackets."""
        return self.endpoint.rpartition(":")[0].strip("[]")

    def __str__(self) -> str:
        return f"node {self.rank} of {self.count}"


ALONE = Nodes()


def nodes_from(nnodes: int, node_rank: int | None, rdzv_endpoint: str | None, max_restarts: int = 0) -> Nodes:
    """Return the node that torchrun's options of these names are of.

    Without an endpoint it is MASTER_ADDR and MASTER_PORT of the environment, if they are there.

    Raises:
        UserError: There is no such node, or no place to meet.
    """
    if nnodes < 1:
        raise UserError(f"--nnodes {nnodes}: give 1 or more")
    if max_restarts < 0:
        raise UserError(f"--max-restarts {max_restarts}: give 0 or more")
    last = nnodes - 1
    if node_rank is None and nnodes > 1:
        raise UserError(f"--node-rank: not given; say which of the {nnodes} nodes this is, 0 to {last}")
    if node_rank is not None and not 0 <= node_rank <= last:
        within = f"0 to {last}" if last else "0; for more than one node give --nnodes"
        raise UserError(f"--node-rank {node_rank}: of {nnodes} node(s) it can be {within}")
    if nnodes == 1:
        return Nodes(restarts=max_restarts)
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if rdzv_endpoint is None and host and port:
        rdzv_endpoint = f"{host}:{port}"
    if rdzv_endpoint is None:
        raise UserError("--rdzv-endpoint: not given; give HOST:PORT of node 0, a port that all nodes reach")
    host, _, port = rdzv_endpoint.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--rdzv-endpoint {rdzv_endpoint}: must be HOST:PORT, of node 0")
    return Nodes(nnodes, node_rank or 0, rdzv_endpoint, max_restarts)
