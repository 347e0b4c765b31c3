"""Results that Notus wrote itself: told by their sha256, read with all that they say, refused if they are others'."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelcard.facts.evaluation import Evaluation, read_evaluation
from modelcard.facts.scores import By, Dataset, Judge, Score
from recipe.errors import UserError
from recipe.evaluate.published import LEADERBOARD
from recipe.run import Run
from tests.modelcard import lm_eval
from tests.modelcard.conftest import Put
from tests.modelcard.measured import COMMIT, Measured, everything
from tests.modelcard.measured import LEADERBOARD as PUT

AVERAGE = pytest.approx((0.6425 + 0.8461 + 0.6281 + 0.5437 + 0.7901 + 0.3457 + 0.0894) / 7)


def evaluation(run: Run) -> Evaluation:
    found = read_evaluation(run)
    assert found is not None
    return found


def one(run: Run, task: str, metric: str, weights: str = "adapter", by: str = "none") -> Score:
    asked = (task, metric, weights, by)
    (found,) = (
        score
        for score in evaluation(run).scores
        if (score.task, score.metric, score.weights, score.filter) == asked
    )
    return found


def changed(path: Path, **about: Any) -> None:
    content = json.loads(path.read_text())
    content["notus"] |= about
    path.write_text(json.dumps(content))


def test_a_figure_says_where_it_comes_from(put: Put) -> None:
    run = put()
    everything(run)
    arc = one(run, "arc_challenge", "acc_norm")
    assert (arc.value, arc.stderr, arc.samples, arc.shots, arc.version) == (0.6425, 0.014, 1172, 25, "1")
    assert (arc.suite, arc.weights, arc.limit) == ("leaderboard", "adapter", None)
    assert arc.dataset == Dataset("allenai/ai2_arc", "ARC-Challenge", "test", COMMIT)
    assert arc.origin.by == By(
        "lm-evaluation-harness", "0.4.13", "https://github.com/EleutherAI/lm-evaluation-harness"
    )
    assert one(run, "arc_challenge", "acc_norm", "base").value == pytest.approx(0.6305)
    accuracy = one(run, "heldout", "accuracy")
    assert (accuracy.interval, accuracy.samples, accuracy.stderr) == ((0.7344, 0.9219), 64, None)
    assert not accuracy.dataset.on_the_hub
    won = one(run, "alpaca_eval", "win_rate")
    assert (won.suite, won.value, won.stderr, won.samples) == ("chat", 88.31, 1.12, 802)
    assert won.origin.judge == Judge(
        "gpt-4", "api.openai.com", "alpaca_eval_gpt4", "2026-03-02", "2026-03-03", 3, ("gpt-4-0613",)
    )


def test_a_group_has_what_is_alike_of_its_parts(put: Put) -> None:
    run = put()
    Measured(run).leaderboard()
    mmlu = one(run, "mmlu", "acc")
    assert mmlu.dataset == Dataset("cais/mmlu", None, "test", COMMIT)
    assert mmlu.samples == 14042
    assert {"mmlu_anatomy", "cais/mmlu"} <= set(mmlu.holds)


def test_what_lies_beside_figures_is_read(put: Put) -> None:
    run = put()
    everything(run)
    found = {
        (about.origin.suite, about.origin.weights): about
        for about in evaluation(run).details
        if about.heldout
    }
    ours, base = found["preference", "adapter"], found["preference", "base"]
    assert ours.heldout is not None
    assert base.heldout is not None
    assert (ours.heldout.pairs, ours.heldout.chosen_longer) == (64, 0.625)
    assert [one.source for one in ours.heldout.by_source] == ["flan_v2|cot", "sharegpt"]
    assert ours.heldout.shorter is not None
    assert ours.heldout.shorter.pairs == 24
    assert len(ours.samples) == 8
    assert ours.samples[1].base == "</details>\n# No 1"
    assert (base.samples, base.heldout.by_source) == ((), ())
    (bench,) = (
        about for about in evaluation(run).details if about.categories and about.origin.weights == "adapter"
    )
    assert [category.name for category in bench.categories][:2] == ["writing", "roleplay"]


def test_details_that_are_not_whole_name_what_is_missing(put: Put) -> None:
    run = put()
    path = Measured(run).preference()
    changed(path, details={"pairs": 64})
    with pytest.raises(
        UserError, match=r"^eval/preference/adapter/heldout\.json: its `details` has no chosen_longer"
    ):
        read_evaluation(run)


# The leaderboard's average


def test_seven_figures_of_the_same_weights_have_an_average(put: Put) -> None:
    run = put()
    Measured(run).leaderboard()
    average = one(run, "open_llm_leaderboard", "average")
    assert average.value == AVERAGE
    errors = (0.014, 0.0036, 0.0039, 0.0152, 0.0114, 0.0131, 0.0014)
    assert average.stderr == pytest.approx(sum(error**2 for error in errors) ** 0.5 / 7)
    assert (average.suite, average.weights, average.limit) == ("leaderboard", "adapter", None)
    assert "truthfulqa/truthful_qa" in average.holds


@pytest.mark.parametrize("task", list(PUT))
def test_without_one_of_the_seven_there_is_no_average(put: Put, task: str) -> None:
    run = put()
    Measured(run).leaderboard(without=(task,))
    Measured(run, "base").leaderboard()
    averages = [score.weights for score in evaluation(run).scores if score.task == "open_llm_leaderboard"]
    assert averages == ["base"]


def test_of_some_samples_or_other_shots_there_is_no_average(put: Put) -> None:
    run = put()
    Measured(run, limit=10).leaderboard()
    assert {score.limit for score in evaluation(run).scores} == {10}
    assert not [score for score in evaluation(run).scores if score.task == "open_llm_leaderboard"]
    paths = Measured(run).leaderboard()
    assert one(run, "open_llm_leaderboard", "average")
    content = json.loads(paths[0].read_text())
    content["n-shot"]["arc_challenge"] = 0
    paths[0].write_text(json.dumps(content))
    assert not [score for score in evaluation(run).scores if score.task == "open_llm_leaderboard"]


def test_of_fewer_rows_than_the_benchmark_has_there_is_no_average(put: Put) -> None:
    """Few local rows of one's own go by the benchmark's name, and are not it."""
    run = put()
    arc, *_ = Measured(run).leaderboard()
    content = json.loads(arc.read_text())
    for rows, averages in ((1172, 1), (6, 0)):
        content["n-samples"]["arc_challenge"] = {"original": rows, "effective": rows}
        arc.write_text(json.dumps(content))
        found = [score for score in evaluation(run).scores if score.task == "open_llm_leaderboard"]
        assert len(found) == averages


def test_figures_of_2023_have_an_average_too(put: Put) -> None:
    content = lm_eval.of_2023()
    shots = {"arc_challenge": 25, "hellaswag": 10, "winogrande": 5, "gsm8k": 5, "drop": 3, "truthfulqa_mc": 0}
    subjects = {f"hendrycksTest-{number}": {"acc": number / 100} for number in range(57)}
    content["results"] = subjects | {
        "arc_challenge": {"acc_norm": 0.6}, "hellaswag": {"acc_norm": 0.6}, "winogrande": {"acc": 0.6},
        "gsm8k": {"acc": 0.6}, "drop": {"f1": 0.6}, "truthfulqa_mc": {"mc2": 0.6},
    }  # fmt: skip
    content["n-shot"] = shots
    average = one(put(old=content), "open_llm_leaderboard", "average")
    assert average.value == pytest.approx((6 * 0.6 + 0.28) / 7)
    assert (average.suite, average.stderr) == (None, None)
    del content["results"]["hendrycksTest-3"]
    assert not [
        score for score in evaluation(put(old=content)).scores if score.task == "open_llm_leaderboard"
    ]


def test_the_leaderboard_s_seven_are_the_published_ones() -> None:
    from modelcard.facts.original import FILE

    named = [name for name, *_ in json.loads(FILE.read_text())["full"]["benchmarks"]]
    assert [benchmark.name for benchmark in LEADERBOARD] == named[1:8]


# Whose


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"of": {"base": "0" * 64, "adapter": "0" * 64}}, "of other weights than this run's; measure again"),
        ({"weights": "merged"}, "of other weights than this run's; measure again"),
        ({"science": "0" * 64, "recipe": "another"}, "of the recipe another with another science than this"),
        (
            {"format": "notus-evaluation-9"},
            "format notus-evaluation-9, and not notus-evaluation-1: another Notus",
        ),
        ({"by": {}}, "its `notus`'s by has no name; measure again"),
    ],
)
def test_results_of_another_model_or_recipe_are_refused(put: Put, about: dict[str, Any], said: str) -> None:
    run = put()
    path, *_ = Measured(run).leaderboard()
    changed(path, **about)
    with pytest.raises(UserError, match=r"^eval/leaderboard/adapter/arc_challenge\.json: ") as refused:
        read_evaluation(run)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_names_don_t_matter_where_sha256s_tell(put: Put) -> None:
    """A recipe may be renamed, and its repositories: the weights are what they were."""
    run = put()
    path, *_ = Measured(run).leaderboard()
    content = json.loads(path.read_text())
    content["config"]["model_args"] = "pretrained=someone/else"
    content["date"] = 1.0
    path.write_text(json.dumps(content))
    assert one(run, "arc_challenge", "acc_norm").value == 0.6425


def test_what_lies_beside_results_is_none(put: Put) -> None:
    run = put()
    path, *_ = Measured(run).leaderboard()
    path.with_name("answers.jsonl").write_text("not even JSON")
    assert one(run, "arc_challenge", "acc_norm")
