"""How long the Hub is waited for, and what is not waited for at all."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from huggingface_hub import get_session
from huggingface_hub.utils._http import hf_raise_for_status

from publish.retry import ATTEMPTS, GaveUpError, PatientHub, RefusedError, UnreachableError, patient
from recipe.errors import UserError
from recipe.progress import Reporter
from tests.publish.online import at_hub

Answer = httpx2.Response | Exception


class Script:
    """What a Hub answers, one request after the other, and how long was waited in between."""

    hub: PatientHub

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.waits: list[float] = []

    def ask(self, *answers: Answer, found: Callable[[], str | None] | None = None) -> str:
        self.answers = [*answers]
        return self.hub.ask("looking", self.get, found)

    def get(self) -> str:
        response = get_session().get("http://hub/x")
        hf_raise_for_status(response)
        return response.text


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    at_hub("http://hub", "hf_any", monkeypatch, patience=900)
    made = Script()

    def send(_: httpx2.Client, request: httpx2.Request, **__: object) -> httpx2.Response:
        answer = made.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        answer.request = request
        return answer

    monkeypatch.setattr(httpx2.Client, "send", send)
    monkeypatch.setattr(time, "sleep", made.waits.append)
    with patient(Reporter()) as made.hub:
        yield made


def answer(status: int = 200, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, headers={k.replace("_", "-"): v for k, v in headers.items()}, text="here")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_asked_again_later_and_later(
    script: Script, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.ask(*[answer(status)] * 4, answer()) == "here"
    for place, wait in enumerate(script.waits):
        assert 2**place / 2 <= wait <= 2**place
    assert len(script.waits) == 4
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"  looking: http://hub answers {status}; again in ")


@pytest.mark.parametrize(
    "broken", [httpx2.ReadError("reset"), httpx2.RemoteProtocolError("closed"), httpx2.ReadTimeout("slow")]
)
def test_a_connection_that_breaks_is_made_again(script: Script, broken: Exception) -> None:
    assert script.ask(broken, broken, answer()) == "here"
    assert len(script.waits) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited(script: Script, status: int) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    script.ask(answer(status, Retry_After="7"), answer(status, Retry_After=date), answer())
    seconds, until = script.waits
    assert 7 <= seconds <= 7.7
    assert 28 <= until <= 31
    script.waits.clear()
    script.ask(answer(status, Retry_After="soon"), answer(status, Retry_After="100000"), answer())
    assert script.waits[0] <= 1
    assert 300 <= script.waits[1] <= 301


def test_the_hubs_own_header_of_its_limit_is_read(script: Script) -> None:
    script.ask(answer(429, ratelimit='"api";r=0;t=55'), answer())
    assert 55 <= script.waits[0] <= 56


def test_it_is_not_waited_for_ever(script: Script) -> None:
    with pytest.raises(GaveUpError, match=rf"looking: http://hub answers 500 \({ATTEMPTS} tries in \d+ s\)$"):
        script.ask(*[answer(500)] * 50)
    assert len(script.waits) == ATTEMPTS - 1
    assert max(script.waits) <= 60
    with pytest.raises(
        GaveUpError, match=r"\(4 tries in 9\d\d s, asks for 30\d s more\)|\(3 tries in 60\d s, "
    ):
        script.ask(*[answer(503, Retry_After="900")] * 50)
    assert sum(script.waits[ATTEMPTS - 1 :]) <= 900


def test_a_call_that_was_done_is_not_done_twice(script: Script) -> None:
    assert script.ask(answer(504), answer(504), found=lambda: "found") == "found"
    assert len(script.answers) == 1
    assert script.ask(answer(504), answer(), found=lambda: None) == "here"


def test_a_no_is_a_no(script: Script) -> None:
    with pytest.raises(RefusedError, match=r"looking: http://hub answers 409, here") as refused:
        script.ask(answer(409))
    assert refused.value.status == 409
    with pytest.raises(UserError, match=r"refuses the token \(403\)"):
        script.ask(answer(403))
    assert script.waits == []


def test_a_bug_is_a_bug(script: Script) -> None:
    def wrong() -> str:
        raise KeyError("x")

    with pytest.raises(KeyError):
        script.hub.ask("looking", wrong)


def test_a_fault_in_a_thread_of_the_client_is_one_too(script: Script) -> None:
    def wrapped() -> str:
        try:
            return script.get()
        except UserError as error:
            raise RuntimeError("Error while uploading") from error

    script.answers = [answer(503), answer()]
    assert script.hub.ask("looking", wrapped) == "here"


def test_nobody_there_is_said_at_once_but_waited_for_later(script: Script) -> None:
    refused = httpx2.ConnectError("refused")
    with pytest.raises(
        UnreachableError, match="http://hub can't be reached; check HF_ENDPOINT and the network"
    ):
        script.ask(refused)
    assert script.waits == []
    script.ask(answer(503), refused, answer())
    assert len(script.waits) == 2


def test_the_client_is_its_own_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    at_hub("http://hub", "hf_any", monkeypatch)
    with patient(Reporter()):
        assert get_session().timeout.read is not None
    assert type(get_session()) is httpx2.Client


def test_patience_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTUS_RETRY_SECONDS", "much")
    with pytest.raises(UserError, match="NOTUS_RETRY_SECONDS: 'much' is no number"), patient(Reporter()):
        pass
