"""What a release asks of a model's evaluation: suites that are there, of these weights, and figures not too low."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from publish.evaluated import rests_on, shortcomings
from recipe.errors import UserError
from recipe.evaluate.stage import evaluation
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run
from tests.modelcard.measured import Measured
from tests.support import Cli, Outcome

ASKING = Callable[..., Run]


@pytest.fixture
def asking(trained: Path, tiny: Path, tmp_path: Path) -> ASKING:
    """Return a run whose recipe asks for suites and floors; its `eval/` is empty."""
    folder = tmp_path / "run"

    def opened(*keys: str) -> Run:
        if not folder.exists():
            folder.mkdir()
            for path in trained.iterdir():
                if path.name not in {"eval", "manifest.json", ".lock"}:
                    (folder / path.name).symlink_to(path)
            (folder / "manifest.json").write_text((trained / "manifest.json").read_text())
        return Run(folder, load_recipe(tiny / "tiny.yaml", keys))

    return opened


def recorded(run: Run) -> Run:
    """Have the run take the results that lie there for those of evaluations, as they are."""

    def work(place: Path, of: Run, out: Path, reporter: Reporter) -> dict[str, object]:
        shutil.copytree(of.path(*place.parts), out / place)
        return {}

    stages = [
        replace(
            evaluation(folder.parent.name, folder.name),  # type: ignore[arg-type]
            work=partial(work, folder.relative_to(run.folder)),
        )
        for folder in sorted(run.path("eval").glob("*/*"))
        if folder.parent.name != "imported"
    ]
    with run.locked():
        run.bring(stages, Reporter(quiet=True))
    return run


def imported(run: Run, path: Path) -> None:
    """Move a result to where those are that were taken in, and have it say so."""
    content = json.loads(path.read_text())
    content["notus"]["imported"] = {"file": path.name, "sha256": "0" * 64, "was": "lm-eval 0.4"}
    place = run.path("eval", "imported", content["notus"]["weights"], path.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(content))
    path.unlink()


def changed(path: Path, part: str, task: str, value: object) -> None:
    """Change what a result says of a task."""
    content = json.loads(path.read_text())
    content[part][task] = value
    path.write_text(json.dumps(content))


def test_a_recipe_that_asks_for_nothing(asking: ASKING) -> None:
    assert shortcomings(asking("evaluate=[]", "floors={}")) == []


def test_a_suite_that_is_missing_is_named(asking: ASKING) -> None:
    keys = ("evaluate=[preference, leaderboard]", "floors={chat/mt_bench/score: 5}")
    run = asking(*keys)
    missing = "not evaluated; `notus evaluate` does, or `notus evaluate import`"
    assert shortcomings(run) == [f"{suite} {missing}" for suite in ("preference", "leaderboard", "chat")]
    Measured(run, "base").leaderboard()  # the base's figures are not the model's
    Measured(run).chat()
    recorded(run)
    assert shortcomings(run) == [f"{suite} {missing}" for suite in ("preference", "leaderboard")]
    Measured(run, "merged").leaderboard()
    Measured(run).preference()
    assert shortcomings(recorded(run)) == []


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        ("leaderboard/arc_challenge/acc_norm: 0.6425", None),
        ("leaderboard/arc_challenge/acc_norm: 0.65", "is 0.6425, and the recipe asks for 0.65"),
        ("leaderboard/gsm8k/exact_match: 0.3", "there are several; name exact_match,"),
        ("'leaderboard/gsm8k/exact_match,flexible-extract': 0.35", None),
        ("'leaderboard/gsm8k/exact_match,strict-match': 0.35", "is 0.3457, and the recipe asks for 0.35"),
        ("leaderboard/open_llm_leaderboard/average: 0.9", "is 0.5"),
        ("leaderboard/arc_chalenge/acc_norm: 0.6", "no such figure (nearest: arc_challenge/acc_norm)"),
        ("leaderboard/mmlu/acc: {under_base: 0}", None),
        (
            "leaderboard/drop/f1: {under_base: 0.01}",
            "f1 is 0.0894, 0.02 under the base's 0.1094, and the recipe allows 0.01",
        ),
        ("leaderboard/drop/f1: {under_base: 0.021}", None),
    ],
)  # fmt: skip
def test_floors(asking: ASKING, floor: str, said: str | None) -> None:
    run = asking(f"floors={{{floor}}}")
    Measured(run).leaderboard()
    Measured(run, "base").leaderboard(0.02 if "drop" in floor else -0.02)
    found = shortcomings(recorded(run))
    if said is None:
        assert found == []
    else:
        [line] = found
        assert line.startswith(floor.split(": ", maxsplit=1)[0].strip("'"))
        assert said in line


def test_a_floor_under_the_base_needs_the_base(asking: ASKING) -> None:
    run = asking("floors={leaderboard/mmlu/acc: {under_base: 0.01}}")
    Measured(run).leaderboard()
    [line] = shortcomings(recorded(run))
    assert line.startswith("leaderboard/mmlu/acc: of the base no such figure")
    assert "`notus evaluate RECIPE --suite leaderboard --against base`" in line


@pytest.mark.parametrize(
    ("floor", "said"), [("0.52", None), ("0.5", "is 0.5123, and the recipe asks for at most 0.5")]
)
def test_a_loss_is_not_to_be_above_it(asking: ASKING, floor: str, said: str | None) -> None:
    run = asking(f"floors={{preference/heldout/loss: {floor}}}")
    Measured(run).preference()
    assert shortcomings(recorded(run)) == ([f"preference/heldout/loss {said}"] if said else [])


def test_some_samples_are_not_enough(asking: ASKING) -> None:
    run = asking("floors={leaderboard/mmlu/acc: 0.1}")
    Measured(run, limit=20).leaderboard()
    recorded(run)
    floor = "leaderboard/mmlu/acc: measured on 20 samples only; evaluate without a limit"
    assert shortcomings(run) == [floor]
    assert shortcomings(asking("evaluate=[leaderboard]")) == [
        "leaderboard evaluated on some samples only; evaluate without a limit"
    ]


def test_few_rows_are_not_the_benchmark_unless_the_recipe_names_them(asking: ASKING, tmp_path: Path) -> None:
    floor = "floors={leaderboard/arc_challenge/acc_norm: 0.1}"
    run = asking(floor)
    path = next(path for path in Measured(run).leaderboard() if path.stem == "arc_challenge")
    changed(path, "n-samples", "arc_challenge", {"original": 6, "effective": 6})
    assert shortcomings(recorded(run)) == [
        "leaderboard/arc_challenge/acc_norm: measured on 6 samples, and the benchmark has 1,172; evaluate all of it"
    ]
    (tmp_path / "rows.jsonl").write_text("{}")
    run = asking(floor, f"benchmark_data={{arc_challenge: {tmp_path / 'rows.jsonl'}}}")
    assert shortcomings(recorded(run)) == []


@pytest.mark.parametrize("judgements", [None, 805])
def test_answers_without_a_verdict_meet_no_floor_where_they_are_many(
    asking: ASKING, judgements: int | None
) -> None:
    run = asking("floors={chat/alpaca_eval/win_rate: 50}")
    path, _ = Measured(run).chat()
    many = (
        "chat/alpaca_eval/win_rate: 41 of 805 answers have no verdict; name another annotator (alpaca_annotator) "
        "or judge, and evaluate again"
    )
    cases: list[tuple[int, list[str]]] = [(40, []), (41, [many])]
    for without, said in cases:
        content = json.loads(path.read_text())
        content["notus"]["judge"] |= {"without_verdict": without, "judgements": judgements}
        content["n-samples"]["alpaca_eval"]["effective"] = 805 - without
        path.write_text(json.dumps(content))
        run.forget("evaluate-chat")
        assert shortcomings(recorded(run)) == said


def test_suites_that_rest_on_imported_figures_are_told(asking: ASKING) -> None:
    run = asking("evaluate=[leaderboard, preference]", "floors={chat/mt_bench/score: 5}")
    for path in Measured(run).leaderboard():
        imported(run, path)
    Measured(run).preference()
    paths = Measured(run).chat()
    imported(run, paths[0])  # the other one is not
    recorded(run)
    assert shortcomings(run) == []
    assert rests_on(run) == ["leaderboard (imported)", "preference", "chat"]


def test_other_examples_in_the_prompt_are_not_the_leaderboards(asking: ASKING) -> None:
    run = asking("floors={leaderboard/hellaswag/acc_norm: 0.1}")
    path = next(path for path in Measured(run).leaderboard() if path.stem == "hellaswag")
    assert shortcomings(recorded(run)) == []
    changed(path, "n-shot", "hellaswag", 0)
    wrong = (
        "leaderboard/hellaswag/acc_norm: measured with 0 examples in the prompt, and the leaderboard has 10; evaluate "
        "as it does"
    )
    run.forget("evaluate-leaderboard")
    assert shortcomings(recorded(run)) == [wrong]
    shutil.copy(path, other := path.with_name("other.json"))
    imported(run, other)
    changed(run.path("eval/imported/adapter/other.json"), "n-shot", "hellaswag", 10)
    assert shortcomings(run) == []  # the one with the leaderboard's examples counts


def test_the_chat_template_is_as_the_recipe_has_it(asking: ASKING) -> None:
    floor = "floors={leaderboard/hellaswag/acc_norm: 0.1}"
    run = asking(floor)
    path = next(path for path in Measured(run).leaderboard() if path.stem == "hellaswag")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"chat_template": "{{ messages }}"}))
    imported(run, path)
    shutil.rmtree(run.path("eval", "leaderboard"))
    [line] = shortcomings(run)
    assert line.endswith("measured with the chat template, and the recipe asks for it without")
    assert shortcomings(asking(floor, "benchmark_chat_template=true")) == []


def test_a_part_of_a_suite_is_not_the_suite(asking: ASKING) -> None:
    run = asking("evaluate=[leaderboard, chat]", "floors={}")
    for path in [*Measured(run).leaderboard(without=("mmlu", "drop")), Measured(run).chat()[0]]:
        imported(run, path)
    shutil.rmtree(run.path("eval", "leaderboard"))
    shutil.rmtree(run.path("eval", "chat"))
    assert shortcomings(run) == [
        "leaderboard evaluated but for mmlu, drop; `notus evaluate` does all of it",
        "chat evaluated but for mt_bench; `notus evaluate` does all of it",
    ]
    assert shortcomings(asking("evaluate=[]", "floors={chat/alpaca_eval/win_rate: 80}")) == []


def test_figures_that_were_measured_otherwise_say_nothing_of_each_other(asking: ASKING) -> None:
    run = asking("floors={leaderboard/arc_challenge/acc_norm: {under_base: 0.1}}")
    Measured(run).leaderboard()
    path = Measured(run, "base").leaderboard()[0]
    changed(path, "versions", "arc_challenge", 2)
    [line] = shortcomings(recorded(run))
    assert "the base has another version of the task (2, not 1)" in line


def test_what_no_evaluation_finished_does_not_count(asking: ASKING) -> None:
    run = asking("evaluate=[preference]", "floors={}")
    Measured(run).preference()
    old = "evaluate-preference is not of this run and recipe as they are now; evaluate again"
    assert shortcomings(run) == [old]  # put there by hand
    assert shortcomings(recorded(run)) == []
    run.forget("evaluate-preference")  # as one does that is killed while it takes the place of the last
    assert shortcomings(run) == [old]
    recorded(run)
    shutil.copy(run.path("eval/preference/adapter/heldout.json"), run.path("eval/more.json"))
    changed(run.path("eval/more.json"), "results", "more", {"acc,none": 1.0})
    assert shortcomings(run) == ["eval/more.json is of no evaluation of this run; remove it"]


def test_results_of_other_weights_are_refused(asking: ASKING) -> None:
    run = asking("evaluate=[preference]")
    path = Measured(run).preference()
    content = json.loads(path.read_text())
    content["notus"]["of"]["adapter"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"eval/preference/adapter/heldout.json: "):
        shortcomings(run)


def test_results_that_were_changed_are_evaluated_again(asking: ASKING) -> None:
    run = asking("evaluate=[preference]", "sample_answers=0", "floors={preference/heldout/accuracy: 1.1}")
    with run.locked():
        run.bring((evaluation("preference"),), Reporter(quiet=True))
    [line] = shortcomings(run)
    assert "and the recipe asks for 1.1" in line
    path = run.path("eval", "preference", "adapter", "heldout.json")
    content = json.loads(path.read_text())
    content["results"]["heldout"]["accuracy,none"] = 1.2  # what one would write who wants it released
    path.write_text(json.dumps(content))
    assert shortcomings(run) == [
        "evaluate-preference is not of this run and recipe as they are now; evaluate again"
    ]


def test_the_gate_says_what_is_missing(asking: ASKING, cli: Cli, tiny: Path) -> None:
    run = asking("evaluate=[leaderboard]")
    ended: Outcome = cli(
        "release", tiny / "tiny.yaml", "--run", run.folder, "--tag", "v0.1.0", "--dry-run",
        "--set", "evaluate=[leaderboard]", "--hub-root", run.folder.parent / "hub",
    )  # fmt: skip
    assert "leaderboard not evaluated" in ended.mistake
    row = next(line for line in ended.out.splitlines() if line.startswith("evaluated"))
    assert row.split()[1] == "no"
