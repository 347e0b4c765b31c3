"""What the ranks of a training tell each other at the end of an optimizer step: gradients, sums, and whether to end.

It is done here and not by DistributedDataParallel, whose buckets lie in another order in a process's first step than in
those after it. Where the order of an addition hangs on that, a run that was resumed would round otherwise.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

from recipe.schema import Execution

_waiting = threading.Event()  # while this rank is in an exchange


class OthersLostError(Exception):
    """Another rank, or the way to it, is gone."""


def exchange_timeout(execution: Execution) -> timedelta:
    """Return how long the libraries are to wait in an exchange: `recipe.resume.watchdog` is first, and says where."""
    return timedelta(seconds=2 * execution.step_timeout)


def waits_for_others() -> bool:
    """Whether this rank has done its part of a step, and waits for what the others have found."""
    return _waiting.is_set()


def add_up(values: Sequence[float], device: torch.device) -> list[float]:
    """Return the sums of `values` over all ranks, float64; the values themselves where there is one only.

    Raises:
        OthersLostError: No answer can come any more.
    """
    if not _several():
        return list(values)
    with _exchange():
        shared = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(shared)
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
    with _exchange():
        distributed.all_reduce(together)
    together /= distributed.get_world_size()
    for gradient, mean in zip(
        gradients, torch.split(together, [one.numel() for one in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


@contextmanager
def _exchange() -> Iterator[None]:
    _waiting.set()
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's own words, of many kinds
        raise OthersLostError(str(error)) from error
    finally:
        _waiting.clear()
