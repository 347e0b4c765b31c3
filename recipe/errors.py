"""The one way a user's mistake travels to the command line."""

import errno
import re
import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake the user can mend: one line saying what is wrong, where, and what to do.

    The command line prints the message and exits with code 2. Anything else that is raised is a bug
    and ends in a traceback.
    """


class InterruptedRunError(Exception):
    """What ended a run from outside, no mistake and no bug: one line that says what it was, and how to go on.

    The command line prints the message and exits with code 1.
    """


signals_given: list[int] = []
"""Signals that are to end this command. What is raised for one may get lost: some libraries catch whatever comes."""


def ending_signals() -> list[signal.Signals]:
    """Return the signals that end a command in good order: those not ignored, as SIGHUP is under nohup."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def full_disk(error: BaseException) -> str | None:
    """Return what to say of an error that is a full disk; None of any other."""
    number, name = None, None
    if isinstance(error, OSError):
        number, name = error.errno, error.filename
    elif type(error).__name__ == "SafetensorError":  # it has the system's number in its own words
        found = re.search(r"os error (\d+)", str(error))
        number = int(found[1]) if found else None
    if number not in {errno.ENOSPC, errno.EDQUOT}:
        return None
    return f"{name or 'a file'} can't be written, the disk is full; make room"


def exit_on_mistake(command: Callable[[], object]) -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 2. So is a full disk, wherever it is met."""
    code = 2
    try:
        command()
    except UserError as error:
        said = str(error)
    except InterruptedRunError as error:
        said, code = str(error), 1
    except Exception as error:
        if (full := full_disk(error)) is None:
            raise
        said = full
    else:
        return
    sys.stderr.write(f"notus: {said}\n")
    sys.exit(code)
