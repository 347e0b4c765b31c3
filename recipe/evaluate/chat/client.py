"""One request to an endpoint of OpenAI's protocol, until it is answered.

The openai package's own retries are off: they are counted, wait two minutes at most whatever Retry-After says, and take
a torn body for an answer. Here one rule holds for all that may pass (429, 5xx, time-outs, broken connections, torn
bodies): to wait as asked, or longer and longer, until the patience for this request ends.
"""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import openai

from recipe.errors import UserError
from recipe.evaluate.chat.crew import StoppedError
from recipe.evaluate.chat.endpoint import Endpoint
from recipe.evaluate.judge_key import KEY
from recipe.progress import Bar
from recipe.waiting import asked_to_wait, patience_seconds, wait_before

BODIES = 5  # that are no chat completion, of one request
PASSING = frozenset({408, 409, 425, 429})  # and all from 500 on
CONNECT_TIMEOUT = 20.0  # seconds

Choice = Mapping[str, Any]
"""An answer as the endpoint gave it: `message`, `finish_reason`, perhaps `logprobs`."""


class GaveUpError(Exception):
    """The patience for a request has ended: what the endpoint does, to be told after its name."""


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        messages: OpenAI's: `role` and `content`.
        parameters: `max_tokens`, `temperature` and what else the protocol has.
    """

    messages: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any]

    @property
    def text(self) -> str:
        """All that it says."""
        return "\n".join(str(message["content"]) for message in self.messages)


def text_of(choice: Choice) -> str:
    """Return what an answer says: its message, or the arguments of the first function that it calls."""
    calls = choice["message"].get("tool_calls")
    return str(calls[0]["function"]["arguments"]) if calls else str(choice["message"].get("content") or "")


class Client:
    """Asks a model at an endpoint.

    Args:
        endpoint: Which, and where.
        timeout: Seconds that a request may take.

    Raises:
        UserError: NOTUS_RETRY_SECONDS is no number.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self.endpoint = endpoint
        self.patience = patience_seconds()
        self._client = openai.OpenAI(
            base_url=endpoint.url,
            api_key=endpoint.key,
            max_retries=0,
            timeout=openai.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def knock(self) -> None:
        """Ask for the endpoint's models, which costs nothing, to see that somebody is there and takes the key.

        Raises:
            UserError: Nobody is, or it does not. Whatever else is answered says nothing of requests.
        """
        try:
            self._client.models.with_raw_response.list()
        except openai.AuthenticationError as error:
            raise self._refused(error) from None
        except openai.APITimeoutError:
            pass  # it may be loading the model
        except openai.APIConnectionError:
            raise UserError(
                f"chat: nobody answers at {self.endpoint.host}; check the judge's address, or start it"
            ) from None
        except openai.APIStatusError:
            pass  # many have no such page

    def answer(self, request: Request, stop: threading.Event, bar: Bar) -> dict[str, Any]:
        """Return the answer to a request: the `choice`, which `model` it is of, when (`at`), and tokens (`usage`).

        Args:
            request: Is asked until it is answered.
            stop: Ends the waiting.
            bar: Says what is waited for.

        Raises:
            UserError: The endpoint says no.
            GaveUpError: The patience has ended.
            StoppedError: It was told to stop while it waited.
        """
        until, attempt, torn = time.monotonic() + self.patience, 0, 0
        while True:
            attempt += 1
            after = None
            try:
                return self._once(request)
            except openai.APIStatusError as error:
                if error.code == "insufficient_quota":  # a 429 that does not pass
                    raise GaveUpError("answers that the account has no credit left (429)") from None
                if error.status_code not in PASSING and error.status_code < 500:
                    raise self._refused(error) from None
                fault = f"answers {error.status_code}"
                after = asked_to_wait(error.response.headers.get("retry-after", ""))
            except openai.APITimeoutError:
                fault = "does not answer in time"
            except openai.APIConnectionError:
                fault = "breaks the connection, or is not there"
            except _NoCompletionError as error:
                torn += 1
                fault = f"answers with what is no chat completion ({error})"
                if torn == BODIES:
                    raise GaveUpError(f"{fault}, {torn} times") from None
            wait = wait_before(attempt, after, self.patience)
            if time.monotonic() + wait > until:
                raise GaveUpError(f"{fault}, for {self.patience:.0f} s")
            bar.note(f"{self.endpoint.host} {fault}; again in {wait:.0f} s")
            if stop.wait(wait):
                raise StoppedError
            bar.note("")

    def _once(self, request: Request) -> dict[str, Any]:
        create: Any = self._client.chat.completions.with_raw_response.create
        answered = create(model=self.endpoint.model, messages=list(request.messages), **request.parameters)
        try:
            body = json.loads(answered.content)
        except ValueError:  # JSON's, and UTF-8's
            raise _NoCompletionError("no JSON") from None
        try:
            choice = body["choices"][0]
            text_of(choice)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _NoCompletionError("JSON without an answer") from None
        return {
            "choice": choice,
            "usage": body.get("usage"),
            "model": str(body.get("model") or self.endpoint.model),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _refused(self, error: openai.APIStatusError) -> UserError:
        endpoint, status = self.endpoint, error.status_code
        body: Any = error.body
        message = body.get("message") if isinstance(body, Mapping) else None
        said = endpoint.without_key(str(message or error.response.text))[:300]
        if status == 401:  # what it says may hold a part of the key
            return UserError(f"chat: {endpoint.host} refuses the key (401); set {KEY} to one that it takes")
        if status == 404:
            return UserError(
                f"chat: {endpoint.host} has no model {endpoint.model}, or `judge_url` is not its address up to /v1 "
                f"(404, {said})"
            )
        return UserError(
            f"chat: {endpoint.host} does not take what {endpoint.model} is asked ({status}, {said}); take another "
            "`judge`, or another `alpaca_annotator`"
        )


class _NoCompletionError(Exception):
    """A body that is no chat completion."""
