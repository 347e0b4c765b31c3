"""The smoke tasks: rows in no training set, the same code as the leaderboard's, and a difference that they see."""

import json
from collections import Counter
from pathlib import Path

import pytest

from recipe.builtin import make_feedback
from recipe.evaluate import smoke
from recipe.evaluate.smoke.rows import ROWS, as_jsonl
from recipe.evaluate.smoke.scoring import right
from recipe.load import load_recipe
from recipe.run import Run
from tests.recipe.evaluate.benchmarks import copy_run
from tests.support import Cli, fresh

TASKS = {"smoke_reply": ("acc", 144, 48), "smoke_answer": ("right", 16, 16)}


def test_no_question_is_in_the_feedback() -> None:
    trained_on = {str(row["instruction"]) for row in make_feedback()}
    for rows in ROWS.values():
        questions = [row["question"] for row in rows()]
        assert len(set(questions)) == len(questions)
        assert not trained_on & set(questions)


def test_the_rows_are_the_same_each_time() -> None:
    for make in ROWS.values():
        assert as_jsonl(make()) == as_jsonl(make())


def test_one_reply_of_three_is_helpful_and_at_any_place() -> None:
    rows = ROWS["smoke_reply"]()
    helpful = {row["replies"][row["best"]] for row in rows}
    assert helpful == {"Of course!", "Happy to help."}
    assert not helpful & {
        reply for row in rows for place, reply in enumerate(row["replies"]) if place != row["best"]
    }
    assert {row["best"] for row in rows} == {0, 1, 2}
    assert all(len(set(row["replies"])) == 3 for row in rows)


def test_length_tells_nothing() -> None:
    """The helpful reply is the shortest, the second and the longest as often, and none differs by much."""
    ranks: Counter[tuple[str, int]] = Counter()
    for row in ROWS["smoke_reply"]():
        helpful = row["replies"][row["best"]]
        differences = [len(reply) - len(helpful) for reply in row["replies"] if reply != helpful]
        assert all(1 <= abs(difference) <= 4 for difference in differences)
        ranks[helpful, sum(difference < 0 for difference in differences)] += 1
    assert ranks == {(helpful, rank): 8 for helpful in ("Of course!", "Happy to help.") for rank in range(3)}


@pytest.mark.parametrize(
    ("answer", "found"), [("The capital is PARIS.", 1.0), ("Lyon, I think", 0.0), ("paris", 1.0), ("", 0.0)]
)
def test_an_answer_is_right_if_the_words_are_in_it(answer: str, found: float) -> None:
    assert right({"answer": "Paris"}, [answer]) == {"right": found}


@pytest.mark.parametrize(("limit", "requests"), [(None, [144, 16]), (5, [15, 5])])
def test_the_plan_counts(tmp_path: Path, limit: int | None, requests: list[int]) -> None:
    run = Run(tmp_path / "none", load_recipe("smoke", [f"evaluate_limit={json.dumps(limit)}"]))
    lines = smoke.plan(run)
    assert [line.task for line in lines] == list(TASKS)
    assert [line.requests for line in lines] == requests
    assert all(line.exact for line in lines)


def test_from_the_command_line_and_up_to_date_then(
    tiny: Path, trained: Path, tmp_path: Path, cli: Cli
) -> None:
    run = copy_run(trained, tmp_path / "run")
    command = ("evaluate", tiny / "tiny.yaml", "--suite", "smoke", "--against", "base", "--run", run)
    ended = cli(*command)
    assert ended.code == 0, ended.err
    assert not ended.err
    found = {}
    for weights in ("adapter", "base"):
        for task, (metric, _, rows) in TASKS.items():
            content = json.loads((run / "eval" / "smoke" / weights / f"{task}.json").read_text())
            assert content["n-samples"][task] == {"original": rows, "effective": rows}
            assert content["notus"]["data"][task]["path"] == "builtin:smoke"
            assert content["notus"]["data"][task]["revision"].startswith("sha256:")
            assert (
                content["configs"][task]["metadata"]["config_source"] == f"recipe/evaluate/smoke/{task}.yaml"
            )
            assert "<|assistant|>" in content["chat_template"]
            assert str(tmp_path) not in json.dumps(content)
            found[weights, task] = content["results"][task][f"{metric},none"]
            assert f"{task}: {metric} {found[weights, task]:.4f}" in ended.out
    chance, spread = 1 / 3, 0.15  # of 48 rows, about two standard errors
    assert abs(found["base", "smoke_reply"] - chance) < spread  # the tiny base is untrained
    assert not list(run.glob(".evaluate*"))  # what outlives a kill goes when all is done
    again = cli(*command)
    assert "evaluate-smoke: up to date" in again.out
    assert "evaluate-smoke-base: up to date" in again.out


@pytest.mark.slow
def test_tuning_the_embedded_base_is_seen(tmp_path: Path) -> None:
    run = tmp_path / "smoke"
    for command in (("train",), ("evaluate", "smoke", "--suite", "smoke", "--against", "base")):
        ended = fresh(*command, "--run", run, "--quiet", cwd=tmp_path)
        assert ended.code == 0, ended.err
    tuned, base = (
        json.loads((run / "eval" / "smoke" / weights / "smoke_reply.json").read_text())["results"][
            "smoke_reply"
        ]
        for weights in ("adapter", "base")
    )
    assert tuned["acc,none"] > base["acc,none"] + 2 * base["acc_stderr,none"]
