"""Results of lm-evaluation-harness, of today and of 2023: read as they are, and refused if they are another model's."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelcard.card import render
from modelcard.facts import read_facts
from modelcard.facts.evaluation import Evaluation, read_evaluation
from publish.localhub.card_check import check_card
from recipe.errors import UserError
from recipe.run import Run
from tests.modelcard import lm_eval
from tests.modelcard.conftest import Put


def evaluation(run: Run) -> Evaluation:
    found = read_evaluation(run)
    assert found is not None
    return found


def test_a_folder_of_the_models_name_is_looked_into(put: Put) -> None:
    """Where lm-eval itself writes: `--output_path eval` makes `eval/MODEL/results_TIME.json`."""
    run = put(today=lm_eval.today())
    run.path("eval", "notus__tiny-adapter").mkdir()
    flat = evaluation(run)
    run.path("eval", "today.json").rename(run.path("eval", "notus__tiny-adapter", "results_today.json"))
    assert len(evaluation(run).scores) == len(flat.scores)


def figures(run: Run) -> dict[tuple[str, str, str], tuple[float, float | None, int | None, str | None]]:
    return {
        (score.task, score.metric, score.filter): (score.value, score.stderr, score.shots, score.version)
        for score in evaluation(run).scores
    }


def test_a_run_without_results_has_none(put: Put) -> None:
    assert read_evaluation(put()) is None


def test_results_of_today(put: Put) -> None:
    assert figures(put(today=lm_eval.today())) == {
        ("arc_challenge", "acc", "none"): (0.6126, 0.0142, 25, "1"),
        ("arc_challenge", "acc_norm", "none"): (0.6459, 0.014, 25, "1"),
        ("gsm8k", "exact_match", "strict-match"): (0.1516, 0.0099, 5, "3"),
        ("gsm8k", "exact_match", "flexible-extract"): (0.18, None, 5, "3"),
        ("mmlu", "acc", "none"): (0.6303, 0.0039, 5, "2"),  # and none of its parts
        ("truthfulqa_mc2", "acc", "none"): (0.5437, 0.0152, 0, "3"),
        ("wikitext", "word_perplexity", "none"): (12.25, None, None, "2"),
    }


def test_a_group_without_a_figure_of_its_own_shows_its_parts(put: Put) -> None:
    content = lm_eval.today()
    content["results"]["mmlu"] = {"alias": "mmlu", " ": " "}
    names = {task for task, *_ in figures(put(today=content))}
    assert {"mmlu_humanities", "mmlu_stem"} <= names
    assert not {"mmlu", "mmlu_world_religions", "mmlu_astronomy"} & names


def test_results_of_2023(put: Put) -> None:
    run = put(old=lm_eval.of_2023())
    found = figures(run)
    value, *others = found["hendrycksTest", "acc", "none"]
    assert value == pytest.approx(0.45)
    assert others == [None, 5, "1"]
    assert found["truthfulqa_mc", "mc2", "none"] == (0.5437, 0.0152, 5, "1")
    assert len(found) == 4  # two metrics each
    assert {score.parts for score in evaluation(run).scores if score.task == "hendrycksTest"} == {2}
    card = render(read_facts(run), "merged")
    assert "| MMLU (mean of 2 parts) | 5 | acc | 45.00 |" in card
    assert "on the adapters over their base" in card


def test_the_card_has_a_table_and_the_metadata_an_index(put: Put) -> None:
    run = put(today=lm_eval.today())
    for kind in ("adapter", "merged"):
        card = render(read_facts(run), kind)
        assert check_card(card).errors == []
        for line in (
            "| ARC | 25 | acc_norm | 64.59\u00a0±\u00a01.40 |",
            "| GSM8K | 5 | exact_match, flexible-extract | 18.00 |",
            "| wikitext | - | word_perplexity (as it is, lower is better) | 12.2500 |",
            "lm-evaluation-harness) 0123abc",
            "> **TruthfulQA:** ",
        ):
            assert line in card, line
        assert "world_religions" not in card
        assert ("on the merged weights" in card) == (kind == "adapter")
        assert "samples of each task only" not in card
        index = yaml.safe_load(card.split("---\n")[1])["model-index"]
        assert index[0]["name"] == "Notus Smoke (LoRA adapters)"
        arc, mmlu, _, gsm8k, *_ = index[0]["results"]
        assert arc["dataset"] == {
            "type": "allenai/ai2_arc", "name": "ARC (challenge)", "config": "ARC-Challenge", "split": "test",
        }  # fmt: skip
        assert arc["metrics"][1] == {
            "type": "acc_norm", "value": 0.6459, "name": "arc_challenge: acc_norm",
            "args": {"num_few_shot": 25, "task": "arc_challenge", "version": "1", "samples": 1172, "stderr": 0.014}
            | ({"weights": "merged"} if kind == "adapter" else {}),
        }  # fmt: skip
        assert [metric["value"] for metric in gsm8k["metrics"]] == [0.1516, 0.18]
        assert mmlu["dataset"]["type"] == "cais/mmlu"
        assert "config" not in mmlu["dataset"]  # its parts have one each


def test_where_truthfulqa_was_not_measured_there_is_no_note(put: Put) -> None:
    content = lm_eval.today()
    del content["results"]["truthfulqa_mc2"]
    assert "TruthfulQA" not in render(read_facts(put(today=content)), "adapter")


def test_a_mean_that_truthfulqa_is_a_part_of_has_the_note(put: Put) -> None:
    content = lm_eval.today()
    content["results"] = {"leaders": {"alias": "leaders", "acc,none": 0.6}}
    content["group_subtasks"] = {"leaders": ["arc_challenge", "tqa"]}
    content["configs"]["tqa"] = content["configs"]["truthfulqa_mc2"]
    assert "> **TruthfulQA:** " in render(read_facts(put(today=content)), "merged")
    content["group_subtasks"]["leaders"].remove("tqa")
    assert "TruthfulQA" not in render(read_facts(put(today=content)), "merged")


def test_each_repository_shows_its_own_weights_figures_first(put: Put) -> None:
    of_adapter = lm_eval.today()
    of_adapter["results"] = {"gsm8k": {"exact_match,strict-match": 0.2}}
    of_adapter["config"]["model_args"] = {"pretrained": "notus/tiny-base", "peft": "notus/tiny-adapter"}
    facts = read_facts(put(a=of_adapter, m=lm_eval.today()))
    assert "| 20.00 |" in render(facts, "adapter")
    assert "15.16" not in render(facts, "adapter")
    assert "15.16" in render(facts, "merged")


def test_results_of_some_samples_only_are_called_so(put: Put) -> None:
    content = lm_eval.today()
    content["config"]["limit"] = 100.0
    card = render(read_facts(put(today=content)), "merged")
    assert "`mmlu` (100), " in card
    assert "took the first samples of each task only" in card
    index = yaml.safe_load(card.split("---\n")[1])["model-index"]
    limits = [one["args"]["limit"] for result in index[0]["results"] for one in result["metrics"]]
    assert set(limits) == {100.0}


@pytest.mark.parametrize(
    ("arguments", "weights"),
    [
        ("pretrained=notus/tiny,dtype=float32", "merged"),
        ("pretrained=notus/tiny-base,peft=notus/tiny-adapter", "adapter"),
        ({"pretrained": "notus/tiny"}, "merged"),
        ("pretrained=RUN/merged", "merged"),
        ("pretrained=RUN/inputs/base,peft=RUN/adapter/", "adapter"),
        ("pretrained=/work/runs/run/merged", "merged"),  # as a container saw it
    ],
)
def test_results_of_this_run_s_weights_are_taken(put: Put, arguments: Any, weights: str) -> None:
    content, run = lm_eval.today(), put()
    if isinstance(arguments, str):
        arguments = arguments.replace("RUN", str(run.folder))
    content["config"]["model_args"] = arguments
    content["model_name"] = "notus/tiny-base" if weights == "adapter" else "notus/tiny"
    assert {score.weights for score in evaluation(put(today=content)).scores} == {weights}


@pytest.mark.parametrize(
    "arguments",
    [
        "pretrained=HuggingFaceH4/zephyr-7b-beta",
        "pretrained=notus/tiny-base",  # its base alone
        "pretrained=/elsewhere/merged",
        "pretrained=notus/tiny,peft=someone/adapter",
        {"pretrained": "notus/tiny-adapter-2"},
        "",
    ],
)
def test_results_of_another_model_are_refused_with_the_file_s_name(put: Put, arguments: Any) -> None:
    content = lm_eval.today()
    content["config"]["model_args"] = arguments
    content["model_name"] = None
    with pytest.raises(UserError, match=r"^eval/today\.json: .*not of this run's model") as refused:
        read_evaluation(put(today=content))
    assert "\n" not in str(refused.value)


def test_adapters_over_another_base_are_another_model(put: Put, tmp_path: Path) -> None:
    content, run = lm_eval.today(), put()
    inputs = json.loads(run.path("inputs", "inputs.json").read_text())
    run.path("inputs").unlink()  # a link to the run's own
    run.path("inputs").mkdir()
    inputs["base"] |= {"source": "hub", "name": "notus/Tiny-Base"}
    run.path("inputs", "inputs.json").write_text(json.dumps(inputs))
    content["config"]["model_args"] = "pretrained=notus/tiny-base,peft=notus/tiny-adapter"
    assert evaluation(put(today=content)).scores
    content["config"]["model_args"] = "pretrained=/models/tiny-base,peft=notus/tiny-adapter"
    assert evaluation(put(today=content)).scores
    content["config"]["model_args"] = "pretrained=someone/tiny-base,peft=notus/tiny-adapter"
    with pytest.raises(UserError, match=r"^eval/today\.json: of the adapters over someone/tiny-base, "):
        read_evaluation(put(today=content))


def test_figures_from_before_the_training_are_not_of_these_weights(put: Put) -> None:
    content, run = lm_eval.today(), put()
    train = run.done("train")
    assert train is not None
    began = datetime.strptime(train["started"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
    content["date"] = began + train["seconds"] + 1
    assert evaluation(put(today=content)).scores
    content["date"] = began
    with pytest.raises(UserError, match=r"^eval/today\.json: older than this run's weights"):
        read_evaluation(put(today=content))


@pytest.mark.parametrize("text", ["{", "[]", '{"results": []}', '{"results": {"arc": 1}}', "{}"])
def test_what_is_no_result_file_is_refused(put: Put, text: str) -> None:
    with pytest.raises(UserError, match=r"^eval/bad\.json: "):
        read_evaluation(put(bad=text))


def test_a_figure_that_is_none_is_refused(put: Put) -> None:
    content = lm_eval.today()
    content["results"]["mmlu"]["acc,none"] = float("nan")
    with pytest.raises(UserError, match=r"^eval/today\.json: acc,none of mmlu is nan"):
        read_evaluation(put(today=content))


def test_two_files_must_not_contradict_each_other(put: Put) -> None:
    other = lm_eval.today()
    assert len(evaluation(put(a=lm_eval.today(), b=other)).scores) == 7
    other["results"]["mmlu"]["acc,none"] = 0.9
    with pytest.raises(UserError, match=r"^eval/b\.json: another acc of mmlu than in eval/a\.json"):
        read_evaluation(put(b=other))
