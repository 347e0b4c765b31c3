"""What a judge will cost is told and agreed to before it is asked."""

import io

import pytest
import typer

from recipe.errors import UserError
from recipe.evaluate.chat.client import Request
from recipe.evaluate.chat.endpoint import Endpoint
from recipe.evaluate.chat.price import Price, agree, estimate
from recipe.progress import Reporter

ENDPOINT = Endpoint("gpt-4", "https://api.example.com/v1", "sk-1")
PRICE = Price(805, 612_345, 80_500, 23.2)
TOLD = "805 requests to gpt-4 at api.example.com, about 610,000 tokens in and 80,000 out: about $23.20"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_is_by_what_requests_say_and_may_be_answered() -> None:
    messages = [{"role": "system", "content": "x" * 40}, {"role": "user", "content": "y" * 399}]
    short = Request(messages, {"max_tokens": 9})
    long = Request([{"role": "user", "content": "z" * 800}], {"max_tokens": 2048})
    found = estimate([short, short, long], [30.0, 60.0])
    assert (found.requests, found.tokens_in, found.tokens_out) == (3, 110 + 110 + 200, 9 + 9 + 250)
    assert found.usd == pytest.approx((420 * 30 + 268 * 60) / 1e6)
    assert estimate([short], None).usd is None


def test_it_is_told_in_a_line() -> None:
    assert PRICE.told(ENDPOINT) == TOLD
    assert Price(1, 90, 9, None).told(ENDPOINT) == (
        "1 request to gpt-4 at api.example.com, about 90 tokens in and 9 out: nobody said at what price (`judge_usd`)"
    )


def test_without_a_terminal_it_needs_yes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UserError) as refused:
        agree(PRICE, ENDPOINT, Reporter(), yes=False)
    assert str(refused.value) == f"chat: {TOLD}; add --yes if that is meant"
    agree(PRICE, ENDPOINT, Reporter(), yes=True)
    assert TOLD in capsys.readouterr().out


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_it_is_asked(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    asked = []

    def confirm(text: str, *, err: bool) -> bool:
        assert err  # stdout may carry JSON
        asked.append(text)
        return answer

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(typer, "confirm", confirm)
    if answer:
        agree(PRICE, ENDPOINT, Reporter(quiet=True), yes=False)
    else:
        with pytest.raises(UserError, match=r"chat: nothing was asked; `--limit N` takes fewer prompts"):
            agree(PRICE, ENDPOINT, Reporter(quiet=True), yes=False)
    assert asked == ["Go on?"]


@pytest.mark.parametrize("price", [Price(0, 0, 0, None), Price(20, 5000, 1000, 0.0)])
def test_what_costs_nothing_is_not_asked_about(price: Price, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    agree(price, ENDPOINT, Reporter(quiet=True), yes=False)
