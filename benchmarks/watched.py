"""A function in a process of its own, and the memory that it and the processes it starts have together."""

import multiprocessing
import os
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

import psutil

from benchmarks.isolate import ENVIRONMENT, UnfinishedError
from benchmarks.work import Spent

T = TypeVar("T")
EVERY = 0.05  # seconds from one look at the memory to the next


@dataclass(frozen=True)
class Watched(Generic[T]):
    """What the function returned, and the most resident memory (bytes), summed over its processes."""

    value: T
    peak_bytes: int


def spent() -> Spent:
    """Return the time, to take another from; of the cores, that of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Spent(time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used))


def watched(function: Callable[..., T], *arguments: object) -> Watched[T]:
    """Call `function`, of a module, in a fresh process. A page that processes share is counted for each of them.

    Raises:
        UnfinishedError: It failed; its traceback is on the standard error.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    peak = 0
    try:
        top = psutil.Process(process.pid)
        while not ours.poll(EVERY):
            peak = max(peak, _resident(top))
        try:
            done, value = ours.recv()
        except EOFError:
            process.join()
            raise UnfinishedError(f"its process ended with code {process.exitcode}") from None
        process.join()
    finally:
        process.kill()
        process.join()
        ours.close()
    if not done:
        raise UnfinishedError(value)
    return Watched(value, peak)


def _resident(top: psutil.Process) -> int:
    total = 0
    try:
        processes = [top, *top.children(recursive=True)]
    except psutil.Error:
        return 0
    for one in processes:
        try:
            total += one.memory_info().rss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


def _answer(connection: Connection, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Call the function here, and send what it returns or how it failed."""
    try:
        answer = True, function(*arguments)
    except Exception as error:
        traceback.print_exc()
        answer = False, f"failed: {type(error).__name__}"
    connection.send(answer)
    connection.close()
