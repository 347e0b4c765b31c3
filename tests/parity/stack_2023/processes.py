"""Real processes joined by gloo, with the environment that a launcher gives them."""

import ctypes
import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing


def in_processes(processes: int, work: Callable[..., None], *arguments: Any) -> None:
    """Do `work(*arguments)` in each of so many processes; one is this process.

    They are forked, so that the libraries, which take seconds to import, are imported once. Nothing may have
    computed with torch before: OpenMP's threads do not survive a fork.
    """
    _keep_memory()
    if processes == 1:
        work(*arguments)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        _process, (processes, port, work, arguments), nprocs=processes, start_method="fork"
    )


def gathered(value: Any) -> list[Any]:
    """Return the value of each process, by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _process(rank: int, processes: int, port: int, work: Callable[..., None], arguments: Any) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        OMP_NUM_THREADS="1",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(processes),
        LOCAL_WORLD_SIZE=str(processes),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    work(*arguments)
    dist.destroy_process_group()


def _keep_memory() -> None:
    """Have glibc keep what is freed; it changes no number.

    Giving the logits back to the system and faulting them in again, micro-batch for micro-batch, takes more time than
    the model does.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-4, 0)  # M_MMAP_MAX
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
