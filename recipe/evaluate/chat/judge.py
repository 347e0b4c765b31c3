"""The judge: what it is asked is answered once, and kept before it counts."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from recipe.errors import InterruptedRunError
from recipe.evaluate.chat.client import Choice, Client, GaveUpError, Request, text_of
from recipe.evaluate.chat.crew import StoppedError, each
from recipe.evaluate.ledger import Ledger
from recipe.progress import Bar, Reporter
from recipe.schema import canonical_sha256

V = TypeVar("V")
Reads = Callable[[Choice], V | None]
"""Reads the verdict of an answer; None if it holds none."""

ASKS = 2  # of a request whose answer holds no verdict


@dataclass(frozen=True)
class Judged(Generic[V]):
    """An answer of the judge's, and what it says.

    Attributes:
        choice: The answer.
        verdict: None if it holds none, and neither did the one before.
        at: When it came, ISO 8601 in UTC.
        model: Which model answered, as the endpoint says.
    """

    choice: Choice
    verdict: V | None
    at: str
    model: str

    @property
    def text(self) -> str:
        """What it says."""
        return text_of(self.choice)


class Judge:
    """A judge whose answers are kept.

    Args:
        client: Asks it.
        ledger: Has what was answered.
        reporter: Shows how far it is.
        at_once: Requests at the same time.
    """

    def __init__(self, client: Client, ledger: Ledger, reporter: Reporter, at_once: int) -> None:
        self.client, self.ledger, self.reporter, self.at_once = client, ledger, reporter, at_once
        self.endpoint = client.endpoint

    def missing(self, requests: Sequence[Request]) -> list[Request]:
        """Return those that were never answered; of equal ones one."""
        different = {self._key(one, 1): one for one in requests}
        return [one for key, one in different.items() if self.ledger.find(key) is None]

    def judge(self, requests: Sequence[Request], reads: Reads[V], title: str) -> list[Judged[V]]:
        """Return the answer to each request; what is kept is not asked.

        An answer without a verdict is asked for once more: endpoints vary at temperature 0 too, and answers that are
        left out are not left out at random, so that each moves the figures.

        Args:
            requests: What to ask. Of equal ones one is asked.
            reads: The verdicts.
            title: What the progress bar says.

        Raises:
            UserError: The endpoint refuses the key, the model or the request.
            InterruptedRunError: It has not answered for as long as we wait.
        """
        different = {self._key(one, 1): one for one in requests}
        found: dict[str, Judged[V]] = {}
        stop = threading.Event()
        with self.reporter.bar(title, len(different)) as bar:

            def one(key: str) -> None:
                found[key] = self._judged(different[key], reads, stop, bar)

            try:
                for _ in each(different, one, size=self.at_once, stop=stop):
                    bar.advance()
            except GaveUpError as error:
                left = len(different) - len(found)
                raise InterruptedRunError(
                    f"chat: {self.endpoint.host} {error}; {len(found):,} of {len(different):,} are judged and kept, "
                    f"{left:,} are left; the same command goes on"
                ) from None
        return [found[self._key(one, 1)] for one in requests]

    def _judged(self, request: Request, reads: Reads[V], stop: threading.Event, bar: Bar) -> Judged[V]:
        """Return the first answer that holds a verdict, or the last one."""
        ask = 0
        while True:
            ask += 1
            key = self._key(request, ask)
            entry = self.ledger.find(key)
            if entry is None:
                if stop.is_set():
                    raise StoppedError
                entry = {
                    "judge": self.endpoint.model,
                    "host": self.endpoint.host,
                    "ask": ask,
                    "messages": [dict(message) for message in request.messages],
                    "parameters": dict(request.parameters),
                    **self.client.answer(request, stop, bar),
                }
                self.ledger.add(key, entry)
            verdict = reads(entry["choice"])
            if verdict is not None or ask == ASKS:
                return Judged(entry["choice"], verdict, str(entry["at"]), str(entry["model"]))

    def _key(self, request: Request, ask: int) -> str:
        return canonical_sha256(
            {
                **self.endpoint.identity,
                "messages": [dict(message) for message in request.messages],
                "parameters": dict(request.parameters),
                "ask": ask,
            }
        )
