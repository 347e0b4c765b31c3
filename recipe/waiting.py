"""How long one waits before a server is asked again."""

import contextlib
import os
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from recipe.errors import UserError

PATIENCE = 900.0  # seconds in all; NOTUS_RETRY_SECONDS overrides
# Seconds; doubled each time, and a random part of it up to half taken off.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
LONGEST_ASKED = 300.0  # seconds of a Retry-After that are waited at most


def patience_seconds() -> float:
    """Return the seconds that are waited in all for one answer.

    Raises:
        UserError: NOTUS_RETRY_SECONDS is no number.
    """
    return seconds("NOTUS_RETRY_SECONDS", PATIENCE)


def seconds(name: str, default: float) -> float:
    """Return the seconds that an environment variable says, or the default.

    Raises:
        UserError: It is no number.
    """
    value = os.environ.get(name)
    try:
        return default if not value else float(value)
    except ValueError:
        raise UserError(f"{name}: {value!r} is no number of seconds") from None


def asked_to_wait(retry_after: str) -> float | None:
    """Return the seconds of a Retry-After header, which is a number or a date; None if it is neither."""
    value = retry_after.strip()
    if value.isdecimal():
        return float(value)
    with contextlib.suppress(ValueError, TypeError):  # TypeError: a date without a zone
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def wait_before(attempt: int, after: float | None, patience: float) -> float:
    """Return seconds to wait: many that were refused at once are not to come back at once.

    Args:
        attempt: That failed: 1, 2, ...
        after: Seconds that the server asked to wait, if it did.
        patience: Seconds in all.
    """
    if after is not None:
        after = min(after, LONGEST_ASKED)
        return after + random.uniform(0, min(1.0, after / 10))
    longest = min(FIRST_WAIT, patience / 100) * 2.0 ** min(attempt - 1, 30)
    return min(longest, LONGEST_WAIT) * random.uniform(0.5, 1)
