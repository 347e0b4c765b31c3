"""`notus evaluate` as a user has it: what it leaves alone, and files of results that are no such."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recipe.errors import UserError
from recipe.evaluate.imports import import_files
from recipe.evaluate.stage import evaluation, evaluations_of
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run
from tests.support import Cli

RESULT: dict[str, Any] = {
    "results": {"arc_challenge": {"acc_norm,none": 0.5, "acc_norm_stderr,none": 0.01, "alias": "arc"}},
    "group_subtasks": {"arc_challenge": []},
    "configs": {"arc_challenge": {"task": "arc_challenge", "num_fewshot": 25}},
    "versions": {"arc_challenge": 1},
    "n-shot": {"arc_challenge": 25},
    "n-samples": {"arc_challenge": {"original": 10, "effective": 10}},
    "config": {"model": "hf", "model_args": "pretrained=x,peft=notus/tiny-adapter", "limit": None},
    "date": 4e9,
}
JUDGED: list[dict[str, Any]] = [
    {
        "question_id": 81 + question,
        "model": "tiny-adapter",
        "judge": ["gpt-4", "single-v1"],
        "score": 5,
        "turn": turn,
        "tstamp": 4e9,
    }
    for question in range(2)
    for turn in (1, 2)
]
ANNOTATED: list[dict[str, Any]] = [
    {
        "preference": preference,
        "generator_1": "text_davinci_003",
        "generator_2": "tiny-adapter",
        "annotator": "alpaca_eval_gpt4",
        "date": "2090-01-01",
    }
    for preference in (1, 2)
]
ODD: list[Any] = [None, 10**400, float("nan"), "\ud800", [[]], {"a": {}}]


@pytest.fixture
def run(trained: Path, tiny: Path, tmp_path: Path) -> Run:
    folder = tmp_path / "run"
    folder.mkdir()
    for path in trained.iterdir():
        if path.name not in {"eval", "manifest.json", ".lock"}:
            (folder / path.name).symlink_to(path)
    shutil.copy(trained / "manifest.json", folder)
    return Run(folder, load_recipe(tiny / "tiny.yaml", ("sample_answers=0",)))


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value in a value of JSON's."""
    if above:
        yield above
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*above, key))


@pytest.mark.parametrize("whole", [RESULT, JUDGED, ANNOTATED])
def test_a_file_with_anything_in_the_place_of_anything(run: Run, tmp_path: Path, whole: Any) -> None:
    path, taken, said = tmp_path / "results.json", 0, []
    for place in places(whole):
        for odd in ODD:
            content = json.loads(json.dumps(whole))
            above = content
            for key in place[:-1]:
                above = above[key]
            above[place[-1]] = odd
            path.write_text(json.dumps(content))
            try:
                import_files(run, [path], Reporter(quiet=True))
            except UserError as error:
                said.append(str(error))
            else:
                taken += 1
                shutil.rmtree(run.path("eval"))
    assert taken  # a date that is none is none, say
    assert said
    assert all(str(path) in line for line in said)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("long.json", b"1" * 5000, "no results"),
        ("deep.json", b"[" * 100_000, "no results"),
        ("deep.jsonl", b"[" * 100_000, "no results"),
        ("wide.csv", b'a,win_rate,standard_error\n"' + b"x" * 200_000 + b'",1,1\n', "not CSV"),
    ],
)
def test_a_file_that_python_does_not_read(
    run: Run, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        import_files(run, [tmp_path / name], Reporter(quiet=True))


def test_an_import_into_nothing_leaves_nothing(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(RESULT))
    ended = cli(
        "evaluate", "import", tmp_path / "results.json", "--recipe", tiny / "tiny.yaml", "--run", tmp_path / "no"
    )  # fmt: skip
    assert "nothing was trained here" in ended.mistake
    assert not (tmp_path / "no").exists()


def test_a_file_where_results_are_to_go(run: Run) -> None:
    run.path("eval").write_text("mine")
    with run.locked(), pytest.raises(UserError, match=r"eval: no folder, where results are to go"):
        run.bring((evaluation("preference"),), Reporter(quiet=True))
    assert run.path("eval").read_text() == "mine"


def test_a_try_does_not_take_the_place_of_results(run: Run, cli: Cli, tiny: Path) -> None:
    asked = ("evaluate", tiny / "tiny.yaml", "--run", run.folder, "--set", "sample_answers=0", "--quiet")
    assert cli(*asked, "--suite", "smoke").code == 0
    (result,) = run.path("eval/smoke/adapter").glob("smoke_reply.json")
    whole = result.read_bytes()
    ended = cli(*asked, "--suite", "preference", "--suite", "smoke", "--limit", 2)
    assert "eval/smoke/adapter: has figures of all samples" in ended.mistake
    assert result.read_bytes() == whole
    shutil.rmtree(result.parent)
    assert cli(*asked, "--suite", "smoke", "--limit", 2).code == 0
    assert json.loads(result.read_text())["notus"]["limit"] == 2
    assert cli(*asked, "--suite", "smoke").code == 0  # all samples take the place of some
    assert result.read_bytes() != whole  # of another time
    assert json.loads(result.read_text())["notus"]["limit"] is None


def test_a_model_is_made_without_what_measures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from commandline.work import without_extras_that_are_missing

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lm_eval" else find(name))
    said: list[str] = []
    reporter = Reporter(quiet=True)
    monkeypatch.setattr(reporter, "warn", said.append)
    stages = evaluations_of(load_recipe("smoke"))
    assert [stage.name for stage in without_extras_that_are_missing(stages, reporter)] == [
        "evaluate-preference"
    ]
    assert [line.split(":")[0] for line in said] == ["evaluate-smoke", "evaluate-smoke-base"]
    assert "lm_eval is not installed; `pip install '.[evaluate]'`" in said[0]


def test_local_rows_of_one_suite_are_nothing_to_another(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mmlu.jsonl").write_text("{}\n")
    rows = {"mmlu": f"{tmp_path}/mmlu.jsonl"}
    asked = run.recipe.evaluation.model_copy(update={"benchmark_data": rows})
    with_rows = Run(run.folder, run.recipe.model_copy(update={"evaluation": asked}))
    outside = {name: evaluation(name).outside for name in ("chat", "leaderboard", "smoke")}
    assert outside["smoke"] is None
    chat, leaderboard = outside["chat"], outside["leaderboard"]
    assert chat is not None
    assert leaderboard is not None
    assert chat(with_rows) == chat(run)
    assert leaderboard(with_rows) != leaderboard(run)
    assert not any("benchmark_data" in one for one in evaluation("leaderboard").reads)  # wherever they lie
