"""Where the judge is asked, and with which key."""

from pathlib import Path

import pytest

from recipe.errors import UserError
from recipe.evaluate.chat import benchmarks
from recipe.evaluate.chat.endpoint import Endpoint, endpoint_of
from recipe.evaluation import Evaluation


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "NOTUS_JUDGE_KEY_PATH"):
        monkeypatch.delenv(name, raising=False)


NAMED = Evaluation(judge="gpt-4")
PLACED = Evaluation(judge="gpt-4", judge_url="https://api.example.com/v1")


def mistake(evaluation: Evaluation) -> str:
    with pytest.raises(UserError) as refused:
        endpoint_of(evaluation)
    return str(refused.value)


def test_nobody_judges() -> None:
    assert mistake(Evaluation()) == (
        "chat: nobody judges; name a model with `judge`, as with `--set judge=gpt-4-0613`, and its endpoint with "
        "`judge_url` or OPENAI_BASE_URL"
    )


def test_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    assert mistake(NAMED) == (
        "chat: the judge gpt-4 has no endpoint; set `judge_url` in the recipe, or OPENAI_BASE_URL, to its "
        "address up to /v1"
    )
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    assert endpoint_of(NAMED).url == "http://127.0.0.1:8000/v1"
    assert (
        endpoint_of(PLACED).url == "https://api.example.com/v1"
    )  # the recipe's goes before the environment's


def test_no_key() -> None:
    assert mistake(PLACED) == (
        "chat: no key for the judge; set OPENAI_API_KEY, or NOTUS_JUDGE_KEY_PATH to a file that holds it (any word, if "
        "the endpoint asks for none)"
    )


@pytest.mark.parametrize(
    "url", ["api.example.com/v1", "ftp://example.com", "http://", "http://user:pa55@host:port/v1"]
)
def test_no_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    said = mistake(Evaluation(judge="gpt-4", judge_url=url))
    assert said == "chat: judge_url is no http:// or https:// address"


def test_a_key_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    monkeypatch.setenv("NOTUS_JUDGE_KEY_PATH", str(file))
    assert mistake(PLACED).startswith(f"chat: NOTUS_JUDGE_KEY_PATH names {file}, which can't be read (")
    file.write_text("\n")
    assert (
        mistake(PLACED)
        == f"chat: NOTUS_JUDGE_KEY_PATH names {file}, which is empty; write the judge's key into it"
    )
    file.write_text("sk-of-a-file\n")
    assert endpoint_of(PLACED).key == "sk-of-a-file"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    assert endpoint_of(PLACED).key == "sk-of-the-environment"


@pytest.mark.parametrize("key", ["sk-se\ncret", "sk-s\u00e9cret", "sk-\udcffsecret", "sk\tsecret"])
def test_a_key_that_no_header_takes_is_not_repeated(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    wrong = "holds characters that no key has; set it to the key alone, in one line"
    assert mistake(PLACED) == f"chat: OPENAI_API_KEY {wrong}"
    monkeypatch.delenv("OPENAI_API_KEY")
    file = tmp_path / "key"
    file.write_text("sk-se\ncret")
    monkeypatch.setenv("NOTUS_JUDGE_KEY_PATH", str(file))
    assert mistake(PLACED) == f"chat: NOTUS_JUDGE_KEY_PATH names {file}, which {wrong}"


def test_nothing_secret_is_told_or_kept() -> None:
    endpoint = Endpoint("gpt-4", "https://me:pa55@api.example.com:8443/v1?token=t0k3n", "sk-1")
    assert endpoint.host == "api.example.com:8443"
    told = f"{endpoint.host} {endpoint.identity}"
    for secret in ("pa55", "t0k3n", "sk-1"):
        assert secret not in told
    assert "sk-1" not in repr(endpoint)
    assert endpoint.without_key("sk-1 is\n wrong") == "*** is wrong"


@pytest.mark.parametrize(
    ("name", "said"),
    [("gpt-4-0613", "gpt-4-0613"), ("org/model", "org/model"), ("/home/me/judge", "judge"), ("./a/b", "b")],
)
def test_a_judge_that_is_a_folder_is_called_by_its_last_name(name: str, said: str) -> None:
    assert benchmarks._placeless(name) == said
