"""Each mode in a process of its own: its peak memory is its own, and one that fails takes nothing along.

The processes are forked from one that has only imported the libraries, so that nobody waits for imports again.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")

ROOT = str(Path(__file__).absolute().parents[1])
# Idle OpenMP threads that spin make torch several times slower where other work shares the cores. Segments that can
# grow waste less of a GPU's memory on micro-batches of many lengths.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
}
# What CUDA and cuBLAS say when they, and not torch, find no memory.
TOO_LITTLE = ("CUDA error: out of memory", "CUDA driver error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
PRELOAD = [
    "benchmarks.stock",
    "benchmarks.packed",
    "benchmarks.loop_2023",
    "transformers.models.mistral.modeling_mistral",
]


class UnfinishedError(RuntimeError):
    """A call that gave nothing back; its text is short enough for a table."""


class DoesNotFitError(UnfinishedError):
    """The GPU had too little memory."""


class OutOfTimeError(UnfinishedError):
    """It took longer than it was given."""


class Isolated:
    """Calls functions one at a time, each in a fresh process.

    Args:
        method: `forkserver`, or `spawn` where a fork would not see the GPU.
    """

    def __init__(self, method: Literal["forkserver", "spawn"]) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # The fork server is told no path of ours.
        others = [
            path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in {"", ROOT}
        ]
        os.environ["PYTHONPATH"] = os.pathsep.join([ROOT, *others])
        self.method = method
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(PRELOAD)

    def call(self, function: Callable[..., T], *arguments: object, seconds: float | None = None) -> T:
        """Return what `function` returns.

        Args:
            function: Of a module, and what it takes and returns can be pickled.
            arguments: Its arguments.
            seconds: The most that it may take; None for no end.

        Raises:
            DoesNotFitError: It ran out of the GPU's memory.
            OutOfTimeError: It took too long, and was ended.
            UnfinishedError: It failed in another way; its traceback is on the standard error.
        """
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_answer, args=(theirs, function, arguments))
        process.start()
        theirs.close()
        try:
            if not wait([ours], seconds):
                raise OutOfTimeError("out of time")
            try:
                answer = ours.recv()
            except EOFError:
                process.join()
                raise UnfinishedError(f"its process ended with code {process.exitcode}") from None
            process.join(10)  # a GPU's memory is free only when it has ended
        finally:
            process.kill()
            process.join()
            ours.close()
        if isinstance(answer, UnfinishedError):
            raise answer
        found: T = answer
        return found


def _answer(connection: Connection, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Call the function here, and send what it returns or how it failed."""
    import torch

    answer: object
    try:
        answer = function(*arguments)
    except torch.OutOfMemoryError:
        answer = DoesNotFitError("does not fit")
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in TOO_LITTLE):
            answer = DoesNotFitError("does not fit")
        else:
            traceback.print_exc()
            answer = UnfinishedError(f"failed: {type(error).__name__}")
    connection.send(answer)
    connection.close()
