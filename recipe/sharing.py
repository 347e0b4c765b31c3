"""What the ranks of a training tell each other at the end of an optimizer step: gradients, sums, and whether to end.

It is done here and not by DistributedDataParallel, whose buckets lie in another order in a process's first step than in
those after it. Where the order of an addition hangs on that, a run that was resumed would round otherwise.
"""

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import PartialState
from torch import distributed

from recipe.schema import Execution

SECONDS = 1800  # at least: one rank of each node tokenizes, and the others wait
_waiting = threading.Event()  # while this rank is in an exchange


class OthersLostError(Exception):
    """Another rank, or the way to it, is gone."""


def exchange_timeout(execution: Execution) -> timedelta:
    """Return how long the libraries are to wait for other ranks: `recipe.resume.watchdog` is first, and says where."""
    return timedelta(seconds=max(SECONDS, 2 * execution.step_timeout))


def join_ranks(execution: Execution) -> PartialState:
    """Return this rank's place among all; the first to ask for it makes the group that all then go on with."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=exchange_timeout(execution))


def waits_for_others() -> bool:
    """Whether this rank waits for what the others have found: in an exchange of ours, or of a library's."""
    if _waiting.is_set():
        return True
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_globals.get("__name__") == distributed.distributed_c10d.__name__:
            return True
        frame = frame.f_back
    return False


def others_lost(error: BaseException) -> bool:
    """Whether an error is of an exchange to which no answer can come any more, in the words of whoever asked."""
    if isinstance(error, OthersLostError | distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error)  # which has no error of its own


def add_up(values: Sequence[float], device: torch.device) -> list[float]:
    """Return the sums of `values` over all ranks, float64; the values themselves where there is one only.

    Raises:
        OthersLostError: No answer can come any more.
    """
    if not _several():
        return list(values)
    shared = torch.tensor(values, dtype=torch.float64, device=device)
    with _waits():
        _all_reduce(shared)
        found: list[float] = shared.tolist()  # on a GPU it is here that the others are waited for
    return found


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over all ranks, in one exchange that is laid out alike in every step.

    Raises:
        OthersLostError: No answer can come any more.
    """
    if not _several():
        return
    gradients = [each.grad for each in parameters if each.requires_grad and each.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    with _waits():
        _all_reduce(together)
    together /= distributed.get_world_size()
    for gradient, mean in zip(
        gradients, torch.split(together, [one.numel() for one in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


@contextmanager
def _waits() -> Iterator[None]:
    _waiting.set()
    try:
        yield
    finally:
        _waiting.clear()


def _all_reduce(tensor: torch.Tensor) -> None:
    try:
        distributed.all_reduce(tensor)
    except RuntimeError as error:  # gloo's and NCCL's own words, of many kinds
        raise OthersLostError(str(error)) from error
