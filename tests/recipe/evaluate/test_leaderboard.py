"""The leaderboard's settings, its plan, and what is refused before anything is measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipe.errors import UserError
from recipe.evaluate import leaderboard
from recipe.evaluate.catalogue import Catalogue, names_in, shipped
from recipe.evaluate.published import MMLU_SUBJECTS
from recipe.evaluate.suite import Planned
from recipe.load import load_recipe
from recipe.run import Run
from recipe.schema import is_commit
from tests.recipe.evaluate.benchmarks import at_work, result, winogrande_rows, write_arc, write_rows
from tests.support import Cli

ALL = ["arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc2", "winogrande", "gsm8k", "drop"]


def plan(folder: Path, **keys: Any) -> dict[str, Planned]:
    """Return the plan of a run that was never begun."""
    overrides = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    run = Run(folder / "none", load_recipe("smoke", overrides))
    leaderboard.check(run, "adapter")
    return {line.task: line for line in leaderboard.plan(run)}


def test_the_settings_are_those_of_november_2023(tmp_path: Path) -> None:
    lines = plan(tmp_path)
    assert {task: (line.shots, line.metric) for task, line in lines.items()} == {
        "arc_challenge": (25, "acc_norm"),
        "hellaswag": (10, "acc_norm"),
        "mmlu": (5, "acc"),
        "truthfulqa_mc2": (0, "acc"),
        "winogrande": (5, "acc"),
        "gsm8k": (5, "exact_match, strict-match"),
        "drop": (3, "f1"),
    }
    assert list(lines) == ALL
    assert lines["mmlu"].requests == 56_168
    assert lines["gsm8k"].requests == 1_319
    assert not any(line.exact for line in lines.values())
    assert lines["arc_challenge"].data == "allenai/ai2_arc (ARC-Challenge, test) @ 210d026faf99"
    assert lines["drop"].data == "EleutherAI/drop (validation)"
    assert "EleutherAI/drop is pinned to no commit" in lines["drop"].note
    assert all(map(is_commit, leaderboard.REVISIONS.values()))


def test_the_metrics_are_those_that_the_tasks_have() -> None:
    catalogue = Catalogue(ALL)
    for benchmark in leaderboard.BENCHMARKS:
        for leaf, config in catalogue.leaves(benchmark.name).items():
            metrics = {one["metric"] for one in config["metric_list"]}
            assert str(benchmark.metric).split(",")[0] in metrics, leaf
            path = config["dataset_path"]
            assert path in leaderboard.REVISIONS or benchmark.name == "drop"
    assert len(catalogue.leaves("mmlu")) == MMLU_SUBJECTS


def test_a_plan_counts_rows_that_are_here(tmp_path: Path) -> None:
    data = {
        "arc_challenge": str(write_arc(tmp_path / "arc")),
        "winogrande": str(write_rows(tmp_path / "winogrande.jsonl", winogrande_rows(7))),
    }
    keys = {"benchmark_data": data, "benchmark_tasks": ["arc_challenge", "piqa"]}
    lines = plan(tmp_path, **keys)
    assert (lines["arc_challenge"].requests, lines["arc_challenge"].exact) == (22, True)
    assert lines["arc_challenge"].data.startswith("local:arc (ARC-Challenge, test) @ ")
    assert (lines["piqa"].requests, lines["piqa"].exact, lines["piqa"].shots) == (None, False, 0)
    assert plan(tmp_path, **keys, evaluate_limit=2)["arc_challenge"].requests == 7


def test_a_plan_with_a_limit(tmp_path: Path) -> None:
    lines = plan(tmp_path, evaluate_limit=10)
    assert {task: line.requests for task, line in lines.items()} == {
        "arc_challenge": 40, "hellaswag": 40, "mmlu": 2_280, "truthfulqa_mc2": 72, "winogrande": 20, "gsm8k": 10,
        "drop": 10,
    }  # fmt: skip


def test_the_command_line_plans_and_reads_no_network(cli: Cli, tmp_path: Path) -> None:
    ended = cli(
        "evaluate", "smoke", "--suite", "leaderboard", "--dry-run", "--run", tmp_path / "none", "--json"
    )
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)["plan"]["leaderboard"]
    assert [line["task"] for line in told] == ALL
    assert not (tmp_path / "none").exists()
    shown = cli("evaluate", "smoke", "--suite", "leaderboard", "--dry-run", "--run", tmp_path / "none")
    assert "about 56,168" in shown.out


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"benchmark_tasks": ["arc_chalenge"]},
            "arc_chalenge: no task of lm-eval; did you mean 'arc_challenge'?",
        ),
        (
            {"benchmark_tasks": ["qqqqqqqqqqq"]},
            "qqqqqqqqqqq: no task of lm-eval; `lm-eval ls tasks` lists all",
        ),
        (
            {"benchmark_tasks": ["humaneval"]},
            "humaneval: this task of lm-eval runs code that the model writes",
        ),
        ({"benchmark_tasks": ["squadv2"]}, "squadv2: this task of lm-eval is written in Python"),
        (
            {"benchmark_tasks": ["mmmu_val_art"]},
            "mmmu_val_art: this task of lm-eval is about images or sound",
        ),
        (
            {"benchmark_data": {"hellaswagg": "x"}},
            "benchmark_data: 'hellaswagg' is no task; did you mean 'hellaswag'?",
        ),
        ({"benchmark_data": {"hellaswag": "/nowhere/rows"}}, "/nowhere/rows: no such file or folder"),
    ],
)
def test_what_is_refused(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        plan(tmp_path, **keys)


def test_a_chat_benchmark_may_have_local_rows_beside(tmp_path: Path) -> None:
    assert (
        plan(tmp_path, benchmark_data={"mt_bench": "/nowhere"}, benchmark_tasks=["gsm8k"])["gsm8k"].shots == 5
    )


def test_names_are_found_without_lm_evals_index() -> None:
    names = names_in(shipped())
    assert {"arc_challenge", "mmlu", "mmlu_astronomy", "ai2_arc", "mmlu_stem_tasks"} <= names.keys()
    assert Catalogue(["mmlu"]).folders == {shipped() / "mmlu" / "default"}


@pytest.mark.slow
def test_a_tag_and_a_group_over_many_folders() -> None:
    """For these all of lm-eval's tasks are indexed, which takes seconds."""
    assert set(Catalogue(["ai2_arc"]).leaves("ai2_arc")) == {"arc_easy", "arc_challenge"}
    openllm = Catalogue(["openllm"])
    assert set(openllm.leaves("openllm")) >= {"arc_challenge", "gsm8k", "mmlu_astronomy"}
    assert "mmlu" in openllm.groups("openllm")


def test_a_commit_that_nobody_named_is_looked_up_once_and_told(
    tiny: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def commit_of(path: str, revision: str | None = None) -> str:
        asked.append((path, revision))
        return "c" * 40

    monkeypatch.setattr(leaderboard, "commit_of", commit_of)
    evaluating = at_work(tiny, trained, tmp_path)
    for _ in range(2):
        assert leaderboard._looked_up("EleutherAI/drop", None, evaluating) == "c" * 40
        assert leaderboard._looked_up("cais/mmlu", "refs/convert/parquet", evaluating) == "c" * 40
    assert asked == [("EleutherAI/drop", None), ("cais/mmlu", "refs/convert/parquet")]
    told = evaluating.reporter.warnings  # type: ignore[attr-defined]
    assert told[0] == (
        f"EleutherAI/drop: no commit is named for it; measured at {'c' * 40}, which benchmark_revisions can name"
    )
    assert len(told) == 2


def test_a_task_beside_the_seven_keeps_its_own_settings(tiny: Path, trained: Path, tmp_path: Path) -> None:
    """And one that is made for no examples gets none."""
    rows = write_arc(tmp_path / "arc")
    keys: dict[str, Any] = {"benchmark_data": {"arc_easy": str(rows)}, "benchmark_tasks": ["arc_easy"]}
    evaluating = at_work(tiny, trained, tmp_path, **keys)
    leaderboard.measure(evaluating)
    assert result(evaluating, "arc_easy")["n-shot"] == {"arc_easy": 0}
    assert result(evaluating, "arc_easy")["notus"]["data"]["arc_easy"]["config"] == "ARC-Easy"
