"""What a release asks of a model's evaluation: suites that are there, of these weights, and figures not too low."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from publish.evaluated import shortcomings
from recipe.errors import UserError
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


def test_a_recipe_that_asks_for_nothing(asking: ASKING) -> None:
    assert shortcomings(asking("evaluate=[]", "floors={}")) == []


def test_a_suite_that_is_missing_is_named(asking: ASKING) -> None:
    keys = ("evaluate=[preference, leaderboard]", "floors={chat/mt_bench/score: 5}")
    run = asking(*keys)
    missing = "not evaluated; `notus evaluate` does, or `notus evaluate import`"
    assert shortcomings(run) == [f"{suite} {missing}" for suite in ("preference", "leaderboard", "chat")]
    Measured(run, "base").leaderboard()  # the base's figures are not the model's
    Measured(run).chat()
    assert shortcomings(run) == [f"{suite} {missing}" for suite in ("preference", "leaderboard")]
    Measured(run, "merged").leaderboard()
    Measured(run).preference()
    assert shortcomings(run) == []


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
    found = shortcomings(run)
    if said is None:
        assert found == []
    else:
        [line] = found
        assert line.startswith(floor.split(": ", maxsplit=1)[0].strip("'"))
        assert said in line


def test_a_floor_under_the_base_needs_the_base(asking: ASKING) -> None:
    run = asking("floors={leaderboard/mmlu/acc: {under_base: 0.01}}")
    Measured(run).leaderboard()
    [line] = shortcomings(run)
    assert line.startswith("leaderboard/mmlu/acc: of the base no such figure")
    assert "`notus evaluate --against base`" in line


@pytest.mark.parametrize(
    ("floor", "said"), [("0.52", None), ("0.5", "is 0.5123, and the recipe asks for at most 0.5")]
)
def test_a_loss_is_not_to_be_above_it(asking: ASKING, floor: str, said: str | None) -> None:
    run = asking(f"floors={{preference/heldout/loss: {floor}}}")
    Measured(run).preference()
    assert shortcomings(run) == ([f"preference/heldout/loss {said}"] if said else [])


def test_some_samples_are_not_enough(asking: ASKING) -> None:
    run = asking("floors={leaderboard/mmlu/acc: 0.1}")
    Measured(run, limit=20).leaderboard()
    assert shortcomings(run) == [
        "leaderboard/mmlu/acc: measured on 20 samples only; evaluate without a limit"
    ]


def test_other_examples_in_the_prompt_are_not_the_leaderboards(asking: ASKING) -> None:
    run = asking("floors={leaderboard/hellaswag/acc_norm: 0.1}")
    path = next(path for path in Measured(run).leaderboard() if path.stem == "hellaswag")
    assert shortcomings(run) == []
    content = json.loads(path.read_text())
    content["n-shot"]["hellaswag"] = 0
    path.write_text(json.dumps(content))
    assert shortcomings(run) == [
        "leaderboard/hellaswag/acc_norm: measured with 0 examples in the prompt, and the leaderboard has 10; evaluate "
        "as it does"
    ]


def test_results_of_other_weights_are_refused(asking: ASKING) -> None:
    run = asking("evaluate=[preference]")
    path = Measured(run).preference()
    content = json.loads(path.read_text())
    content["notus"]["of"]["adapter"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"eval/preference/adapter/heldout.json: "):
        shortcomings(run)


def test_results_that_were_changed_are_evaluated_again(asking: ASKING) -> None:
    from recipe.evaluate.stage import evaluation

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
