"""`python -m MODULE` as a fork of a process that has imported all: the same, without seconds of imports each time."""

import atexit
import contextlib
import faulthandler
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from tests import forked
from tests.chaos import watched

IMPORTED = (
    "datasets",
    "peft",
    "polars",
    "tensorboard.backend.event_processing.event_accumulator",
    "torch.distributed.run",
    "torch.distributed.elastic.agent.server.local_elastic_agent",
    "torch.utils.tensorboard",
    "transformers.models.mistral.modeling_mistral",
    "transformers.models.auto.modeling_auto",
    "modelcard.stage",
    "notus",
    "publish.provenance",
    "lm_eval.evaluator",
    "lm_eval.models.huggingface",
    "recipe.evaluate.preference",
    "recipe.evaluate.smoke",
    "recipe.launch",
    "recipe.merge",
    "recipe.stages",
)


def import_all() -> None:
    """Import what a command needs, so that a fork has it; no tensor is computed here, and no thread is started."""
    forked.import_all(IMPORTED)


def module_of(arguments: Sequence[object]) -> tuple[str, list[str]] | None:
    """Return the module that a command line of this Python runs, and what it is given; None if it is none of it."""
    each = [os.fspath(one) if isinstance(one, os.PathLike) else str(one) for one in arguments]
    if each[0] != sys.executable or "-m" not in each:
        return None
    place = each.index("-m")
    if any(not option.startswith("-") for option in each[1:place]):
        return None
    return each[place + 1], each[place + 2 :]


def become(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Be `python -m MODULE` from now on, in a fork: nothing of the parent's is cleaned up."""
    os.environ.clear()
    os.environ.update(environment)
    _reset_signals()
    atexit._clear()  # the parent's
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]  # its temporary folders among them
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    faulthandler.disable()
    faulthandler.cancel_dump_traceback_later()
    for name, number in (("stdout", 1), ("stderr", 2)):  # the parent's may be a test runner's
        setattr(sys, name, os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False))
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    subprocess.Popen._execute_child = _execute_child  # type: ignore[attr-defined]
    watched.start()
    code = 1
    try:
        sys.argv = [module, *arguments]
        with _known_modules():
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(ended.code + "\n")
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def close_others(kept: Sequence[int] = ()) -> None:
    """Close what a new program would not have open."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - one look, then none of it
        number = int(name)
        if number > 2 and number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextlib.contextmanager
def _known_modules() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*found in sys.modules after import", category=RuntimeWarning
        )
        yield


_original = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def _execute_child(
    self: Any,
    args: Any,
    executable: Any,
    preexec_fn: Any,
    close_fds: bool,
    pass_fds: Sequence[int],
    cwd: Any,
    env: Mapping[str, str] | None,
    startupinfo: Any,
    creationflags: int,
    shell: bool,
    p2cread: int,
    p2cwrite: int,
    c2pread: int,
    c2pwrite: int,
    errread: int,
    errwrite: int,
    *rest: Any,
) -> None:
    """Start this Python's modules as forks; all else as `subprocess` does."""
    found = None if shell or isinstance(args, str | bytes) else module_of(args)
    pipes = (p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
    if found is None:
        _original(
            self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
            *pipes, *rest,
        )  # fmt: skip
        return
    start_new_session, process_group = rest[-2:]
    environment = {os.fspath(name): os.fspath(value) for name, value in (env or os.environ).items()}
    sys.stdout.flush()
    sys.stderr.flush()
    # A handler that raises in what Python does after a fork is ignored; a new program is started without that.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    self.pid = os.fork()
    if self.pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._child_created = True
        self._close_pipe_fds(*pipes)
        return
    try:
        for ours, theirs in ((p2cread, 0), (c2pwrite, 1), (errwrite, 2)):
            if ours >= 0:
                os.dup2(ours, theirs)
        if start_new_session:
            os.setsid()
        elif process_group >= 0:
            os.setpgid(0, process_group)
        if cwd is not None:
            os.chdir(cwd)
        if preexec_fn:
            preexec_fn()
        close_others(pass_fds)
    except BaseException:
        traceback.print_exc()
        os._exit(255)
    become(*found, environment)
