"""What a judge costs, estimated before it is asked anything, and agreed to."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from recipe.errors import UserError
from recipe.evaluate.chat.client import Request
from recipe.evaluate.chat.endpoint import Endpoint
from recipe.progress import Reporter

CHARACTERS = 4  # of English a token, by the tokenizers of today's judges
ANSWER = 250  # tokens of a judge's answer that may be longer, as MT-Bench's explanations are


@dataclass(frozen=True)
class Price:
    """An estimate.

    Attributes:
        requests: How many.
        tokens_in: What they say, in tokens.
        tokens_out: What is answered.
        usd: US dollars; None where nobody said what a token costs.
    """

    requests: int
    tokens_in: int
    tokens_out: int
    usd: float | None

    def told(self, endpoint: Endpoint) -> str:
        """Return it as a line."""
        number = f"{self.requests:,} {'request' if self.requests == 1 else 'requests'}"
        tokens = f"about {_round(self.tokens_in):,} tokens in and {_round(self.tokens_out):,} out"
        costs = "nobody said at what price (`judge_usd`)" if self.usd is None else f"about ${self.usd:,.2f}"
        return f"{number} to {endpoint.model} at {endpoint.host}, {tokens}: {costs}"


def estimate(requests: Sequence[Request], usd: Sequence[float] | None) -> Price:
    """Return what requests cost.

    Args:
        requests: Those that are yet to be asked.
        usd: Dollars per million tokens, in and out.
    """
    tokens_in = sum(-(-len(request.text) // CHARACTERS) for request in requests)
    tokens_out = sum(min(int(request.parameters.get("max_tokens", ANSWER)), ANSWER) for request in requests)
    dollars = None if usd is None else (tokens_in * usd[0] + tokens_out * usd[1]) / 1e6
    return Price(len(requests), tokens_in, tokens_out, dollars)


def agree(price: Price, endpoint: Endpoint, reporter: Reporter, *, yes: bool) -> None:
    """Tell the price, and ask whether to go on; what costs nothing is not asked about.

    Args:
        price: The estimate.
        endpoint: Who is paid.
        reporter: Tells it.
        yes: Whether that was said beforehand.

    Raises:
        UserError: The answer is no, or there is nobody to be asked.
    """
    if not price.requests:
        return
    told = price.told(endpoint)
    reporter.say(f"  {told}")
    if yes or price.usd == 0:
        return
    if not sys.stdin.isatty():
        raise UserError(f"chat: {told}; add --yes if that is meant")
    import typer

    if not typer.confirm("Go on?", err=True):
        raise UserError("chat: nothing was asked; `--limit N` takes fewer prompts")


def _round(tokens: int) -> int:
    """Return two digits of a number and zeros: it is known no better."""
    digits = len(str(tokens)) - 2
    return round(tokens, -digits) if digits > 0 else tokens
