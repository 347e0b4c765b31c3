"""The suite `chat` from the command line, with a judge that says what a test needs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.recipe.evaluate.chat.chat_data import read_lines, write_alpaca, write_mt_bench
from tests.recipe.evaluate.chat.judge_proxy import Proxy, Trouble, saying
from tests.support import ROOT, Cli, Outcome

KEY = "sk-very-secret-key"


def verdicts(prompt: str) -> str:
    """Prefer the longer output, and grade by length."""
    if "## Output (a):" in prompt:
        first, second = prompt.rsplit("## Output (a):", 1)[1].split("## Output (b):")
        return f"Output ({'a' if len(first) > len(second.split('## Which')[0]) else 'b'})"
    return f"Rating: [[{len(prompt) % 10 + 1}]]"


class Chat:
    """The command, over a copy of a trained run, with a judge of ours.

    Attributes:
        proxy: The judge.
        run: The run folder.
        out: Where results lie.
    """

    def __init__(self, cli: Cli, recipe: Path, run: Path, proxy: Proxy, data: Path) -> None:
        self.cli, self.recipe, self.run, self.proxy = cli, recipe, run, proxy
        self.out = run / "eval" / "chat" / "adapter"
        self.settings = {
            "judge": "judge-1",
            "judge_url": proxy.url,
            "judge_usd": "[0.0, 0.0]",
            "alpaca_annotator": "chatgpt",
            "answer_tokens": "8",
            "benchmark_data": f"{{alpaca_eval: {data / 'alpaca.json'}, mt_bench: {data / 'fastchat'}}}",
        }

    def __call__(self, *arguments: object, **settings: str | None) -> Outcome:
        return self.cli(*self.order(*arguments, **settings))

    def order(self, *arguments: object, **settings: str | None) -> list[str]:
        wanted = {key: value for key, value in (self.settings | settings).items() if value is not None}
        given = [part for key, value in wanted.items() for part in ("--set", f"{key}={value}")]
        order = ("evaluate", self.recipe, "--run", self.run, "--suite", "chat", *given, *arguments)
        return list(map(str, order))

    def result(self, name: str) -> Any:
        return json.loads((self.out / f"{name}.json").read_text())


@pytest.fixture
def chat(
    cli: Cli, tiny: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Chat]:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    write_alpaca(tmp_path / "alpaca.json", 6)
    write_mt_bench(tmp_path / "fastchat")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NOTUS_RETRY_SECONDS", "2")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with Proxy(saying(verdicts), key=KEY).running() as proxy:
        yield Chat(cli, tiny / "tiny.yaml", run, proxy, tmp_path)


def test_both_benchmarks_answered_judged_and_written(chat: Chat) -> None:
    ended = chat()
    assert ended.code == 0, ended.err
    assert chat.proxy.seen.total() == 6 + 6
    assert {path.name for path in chat.out.iterdir()} == {
        *("alpaca_eval.json", "mt_bench.json"),
        *("answers.jsonl", "annotations.jsonl", "grades.jsonl", "judgements.jsonl"),
    }
    host = chat.proxy.url.removeprefix("http://").removesuffix("/v1")
    assert f"12 requests to judge-1 at {host}, about " in ended.out
    assert " out: about $0.00" in ended.out

    alpaca = chat.result("alpaca_eval")
    figures, about = alpaca["results"]["alpaca_eval"], alpaca["notus"]
    rows = read_lines(chat.out / "annotations.jsonl")
    wins = sum(row["preference"] == 2 for row in rows)
    assert figures["win_rate,none"] == pytest.approx(100 * wins / 6)
    assert f"alpaca_eval: win rate {100 * wins / 6:.2f}%" in ended.out
    assert alpaca["n-samples"] == {"alpaca_eval": {"original": 6, "effective": 6}}
    assert about["judge"]["endpoint"] == host
    assert (about["judge"]["model"], about["judge"]["annotator"], about["judge"]["without_verdict"]) == (
        "judge-1",
        "chatgpt",
        0,
    )
    assert (
        about["judge"]["from"]
        == about["judge"]["to"]
        == read_lines(chat.out / "judgements.jsonl")[0]["at"][:10]
    )
    assert about["data"]["alpaca_eval"]["path"] == "local:alpaca.json"
    assert about["details"]["wins"] + about["details"]["losses"] + about["details"]["draws"] == 6
    assert [row["generator_2"] for row in rows] == ["notus/tiny-adapter"] * 6

    mt_bench = chat.result("mt_bench")
    figures, about = mt_bench["results"]["mt_bench"], mt_bench["notus"]
    grades = read_lines(chat.out / "grades.jsonl")
    assert figures["score,none"] == pytest.approx(sum(row["score"] for row in grades) / 6)
    assert [row["judge"][1] for row in grades] == [
        *("single-v1", "single-math-v1", "single-v1"),
        *("single-v1-multi-turn", "single-math-v1-multi-turn", "single-v1-multi-turn"),
    ]
    assert [one["category"] for one in about["details"]["by_category"]] == ["writing", "math", "stem"]
    answers = read_lines(chat.out / "answers.jsonl")
    assert len(answers) == 6 + 6
    cut = [found["notus"]["details"]["answers"]["cut"] for found in (alpaca, mt_bench)]
    assert sum(cut) == sum(row["cut"] for row in answers) > 0
    assert all(f"; {number} cut at 8 tokens" in ended.out for number in cut if number)
    assert len(read_lines(chat.out / "judgements.jsonl")) == 6 + 6

    again = chat()
    assert (again.code, chat.proxy.seen.total()) == (0, 12)
    assert "evaluate-chat: up to date" in again.out
    for path in chat.run.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_what_was_judged_for_a_try_is_not_judged_again(chat: Chat) -> None:
    assert chat("--limit", 2, chat_benchmarks="[alpaca_eval]").code == 0
    assert chat.proxy.seen.total() == 2
    assert chat.result("alpaca_eval")["notus"]["limit"] == 2
    ended = chat(chat_benchmarks="[alpaca_eval]")
    assert "4 requests to judge-1 at " in ended.out
    assert chat.proxy.seen.total() == 6
    assert set(chat.proxy.seen.values()) == {1}
    assert len(read_lines(chat.out / "judgements.jsonl")) == 6
    assert chat.result("alpaca_eval")["notus"]["limit"] is None


def test_the_base_is_asked_the_same_and_may_answer_otherwise(chat: Chat) -> None:
    assert chat("--against", "base", chat_benchmarks="[mt_bench]").code == 0
    base = json.loads((chat.out.parent / "base" / "mt_bench.json").read_text())["notus"]
    assert (base["weights"], sorted(base["of"])) == ("base", ["base"])
    ours, theirs = (
        {json.dumps(row["conversation"][0]) for row in read_lines(folder / "answers.jsonl")}
        for folder in (chat.out, chat.out.parent / "base")
    )
    assert ours == theirs


def test_a_judge_whose_answers_hold_no_verdict(chat: Chat) -> None:
    chat.proxy.upstream = saying(lambda prompt: "Both are lovely.")
    line = chat(chat_benchmarks="[alpaca_eval]").mistake
    assert line == (
        "notus: alpaca_eval: none of judge-1's 6 answers as chatgpt reads them holds a verdict; take a judge that "
        "follows the prompt"
    )
    assert chat.proxy.seen.total() == 12  # each once more
    assert not (chat.run / "eval").exists()
    assert chat(chat_benchmarks="[alpaca_eval]").mistake == line
    assert chat.proxy.seen.total() == 12
    line = chat(chat_benchmarks="[mt_bench]").mistake
    assert (
        line
        == "notus: mt_bench: none of judge-1's 6 answers holds a verdict; take a judge that follows the prompt"
    )


def test_some_answers_without_a_verdict_are_counted_and_left_out(chat: Chat) -> None:
    silent = ("Portugal", "lighthouse")
    chat.proxy.upstream = saying(
        lambda prompt: "Both are lovely." if any(word in prompt for word in silent) else verdicts(prompt)
    )
    ended = chat()
    assert ended.code == 0, ended.err
    for name, file, key, none, without in (
        ("alpaca_eval", "annotations.jsonl", "preference", None, 1),
        ("mt_bench", "grades.jsonl", "score", -1, 2),
    ):
        assert sum(row[key] == none for row in read_lines(chat.out / file)) == without
        assert chat.result(name)["notus"]["judge"]["without_verdict"] == without
        assert f"; {without} without a verdict" in ended.out
    assert chat.result("alpaca_eval")["n-samples"] == {"alpaca_eval": {"original": 6, "effective": 5}}
    asked = read_lines(chat.out / "judgements.jsonl")
    assert sorted(row["ask"] for row in asked) == [1] * 12 + [2] * 3


def test_the_price_is_agreed_to_before_anything_is_answered(chat: Chat) -> None:
    ended = chat(judge_usd="[30.0, 60.0]")
    assert ended.mistake.endswith("; add --yes if that is meant")
    assert " 12 requests to judge-1 at " in ended.mistake
    assert chat.proxy.seen.total() == 0
    assert not (chat.run / ".evaluate-chat" / "answers.jsonl").exists()
    assert chat("--yes", judge_usd="[30.0, 60.0]").code == 0
    assert chat(judge_usd=None).code == 0  # of what is up to date nothing is asked


def test_an_endpoint_that_is_down_and_comes_back(chat: Chat) -> None:
    chat.proxy.script = lambda body, attempt: Trouble(503) if chat.proxy.answered.total() >= 5 else None
    ended = chat(judge_requests="1")
    assert ended.code == 1
    assert ended.err.startswith("notus: chat: 127.0.0.1:")
    assert (
        "answers 503, for 2 s; 5 of 6 are judged and kept, 1 are left; the same command goes on" in ended.err
    )
    assert not (chat.run / "eval").exists()
    chat.proxy.script = None
    ended = chat()
    assert ended.code == 0, ended.err
    assert "7 requests to judge-1 at " in ended.out
    assert set(chat.proxy.answered.values()) == {1}
    assert chat.proxy.answered.total() == 12


def test_a_wrong_key_is_found_before_anything_is_answered(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-one")
    line = chat().mistake
    assert line.endswith(" refuses the key (401); set OPENAI_API_KEY to one that it takes")
    assert "sk-another" not in line
    assert not (chat.run / ".evaluate-chat" / "answers.jsonl").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"judge": None}, "notus: chat: nobody judges; name a model with `judge`"),
        ({"judge_url": None}, "notus: chat: the judge judge-1 has no endpoint; set `judge_url`"),
        (
            {"alpaca_annotator": "chatgtp"},
            "notus: alpaca_annotator: alpaca_eval has none named 'chatgtp'; did you mean ",
        ),
        (
            {"benchmark_data": "{alpaca: rows.json}"},
            "notus: benchmark_data: 'alpaca' is no benchmark; did you mean 'alpaca_eval'?",
        ),
        (
            {"benchmark_data": "{mt_bench: /no}"},
            "notus: benchmark_data: mt_bench: /no: not there; check the path",
        ),
        (
            {"benchmark_revisions": "{tatsu-lab/alpaca_eval: main}"},
            "notus: benchmark_revisions: tatsu-lab/alpaca_eval: main is no commit id (40 hexadecimal digits)",
        ),
    ],
)
def test_mistakes_that_can_be_seen_before_any_work(
    chat: Chat, settings: dict[str, str | None], said: str
) -> None:
    assert chat(**settings).mistake.startswith(said)
    assert chat.proxy.seen.total() == 0


def test_its_plan(chat: Chat) -> None:
    ended = chat("--dry-run", "--json", benchmark_data="{}", judge_usd=None)
    assert ended.code == 0, ended.err
    alpaca, mt_bench = json.loads(ended.out)["plan"]["chat"]
    assert (alpaca["task"], alpaca["metric"], alpaca["requests"], alpaca["exact"]) == (
        "alpaca_eval",
        "win_rate",
        805,
        False,
    )
    assert alpaca["data"] == "tatsu-lab/alpaca_eval alpaca_eval.json at main, not pinned"
    assert (mt_bench["task"], mt_bench["requests"], mt_bench["exact"]) == ("mt_bench", 160, True)
    assert mt_bench["data"] == "lm-sys/FastChat at 0e6d3e4beaab"
    ended = chat("--dry-run", "--json", "--limit", 4)
    assert [line["requests"] for line in json.loads(ended.out)["plan"]["chat"]] == [4, 6]
    assert chat.proxy.seen.total() == 0


@pytest.mark.slow
def test_a_signal_ends_it_while_it_waits_and_what_was_judged_stays(chat: Chat) -> None:
    chat.proxy.script = lambda body, attempt: Trouble(silent=600) if chat.proxy.seen.total() > 5 else None
    order = [sys.executable, "-m", "notus", *chat.order(judge_timeout="600.0")]
    ended = subprocess.Popen(
        order, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )
    try:
        chat.proxy.wait_for(6, timeout=120)
        started = time.monotonic()
        ended.send_signal(signal.SIGTERM)
        _, said = ended.communicate(timeout=60)
    finally:
        ended.kill()
        ended.wait()
    assert (ended.returncode, said) == (128 + signal.SIGTERM, "notus: ended by SIGTERM\n")
    assert time.monotonic() - started < 20
    kept = read_lines(chat.run / ".evaluate-chat" / "judgements.jsonl")
    assert len(kept) == chat.proxy.answered.total() == 5
    assert not (chat.run / "eval").exists()
    chat.proxy.script = None
    assert chat().code == 0
    assert set(chat.proxy.answered.values()) == {1}
    assert chat.proxy.answered.total() == 12
