"""One rule for every request of a release: what the Hub does not answer now is asked again, for a while.

The client retries some of its calls by rules of its own, and the commit by none. So within `patient` it gets
sessions that turn each passing fault into a `FaultError`, which it hands through, and `PatientHub.ask` does
the waiting for whole calls: a call that is repeated first looks at what has become of it.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx2
from huggingface_hub import HfApi, constants, set_client_factory
from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils._http import default_client_factory, parse_ratelimit_headers
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from recipe.errors import UserError
from recipe.hub import hub_errors
from recipe.progress import Reporter
from recipe.waiting import asked_to_wait, patience_seconds, seconds, wait_before

T = TypeVar("T")

ATTEMPTS = 10  # at one call
# Seconds without a byte; NOTUS_TIMEOUT_SECONDS overrides. The client itself would wait for ever.
TIMEOUT, CONNECT_TIMEOUT = 180.0, 20.0
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})
BROKEN = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)


class FaultError(UserError):
    """The Hub did not answer, or asked to come again; it may well answer the next time.

    Args:
        said: What happened.
        after: Seconds after which it asks to come again, if it says so.
    """

    def __init__(self, said: str, after: float | None = None) -> None:
        super().__init__(said)
        self.after = after


class UnreachableError(UserError):
    """Nobody answers at the Hub's address, and nobody has before: not worth waiting for."""


class GaveUpError(UserError):
    """The Hub has not answered for as long as we wait."""


class RefusedError(UserError):
    """The Hub has answered, and says no; `status` is HTTP's."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


class PatientHub:
    """The Hub's client, whose calls are repeated until they are answered.

    Args:
        reporter: Is told of each wait.
    """

    def __init__(self, reporter: Reporter) -> None:
        self.api = HfApi()
        self.reporter = reporter
        self.patience = patience_seconds()

    def ask(self, doing: str, call: Callable[[], T], found: Callable[[], T | None] | None = None) -> T:
        """Return what `call` returns, once it is answered.

        Args:
            doing: What is done and to what, for messages.
            call: Asks the Hub. Called again after a fault.
            found: For calls that are not to be done twice: looks, after a fault, for what `call` would have
                returned; None where the Hub has not done it.

        Raises:
            GaveUpError: It was not answered in time.
            RefusedError: It was, with a no that no other error of ours stands for.
            UserError: The token is refused, nobody is there, no such repository.
        """
        waited, attempt = 0.0, 0
        while True:
            try:
                with hub_errors(doing), _unwrapped():
                    return call()
            except HfHubHTTPError as error:
                status = error.response.status_code
                said = (error.server_message or str(error)).strip().replace("\n", " ")
                raise RefusedError(
                    f"{doing}: {constants.ENDPOINT} answers {status}, {said}", status
                ) from error
            except Exception as error:
                fault = _fault_behind(error)
                if fault is None:
                    raise
            attempt += 1
            wait = wait_before(attempt, fault.after, self.patience)
            if attempt == ATTEMPTS or waited + wait > self.patience:
                tries = f"{attempt} {'try' if attempt == 1 else 'tries'}"
                more = f", asks for {wait:.0f} s more" if attempt < ATTEMPTS and fault.after else ""
                raise GaveUpError(f"{doing}: {fault} ({tries} in {waited:.0f} s{more})") from fault
            self.reporter.say(f"  {doing}: {fault}; again in {wait:.1f} s")
            time.sleep(wait)
            waited += wait
            if found and (there := found()) is not None:
                return there


@contextlib.contextmanager
def patient(reporter: Reporter) -> Iterator[PatientHub]:
    """Give the Hub's client, with sessions that end each passing fault in a `FaultError`."""
    read = seconds("NOTUS_TIMEOUT_SECONDS", TIMEOUT)
    timeout = httpx2.Timeout(read, connect=min(read, CONNECT_TIMEOUT))
    reached: list[bool] = []
    hooks = default_client_factory().event_hooks
    set_client_factory(lambda: _Client(reached, event_hooks=hooks, follow_redirects=True, timeout=timeout))
    try:
        with bars(reporter.console.is_terminal and not reporter.quiet):
            yield PatientHub(reporter)
    finally:
        set_client_factory(default_client_factory)


@contextlib.contextmanager
def bars(shown: bool) -> Iterator[None]:
    """Show the client's bars of what goes up and comes down, or don't; after, they are as they were."""
    hidden = are_progress_bars_disabled()
    if HF_HUB_DISABLE_PROGRESS_BARS is None and hidden == shown:
        (enable_progress_bars if shown else disable_progress_bars)()
    try:
        yield
    finally:
        if HF_HUB_DISABLE_PROGRESS_BARS is None and hidden == shown:
            (disable_progress_bars if shown else enable_progress_bars)()


class _Client(httpx2.Client):
    def __init__(self, reached: list[bool], **options: Any) -> None:
        super().__init__(**options)
        self._reached = reached

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            response = super().send(request, **options)
        except BROKEN as error:
            if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)) and not self._reached:
                raise UnreachableError(_unreachable()) from error
            raise _broken(error) from error
        self._reached[:] = [True]
        if response.status_code in PASSING:
            response.close()
            raise FaultError(f"{constants.ENDPOINT} answers {response.status_code}", _asked(response))
        if options.get("stream") and isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _Body(response.stream)
        return response


class _Body(httpx2.SyncByteStream):
    """What is downloaded; the client would resume by rules of its own."""

    def __init__(self, stream: httpx2.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except BROKEN as error:
            raise _broken(error) from error

    def close(self) -> None:
        self._stream.close()


@contextlib.contextmanager
def _unwrapped() -> Iterator[None]:
    """Let the Hub's no to a download through: the client makes of it that the file is not in its cache."""
    try:
        yield
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise error.__cause__ from None
        raise


def _unreachable() -> str:
    return f"the Hub at {constants.ENDPOINT} can't be reached; check HF_ENDPOINT and the network"


def _broken(error: Exception) -> FaultError:
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        return FaultError(f"{constants.ENDPOINT} can't be reached")
    if isinstance(error, httpx2.TimeoutException):
        return FaultError(f"{constants.ENDPOINT} does not answer")
    return FaultError(f"the connection to {constants.ENDPOINT} broke")


def _asked(response: httpx2.Response) -> float | None:
    """Return the seconds after which the Hub asks to come again: a number, a date, or its own headers' reset."""
    if (after := asked_to_wait(response.headers.get("retry-after", ""))) is not None:
        return after
    limit = parse_ratelimit_headers(response.headers) if response.status_code == 429 else None
    return float(limit.reset_in_seconds) if limit and not limit.remaining else None


def _fault_behind(error: BaseException) -> FaultError | None:
    """Return the fault that an error comes from: threads of the client wrap what ends them."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, GaveUpError):
        if isinstance(seen, FaultError):
            return seen
        if isinstance(seen, (ConnectionError, TimeoutError)):  # hf_xet's, which has its own sessions
            return FaultError(f"the connection to {constants.ENDPOINT} broke")
        seen = seen.__cause__
    return None
