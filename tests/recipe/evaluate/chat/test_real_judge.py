"""The protocol before a judge that exists, through a proxy that troubles its requests and counts them.

The judge has 135 million parameters, and what it says of answers means nothing. But it is said by a real model, through
a real server, and often enough it is no verdict.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recipe.evaluate.chat.annotator import winrate
from tests.recipe.evaluate.chat.chat_data import read_lines, write_alpaca, write_mt_bench
from tests.recipe.evaluate.chat.judge_proxy import TROUBLES, Proxy, Trouble, once, server_at
from tests.recipe.evaluate.chat.real_judge import end_at_lines, served, write_model
from tests.support import ROOT, Cli, fresh

pytestmark = pytest.mark.slow

NAME = "smollm2-135m-instruct"
PROMPTS, TURNS = 20, 6
SECONDS = 15.0  # that a request may take, on a machine with much else to do


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real judge."""
    folder = tmp_path_factory.mktemp("judge") / NAME
    write_model(folder)
    end_at_lines(folder)
    with served(folder, folder.with_name("log")) as url:
        yield url
    shutil.rmtree(folder)  # half a gigabyte


class Bench:
    """A trained run, twenty instructions and three questions, and the command over them."""

    def __init__(self, tiny: Path, trained: Path, folder: Path) -> None:
        self.recipe, self.trained, self.folder = tiny / "tiny.yaml", trained, folder
        write_alpaca(folder / "alpaca.json")
        write_mt_bench(folder / "fastchat")

    def run(self, name: str) -> Path:
        shutil.copytree(self.trained, self.folder / name)
        return self.folder / name

    def order(self, run: Path, proxy: Proxy, **settings: object) -> list[str]:
        data = f"{{alpaca_eval: {self.folder / 'alpaca.json'}, mt_bench: {self.folder / 'fastchat'}}}"
        given = {
            "judge": NAME,
            "judge_url": proxy.url,
            "judge_timeout": SECONDS,
            "alpaca_annotator": "chatgpt",
            "answer_tokens": 32,
            "benchmark_data": data,
            **settings,
        }
        sets = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        return ["evaluate", str(self.recipe), "--run", str(run), "--suite", "chat", "--yes", *sets]


@pytest.fixture
def bench(tiny: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    return Bench(tiny, trained, tmp_path)


def asked(rows: list[dict[str, Any]]) -> Counter[str]:
    """Count judgements by what was asked."""
    return Counter(json.dumps(row["messages"], sort_keys=True) for row in rows)


def answered(proxy: Proxy) -> Counter[str]:
    """Count the answers that a proxy passed back whole, by what was asked."""
    found: Counter[str] = Counter()
    for body, times in proxy.answered.items():
        found[json.dumps(proxy.bodies[body]["messages"], sort_keys=True)] += times
    return found


def test_twenty_prompts_under_every_trouble(judge: str, bench: Bench) -> None:
    silent = [Trouble(silent=SECONDS + 3) if one.silent else one for one in TROUBLES]
    run = bench.run("troubled")
    with Proxy(server_at(judge), once(*silent)).running() as proxy:
        ended = fresh(*bench.order(run, proxy), cwd=bench.folder)
        assert ended.code == 0, ended.err
        out = run / "eval" / "chat" / "adapter"
        judgements = read_lines(out / "judgements.jsonl")
        # Nothing is judged twice: as many answers came as are kept, of each request. Nothing is lost: each has its own.
        assert answered(proxy) == asked(judgements)
        assert len(asked(judgements)) == PROMPTS + TURNS
        troubled = proxy.seen.total() - proxy.answered.total()
        assert troubled == PROMPTS + TURNS  # the first attempt at each
        annotations, grades = read_lines(out / "annotations.jsonl"), read_lines(out / "grades.jsonl")
        assert (len(annotations), len(grades)) == (PROMPTS, TURNS)
        verdicts = sum(row["preference"] is not None for row in annotations)
        assert verdicts >= PROMPTS // 2  # it can follow this annotator
        found = json.loads((out / "alpaca_eval.json").read_text())
        assert found["notus"]["judge"]["without_verdict"] == PROMPTS - verdicts
        assert found["results"]["alpaca_eval"]["win_rate,none"] == winrate(annotations)["win_rate"]
        assert "evaluate-chat: up to date" in fresh(*bench.order(run, proxy), cwd=bench.folder).out
        assert answered(proxy) == asked(judgements)


def test_killed_in_the_middle_it_asks_only_for_what_is_missing(judge: str, bench: Bench) -> None:
    run, before = bench.run("killed"), 7
    held = Trouble(silent=600)
    with Proxy(server_at(judge)).running() as proxy:
        proxy.script = lambda body, attempt: held if proxy.seen.total() > before else None
        order = [
            sys.executable,
            "-m",
            "notus",
            *bench.order(run, proxy, judge_requests=1, judge_timeout=600.0),
        ]
        with (bench.folder / "killed.log").open("wb") as log:
            killed = subprocess.Popen(
                order, cwd=bench.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )
            try:
                proxy.wait_for(before + 1, timeout=200)
            finally:
                killed.send_signal(signal.SIGKILL)
                killed.wait()
        kept = read_lines(run / ".evaluate-chat" / "judgements.jsonl")
        assert len(kept) == before
        assert answered(proxy) == asked(kept)
        assert not (run / "eval").exists()
        answers = (run / ".evaluate-chat" / "answers.jsonl").read_bytes()

        proxy.script = None
        ended = fresh(*bench.order(run, proxy), cwd=bench.folder)
        assert ended.code == 0, ended.err
        out = run / "eval" / "chat" / "adapter"
        judgements = read_lines(out / "judgements.jsonl")
        assert answered(proxy) == asked(judgements)
        assert len(asked(judgements)) == PROMPTS + TURNS
        assert [row for row in judgements if row in kept] == sorted(kept, key=lambda row: str(row["key"]))
        written = set(answers.splitlines())
        assert written == set((out / "answers.jsonl").read_bytes().splitlines())  # none was written anew
        assert "AlpacaEval 20/20" not in ended.out


def test_a_judge_that_can_t_follow_the_annotator(judge: str, bench: Bench, cli: Cli) -> None:
    run = bench.run("unable")
    with Proxy(server_at(judge)).running() as proxy:
        settings = {
            "alpaca_annotator": "alpaca_eval_gpt4",
            "chat_benchmarks": "[alpaca_eval]",
            "evaluate_limit": 2,
        }
        line = cli(*bench.order(run, proxy, **settings)).mistake
        assert line == (
            f"notus: alpaca_eval: none of {NAME}'s 2 answers as alpaca_eval_gpt4 reads them holds a verdict; "
            "take a judge that follows the prompt"
        )
        kept = read_lines(run / ".evaluate-chat" / "judgements.jsonl")
        assert sorted(row["ask"] for row in kept) == [1, 1, 2, 2]
        assert not (run / "eval").exists()


def test_a_server_without_log_probabilities(judge: str, bench: Bench, cli: Cli) -> None:
    run = bench.run("without")
    with Proxy(server_at(judge)).running() as proxy:
        settings = {"alpaca_annotator": "weighted_alpaca_eval_gpt4_turbo", "chat_benchmarks": "[alpaca_eval]"}
        line = cli(*bench.order(run, proxy, evaluate_limit=2, judge_requests=1, **settings)).mistake
        assert line == (
            "notus: alpaca_eval: weighted_alpaca_eval_gpt4_turbo reads the judge's log-probabilities, and its endpoint "
            "gives none; set `alpaca_annotator` to one that reads what it says, as alpaca_eval_gpt4"
        )
        assert proxy.seen.total() == 1
