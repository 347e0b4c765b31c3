"""A judge that is asked until it answers, once for each request."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recipe.errors import InterruptedRunError, UserError
from recipe.evaluate.chat.client import Client, Request, text_of
from recipe.evaluate.chat.endpoint import Endpoint
from recipe.evaluate.chat.judge import Judge
from recipe.evaluate.ledger import Ledger
from recipe.progress import Reporter
from tests.recipe.evaluate.chat.judge_proxy import TROUBLES, Proxy, Trouble, completion, once, saying

KEY = "sk-very-secret-key"


def asked(number: int) -> list[Request]:
    return [
        Request(
            [{"role": "user", "content": f"Which is better in case {place}?"}],
            {"max_tokens": 9, "temperature": 0},
        )
        for place in range(number)
    ]


def judge_at(proxy: Proxy, ledger: Path, *, at_once: int = 4, timeout: float = 5, key: str = KEY) -> Judge:
    return Judge(
        Client(Endpoint("judge-1", proxy.url, key), timeout), Ledger(ledger), Reporter(quiet=True), at_once
    )


def echo(text: str) -> str:
    return f"verdict: {text}"


def read(choice: object) -> str | None:
    text = text_of(choice)  # type: ignore[arg-type]
    return text.removeprefix("verdict: ") if text.startswith("verdict: ") else None


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "judgements.jsonl"


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda seconds: monkeypatch.setenv("NOTUS_RETRY_SECONDS", str(seconds))


def test_under_every_trouble_each_request_is_judged_once_and_nothing_is_lost(ledger: Path) -> None:
    requests = asked(3 * len(TROUBLES))
    with Proxy(saying(echo), once(*TROUBLES)).running() as proxy:
        judged = judge_at(proxy, ledger, at_once=8, timeout=1).judge(requests, read, "judged")
    assert [one.verdict for one in judged] == [one.text for one in requests]
    assert set(proxy.seen.values()) == {2}
    assert set(proxy.answered.values()) == {1}
    assert len(proxy.answered) == len(requests)
    assert len(ledger.read_text().splitlines()) == len(requests)


def test_what_is_kept_is_not_asked_and_a_torn_line_is_asked_again(ledger: Path) -> None:
    requests = asked(6)
    with Proxy(saying(echo)).running() as proxy:
        judge_at(proxy, ledger).judge(requests[:4], read, "judged")
        ledger.write_bytes(ledger.read_bytes()[:-20])  # a kill in the middle of a write
        again = judge_at(proxy, ledger)
        assert len(again.missing(requests)) == 3
        judged = again.judge(requests, read, "judged")
        assert [one.verdict for one in judged] == [one.text for one in requests]
        assert sorted(proxy.seen.values()) == [1, 1, 1, 1, 1, 2]
        assert judge_at(proxy, ledger).judge(requests, read, "judged") == judged
        assert proxy.seen.total() == 7


def test_it_waits_as_long_as_it_is_asked_to(ledger: Path) -> None:
    with Proxy(saying(echo), once(Trouble(429, headers={"Retry-After": "2"}))).running() as proxy:
        judge_at(proxy, ledger).judge(asked(1), read, "judged")
    ((first, second),) = proxy.times.values()
    assert 2 <= second - first < 4


def test_an_answer_without_a_verdict_is_asked_for_once_more(ledger: Path) -> None:
    said = iter(["I would rather not.", "verdict: A"])
    with Proxy(saying(lambda text: next(said))).running() as proxy:
        (judged,) = judge_at(proxy, ledger).judge(asked(1), read, "judged")
    assert judged.verdict == "A"
    assert [json.loads(line)["ask"] for line in ledger.read_text().splitlines()] == [1, 2]


def test_and_no_more_than_once(ledger: Path) -> None:
    with Proxy(saying(lambda text: "I would rather not.")).running() as proxy:
        for _ in range(2):
            (judged,) = judge_at(proxy, ledger).judge(asked(1), read, "judged")
            assert (judged.verdict, judged.text) == (None, "I would rather not.")
        assert proxy.seen.total() == 2


@pytest.mark.parametrize("content", [None, ""])
def test_an_answer_that_is_empty_is_one_without_a_verdict(ledger: Path, content: str | None) -> None:
    with Proxy(lambda body: (200, completion(content, finish_reason="content_filter"))).running() as proxy:
        (judged,) = judge_at(proxy, ledger).judge(asked(1), read, "judged")
    assert (judged.verdict, judged.text) == (None, "")


def test_a_called_function_s_arguments_are_what_it_says(ledger: Path) -> None:
    calls = [{"function": {"name": "f", "arguments": "verdict: B"}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    with Proxy(lambda body: (200, completion(None, message=message))).running() as proxy:
        (judged,) = judge_at(proxy, ledger).judge(asked(1), read, "judged")
    assert judged.verdict == "B"


def test_equal_requests_are_asked_once(ledger: Path) -> None:
    with Proxy(saying(echo)).running() as proxy:
        judged = judge_at(proxy, ledger).judge(asked(2) + asked(2), read, "judged")
    assert judged[:2] == judged[2:]
    assert proxy.seen.total() == 2


def test_no_more_are_asked_at_once_than_may_be(ledger: Path) -> None:
    def slowly(text: str) -> str:
        time.sleep(0.1)
        return echo(text)

    with Proxy(saying(slowly)).running() as proxy:
        judge_at(proxy, ledger, at_once=3).judge(asked(9), read, "judged")
    assert proxy.busiest == 3


def test_when_patience_ends_what_is_under_way_is_kept_and_the_same_goes_on(
    ledger: Path, patience: Callable[[float], None]
) -> None:
    patience(1)
    requests, down = asked(8), True

    def first_one_is_refused(body: str, attempt: int) -> Trouble | None:
        refused = proxy.bodies[body]["messages"][0]["content"] == requests[0].text
        return Trouble(503) if refused and down else None

    def slowly(text: str) -> str:
        time.sleep(0.9)
        return echo(text)

    with Proxy(saying(slowly), first_one_is_refused).running() as proxy:
        with pytest.raises(InterruptedRunError) as ended:
            judge_at(proxy, ledger, at_once=2).judge(requests, read, "judged")
        kept = len(ledger.read_text().splitlines())
        assert 1 <= kept < 7
        assert kept == proxy.answered.total()  # also the one that was under way
        assert str(ended.value) == (
            f"chat: 127.0.0.1:{proxy.server.server_address[1]} answers 503, for 1 s; {kept} of 8 are judged and kept, "
            f"{8 - kept} are left; the same command goes on"
        )
        down = False
        judged = judge_at(proxy, ledger).judge(requests, read, "judged")
    assert [one.verdict for one in judged] == [one.text for one in requests]
    assert set(proxy.answered.values()) == {1}


def test_it_does_not_wait_longer_than_its_patience(ledger: Path, patience: Callable[[float], None]) -> None:
    patience(30)
    started = time.monotonic()
    with (
        Proxy(saying(echo), once(Trouble(429, headers={"Retry-After": "60"}))).running() as proxy,
        pytest.raises(
            InterruptedRunError, match=r"answers 429, for 30 s; 0 of 1 are judged and kept, 1 are left"
        ),
    ):
        judge_at(proxy, ledger).judge(asked(1), read, "judged")
    assert time.monotonic() - started < 5


def test_an_account_without_credit_is_not_asked_again(ledger: Path) -> None:
    empty = Trouble(429, code="insufficient_quota", said="You exceeded your current quota.")
    with (
        Proxy(saying(echo), lambda body, attempt: empty).running() as proxy,
        pytest.raises(
            InterruptedRunError, match=r"answers that the account has no credit left \(429\); 0 of 1"
        ),
    ):
        judge_at(proxy, ledger).judge(asked(1), read, "judged")
    assert proxy.seen.total() == 1


def test_bodies_that_are_no_answers_are_not_asked_for_without_end(
    ledger: Path, patience: Callable[[float], None]
) -> None:
    patience(20)
    with (
        Proxy(saying(echo), lambda body, attempt: Trouble(body=b"<html>")).running() as proxy,
        pytest.raises(InterruptedRunError, match=r"what is no chat completion \(no JSON\), 5 times; 0 of 1"),
    ):
        judge_at(proxy, ledger).judge(asked(1), read, "judged")
    assert proxy.seen.total() == 5
    assert not ledger.exists()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (
            Trouble(401, said=f"Incorrect API key provided: {KEY}"),
            r"refuses the key \(401\); set OPENAI_API_KEY to",
        ),
        (
            Trouble(404, said="no such model"),
            r"has no model judge-1, or `judge_url` is not its address .* \(404, ",
        ),
        (
            Trouble(400, said=f"{KEY}: no\nlogprobs"),
            r"not take what judge-1 is asked \(400, .*\*\*\*: no logprobs",
        ),
        (
            Trouble(418, body=b'{"detail": "a teapot"}'),
            r"does not take what judge-1 is asked \(418, .*a teapot",
        ),
        (Trouble(422, said="n is not here"), r"does not take what judge-1 is asked \(422, "),
    ],
)
def test_a_no_is_a_no_in_one_line_without_the_key(ledger: Path, trouble: Trouble, said: str) -> None:
    with (
        Proxy(saying(echo), lambda body, attempt: trouble).running() as proxy,
        pytest.raises(UserError, match=said) as refused,
    ):
        judge_at(proxy, ledger, at_once=1).judge(asked(4), read, "judged")
    assert proxy.seen.total() == 1
    assert KEY not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_key_is_sent_and_tried_before(ledger: Path) -> None:
    with Proxy(saying(echo), key=KEY).running() as proxy:
        judge = judge_at(proxy, ledger)
        judge.client.knock()
        assert judge.judge(asked(1), read, "judged")[0].verdict
        with pytest.raises(UserError, match="refuses the key"):
            judge_at(proxy, ledger, key="sk-another").client.knock()
        assert proxy.seen.total() == 1
    assert KEY not in repr(judge.endpoint)
    assert KEY not in ledger.read_text()


def test_nobody_there_is_said_before(ledger: Path) -> None:
    with Proxy(saying(echo)).running() as proxy:
        judge = judge_at(proxy, ledger)
    with pytest.raises(
        UserError, match=r"chat: nobody answers at 127\.0\.0\.1:\d+; check the judge's address, or start it"
    ):
        judge.client.knock()


def test_a_mistake_that_a_verdict_shows_stops_at_once_and_what_was_answered_is_kept(ledger: Path) -> None:
    def mistaken(choice: object) -> str:
        raise UserError("the endpoint gives no log-probabilities")

    with (
        Proxy(saying(echo)).running() as proxy,
        pytest.raises(UserError, match="the endpoint gives no log-probabilities"),
    ):
        judge_at(proxy, ledger, at_once=1).judge(asked(5), mistaken, "judged")
    assert proxy.seen.total() == 1
    assert len(ledger.read_text().splitlines()) == 1


def test_another_model_endpoint_or_parameter_is_another_judgement(ledger: Path) -> None:
    (request,) = asked(1)
    warmer = Request(request.messages, {**request.parameters, "temperature": 1})
    with Proxy(saying(echo)).running() as proxy:
        judge = judge_at(proxy, ledger)
        judge.judge([request], read, "judged")
        assert judge.missing([request]) == []
        assert judge.missing([warmer]) == [warmer]
        for endpoint in (
            Endpoint("judge-2", proxy.url, KEY),
            Endpoint("judge-1", "http://127.0.0.1:1/v1", KEY),
        ):
            other = Judge(Client(endpoint, 1), Ledger(ledger), Reporter(quiet=True), 1)
            assert other.missing([request]) == [request]
        same = Endpoint("judge-1", proxy.url.replace("//", "//user:password@") + "/", "another key")
        assert Judge(Client(same, 1), Ledger(ledger), Reporter(quiet=True), 1).missing([request]) == []


def test_a_full_disk_ends_it_with_what_was_kept(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = asked(3)

    def full(own: Ledger, key: str, entry: object) -> None:
        raise OSError(28, "No space left on device", str(own.path))

    with Proxy(saying(echo)).running() as proxy:
        judge_at(proxy, ledger).judge(requests[:1], read, "judged")
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "add", full)
            with pytest.raises(OSError, match="No space left"):
                judge_at(proxy, ledger, at_once=1).judge(requests, read, "judged")
        judge_at(proxy, ledger).judge(requests, read, "judged")
    assert sorted(proxy.seen.values()) == [1, 1, 2]
