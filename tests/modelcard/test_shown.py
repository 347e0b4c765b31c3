"""The evaluation on the card: each figure of its artifact, beside its base's and published ones, and no other."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from modelcard.card import render
from modelcard.contamination import contamination_note
from modelcard.evaluation.measured import measured
from modelcard.evaluation.pairs import CHARACTERS, COLUMNS, SAMPLES, SOURCES, cut
from modelcard.facts import Facts, read_facts
from modelcard.facts.base import Base
from modelcard.facts.data import Data, Overlap
from modelcard.facts.original import published_beside
from modelcard.metadata import Kind
from modelcard.preview import as_page
from publish.localhub.card_check import check_card
from recipe.evaluate.imports import import_files
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run
from tests.modelcard import lm_eval
from tests.modelcard.conftest import Put
from tests.modelcard.full_size import full_size
from tests.modelcard.measured import COMMIT, LEADERBOARD, Measured, everything

BOTH: list[Kind] = ["adapter", "merged"]


def section(card: str, name: str, to: str = "###") -> str:
    """Return what stands below a heading, its spaces plain."""
    return card.partition(f"\n### {name}\n")[2].partition(f"\n{to} ")[0].replace("\u00a0", " ")


def evaluated(put: Put, *parts: Callable[[Measured], object], **options: Any) -> Run:
    run = put()
    for part in parts:
        part(Measured(run, **options))
    return run


def front(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


# Tables


def test_the_leaderboard_stands_beside_base_and_published_figures(put: Put) -> None:
    run = put()
    everything(run)
    said = section(render(full_size(read_facts(run)), "adapter"), "Open LLM Leaderboard")
    for line in (
        "| benchmark | shots | metric | this model | its base | notus-7b-v1 | zephyr-7b-beta |",
        "| **Average of the seven** |  |  | **55.51 ± 0.39** | **54.31 ± 0.39** | **52.89** | **52.15** |",
        "| ARC | 25 | acc_norm | 64.25 ± 1.40 | 63.05 ± 1.40 | 64.59 | 62.03 |",
        "| GSM8K | 5 | exact_match, strict-match | 34.57 ± 1.31 | 33.37 ± 1.31 | 15.16 | 12.74 |",
        "| ARC (challenge) | 25 | acc | 61.26 ± 1.42 | 60.06 ± 1.42 |",  # folded away
        "`arc_challenge` 1, `hellaswag` 1, `mmlu` 2",
        "None of them is this model's.",
        "MMLU is the mean over its questions now where it was the mean over its subjects",
        f"- `arc_challenge`: `allenai/ai2_arc` (ARC-Challenge), test, at `{COMMIT}`",
        "(https://github.com/EleutherAI/lm-evaluation-harness) 0.4.13; in percent, ± one standard error.",
    ):
        assert line in said, line
    assert (
        said.index("Average of the seven") < said.index("ARC") < said.index("DROP") < said.index("<details>")
    )


def test_a_model_of_another_kind_does_not_stand_beside_zephyr(put: Put) -> None:
    run = put()
    everything(run)
    for kind in BOTH:
        card = render(read_facts(run), kind)
        for word in ("zephyr-7b", "notus-7b", "Argilla", "as published"):
            assert word not in card, word
        assert "| ARC | 25 | acc_norm | 64.25 ± 1.40 | 63.05 ± 1.40 |" in card.replace("\u00a0", " ")


def test_whose_figures_are_beside_published_ones() -> None:
    tiny = Base("a/b", "c", "hub", 700_000, "float32", "mistral", {})
    seven = replace(tiny, parameters=7_241_732_096)
    other = load_recipe("notus-7b-v1-lora", ["seed=1"])
    for recipe in (load_recipe("notus-7b-v1-lora"), load_recipe("zephyr-7b-beta-lora")):
        assert published_beside(recipe, tiny)
    assert published_beside(other, tiny) is None
    assert published_beside(other, seven)
    assert published_beside(other, replace(seven, model_type="llama")) is None
    assert published_beside(other, replace(seven, parameters=12_000_000_000)) is None


def test_what_is_not_measured_stands_as_published_where_the_original_is_repeated(put: Put) -> None:
    run = evaluated(put, lambda one: one.leaderboard(without=("drop",)))
    card = render(full_size(read_facts(run)), "adapter")
    rest = section(card, "Published figures", "##")
    assert "none of these figures is this model's" in rest
    assert re.findall(r"^\| ([\w-]+)", rest, re.MULTILINE) == [
        "benchmark",
        "Open",
        "DROP",
        "AlpacaEval",
        "MT-Bench",
    ]
    everything(run)
    assert "### Published figures" not in render(full_size(read_facts(run)), "adapter")


def test_figures_of_other_shots_have_no_published_ones_beside_them(put: Put) -> None:
    run = put()
    arc, *_ = Measured(run).leaderboard()
    content = json.loads(arc.read_text())
    content["n-shot"]["arc_challenge"] = 0
    arc.write_text(json.dumps(content))
    said = section(render(full_size(read_facts(run)), "adapter"), "Open LLM Leaderboard")
    assert "| ARC | 0 | acc_norm | 64.25 ± 1.40 | - | - |" in said
    assert "Average" not in said


def test_figures_of_few_local_rows_say_so_and_have_no_published_ones_beside_them(put: Put) -> None:
    run = put()
    arc, *_ = Measured(run).leaderboard()
    alpaca, _ = Measured(run).chat()
    content = json.loads(arc.read_text())
    content["n-samples"]["arc_challenge"] = {"original": 6, "effective": 6}
    content["notus"]["data"]["arc_challenge"]["path"] = "local:rows.jsonl"
    arc.write_text(json.dumps(content))
    content = json.loads(alpaca.read_text())
    content["n-samples"]["alpaca_eval"]["effective"] = 20
    alpaca.write_text(json.dumps(content))
    card = render(full_size(read_facts(run)), "adapter")
    said = section(card, "Open LLM Leaderboard")
    assert "| ARC (challenge) (6 local rows) | 25 | acc_norm | 64.25 ± 1.40 | - | - |" in said
    assert "| ARC (challenge) (6 local rows) | 25 | acc | 61.26 ± 1.42 |" in said
    assert "Average" not in said
    assert "| AlpacaEval, 20 answers | win rate, % | 88.31 ± 1.12 | - | - |" in section(card, "Chat")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("versions", {"arc_challenge": 2}),
        ("chat_template", "{{ messages }}"),
        ("n-samples", {"arc_challenge": {"original": 6, "effective": 6}}),
        ("notus", {"data": {"arc_challenge": {"path": "allenai/ai2_arc", "revision": "f" * 40}}}),
    ],
)
def test_a_base_that_was_measured_otherwise_is_not_beside_it(put: Put, part: str, value: Any) -> None:
    run = put()
    everything(run)
    path = run.path("eval", "leaderboard", "base", "arc_challenge.json")
    content = json.loads(path.read_text())
    content[part] = content[part] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(content))
    said = section(render(read_facts(run), "adapter"), "Open LLM Leaderboard")
    assert "| ARC | 25 | acc_norm | 64.25 ± 1.40 | - |" in said
    assert "| HellaSwag | 10 | acc_norm | 84.61 ± 0.36 | 83.41 ± 0.36 |" in said
    assert "| **Average of the seven** |  |  | **55.51 ± 0.39** | **-** |" in said


def test_a_base_that_another_judge_judged_is_not_beside_it(put: Put) -> None:
    run = put()
    everything(run)
    path = run.path("eval", "chat", "base", "alpaca_eval.json")
    content = json.loads(path.read_text())
    content["notus"]["judge"]["model"] = "gpt-5"
    path.write_text(json.dumps(content))
    said = section(render(read_facts(run), "adapter"), "Chat")
    assert "| AlpacaEval, 802 answers | win rate, % | 88.31 ± 1.12 | - |" in said
    assert "| MT-Bench, 80 questions | score, 1 to 10 | 7.06 | 6.94 |" in said


def test_chat_names_its_judges(put: Put) -> None:
    run = put()
    everything(run)
    said = section(render(full_size(read_facts(run)), "adapter"), "Chat")
    for line in (
        "| AlpacaEval, 802 answers | win rate, % | 88.31 ± 1.12 | 87.11 ± 1.12 | 91.42 | 90.60 |",
        "AlpacaEval's win rate is that over the answers of `text_davinci_003`.",
        "| MT-Bench, 80 questions | score, 1 to 10 | 7.06 | 6.94 | 7.30 | 7.34 |",
        "| MT-Bench | second turn | 6.86 | 6.74 | - | - |",
        "AlpacaEval by `gpt-4` (which answered as `gpt-4-0613`) at `api.openai.com` by the annotator "
        "`alpaca_eval_gpt4`, 2026-03-02 to 2026-03-03, 3 judgements without a verdict; MT-Bench by `gpt-4` (which",
        "Judges drift",
        "by the judge of 2023 (AlpacaEval: 804 prompts, standard error 0.99)",
        "\n\n| MT-Bench by category | questions | this model | its base |\n",
        "| math | 10 | 6.81 | 6.69 |",
    ):
        assert line in said, line
    alone = section(render(read_facts(run), "adapter"), "Chat")
    assert "| AlpacaEval, 802 answers | win rate, % | 88.31 ± 1.12 | 87.11 ± 1.12 |\n" in alone
    assert "as published" not in alone


def test_alpaca_eval_2_does_not_stand_beside_alpaca_eval(put: Put) -> None:
    run = put()
    alpaca, _ = Measured(run).chat()
    content = json.loads(alpaca.read_text())
    content["notus"]["data"]["alpaca_eval"]["config"] = "alpaca_eval_gpt4_baseline"
    alpaca.write_text(json.dumps(content))
    card = render(full_size(read_facts(run)), "adapter")
    assert "| AlpacaEval, 802 answers | win rate, % | 88.31 ± 1.12 | - | - |" in section(card, "Chat")
    assert "| AlpacaEval (804 prompts, standard error 0.99) | 91.42 | 90.60 |" in card


def test_prompts_that_were_cut_are_counted(put: Put) -> None:
    run = evaluated(put, lambda one: one.leaderboard())
    assert "lost their beginning: `drop` (3 of 9,536)." in render(read_facts(run), "adapter")


def test_held_out_pairs_have_intervals_and_say_what_length_controlled_is(put: Put) -> None:
    run = evaluated(put, lambda one: one.preference())
    said = section(render(read_facts(run), "adapter"), "Held-out preferences", "##")
    for line in (
        "| 64 held-out pairs | this model |\n",
        "| reward accuracy | 0.828 [0.734, 0.922] |\n",
        "| loss | 0.512 [0.480, 0.540] |\n",
        "whose chosen answer is the longer one (40, 0.850) and of that on those whose chosen answer is the shorter one",
        "| flan_v2\\|cot | 40 | 0.800 [0.600, 0.950] | 0.400 [0.300, 0.500] |",
    ):
        assert line in said, line
    Measured(run, "base").preference()
    said = section(render(read_facts(run), "adapter"), "Held-out preferences", "##")
    assert "| reward accuracy | 0.828 [0.734, 0.922] | - |" in said  # the base has no rewards
    assert "| chosen answer is the likelier one | 0.550 [0.430, 0.670] | 0.550 [0.430, 0.670] |" in said


def test_pairs_that_all_agree_have_no_interval(put: Put) -> None:
    run = put()
    path = Measured(run).preference()
    content = json.loads(path.read_text())
    content["results"]["heldout"] |= {"accuracy,none": 1.0, "accuracy_stderr,none": 0.0}
    del content["notus"]["intervals"]["heldout"]["accuracy,none"]
    content["notus"]["details"]["by_source"][0]["accuracy"] = [1.0, None, None]
    content["notus"]["details"]["by_source"][0]["source"] = None
    path.write_text(json.dumps(content))
    said = section(render(read_facts(run), "adapter"), "Held-out preferences", "##")
    assert "| reward accuracy | 1.000 |\n" in said
    assert "| (none) | 40 | 1.000 | 0.400 [0.300, 0.500] |" in said


def test_of_many_sources_the_largest_are_shown_and_the_others_counted(put: Put) -> None:
    run = put()
    path = Measured(run).preference()
    content = json.loads(path.read_text())
    one = content["notus"]["details"]["by_source"][0]
    content["notus"]["details"]["by_source"] = [
        one | {"source": f"s{pairs}", "pairs": pairs} for pairs in range(1, SOURCES + 4)
    ]
    path.write_text(json.dumps(content))
    said = section(render(read_facts(run), "adapter"), "Held-out preferences", "##")
    assert f"\n| s{SOURCES + 3} | {SOURCES + 3} |" in said
    assert "| s4 |" in said
    assert "| s3 |" not in said
    assert "3 smaller sources are in the run's result file only." in said


def test_small_tasks_stand_beside_the_base(put: Put) -> None:
    run = evaluated(put, lambda one: one.smoke())
    Measured(run, "base").smoke(-0.0625)
    said = section(render(read_facts(run), "merged"), "Small tasks", "##")
    assert "| `smoke_reply` | 0 | acc | 56.25 ± 8.90 | 50.00 ± 8.90 |" in said
    assert "on the adapters over their base" in said
    assert "and little of how good a model is" in said


def test_what_was_measured_on_some_samples_says_so(put: Put) -> None:
    run = evaluated(put, lambda one: one.leaderboard(), lambda one: one.smoke(), limit=20)
    card = render(read_facts(run), "adapter")
    assert "**Not on whole benchmarks:** `arc_challenge` (20), " in section(card, "Open LLM Leaderboard")
    assert "`smoke_reply` (20)" in section(card, "Small tasks", "##")
    assert "Average of the seven" not in card


def test_a_repository_shows_the_other_weights_figures_by_section_only_where_it_has_none(put: Put) -> None:
    run = evaluated(put, lambda one: one.leaderboard())
    Measured(run, "merged").leaderboard(0.01)
    Measured(run, "merged").smoke()
    adapter, merged = (render(read_facts(run), kind) for kind in BOTH)
    assert "| 64.25\u00a0" in adapter
    assert "| 65.25\u00a0" not in adapter
    assert "| 65.25\u00a0" in merged
    assert "on the merged weights" in section(adapter, "Small tasks", "##")
    assert "on the " not in section(adapter, "Open LLM Leaderboard").partition("|")[0]


def test_figures_of_the_base_alone_are_on_no_card(put: Put) -> None:
    run = put()
    Measured(run, "base").leaderboard()
    card = render(read_facts(run), "adapter")
    assert "## Evaluation" not in card
    assert "model-index" not in front(card)


def test_imported_figures_say_what_they_were(put: Put) -> None:
    run = put()
    path, *_ = Measured(run).leaderboard()
    content = json.loads(path.read_text())
    content["notus"] |= {"imported": {"file": "results.json", "sha256": "ab", "was": "lm-eval of 2023"}}
    path.write_text(json.dumps(content))
    said = section(render(read_facts(run), "adapter"), "Open LLM Leaderboard")
    assert "0.4.13, imported from `results.json` (lm-eval of 2023); in percent" in said


def test_figures_of_2023_are_of_the_time_of_the_published_ones(put: Put) -> None:
    content = lm_eval.of_2023()
    said = section(render(full_size(read_facts(put(old=content))), "adapter"), "Open LLM Leaderboard")
    assert "measured by tasks of that time too (here `hendrycksTest` 1, `truthfulqa_mc` 1)." in said
    assert "Today's tasks" not in said


def test_what_the_leaderboard_of_2023_had_is_on_the_card_once_imported(put: Put, tmp_path: Path) -> None:
    run = put()
    figures = {
        "arc:challenge|25": {"acc_norm": 0.61}, "hellaswag|10": {"acc_norm": 0.62}, "truthfulqa:mc|0": {"mc2": 0.64},
        "winogrande|5": {"acc": 0.65}, "gsm8k|5": {"acc": 0.66}, "drop|3": {"f1": 0.67},
        **{f"hendrycksTest-{number}|5": {"acc": 0.63} for number in range(57)},
    }  # fmt: skip
    (tmp_path / "results.json").write_text(
        json.dumps(
            {
                "config_general": {"model_name": run.recipe.release.hub_merged_model_id},
                "results": {f"harness|{name}": found for name, found in figures.items()},
                "versions": {f"harness|{name}": 0 for name in figures},
            }
        )
    )
    import_files(run, [tmp_path / "results.json"], Reporter(quiet=True))
    said = section(render(full_size(read_facts(run)), "merged"), "Open LLM Leaderboard")
    for line in (
        "| **Average of the seven** |  |  | **64.00** | **52.89** | **52.15** |",
        "| ARC | 25 | acc_norm | 61.00 | 64.59 | 62.03 |",
        "| MMLU | 5 | acc | 63.00 | 63.03 | 61.07 |",
        "| TruthfulQA | 0 | mc2 | 64.00 | 54.37 | 57.45 |",
        "imported from `results.json` (Open LLM Leaderboard of 2023); in percent.",
        "measured by tasks of that time too (here `arc_challenge` 0, `hellaswag` 0, `hendrycksTest` 0,",
    ):
        assert line in said, line


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("full", [False, True])
def test_the_hub_accepts_it_and_the_page_is_well_made(put: Put, kind: Kind, full: bool) -> None:
    run = put()
    everything(run)
    facts = read_facts(run)
    card = render(full_size(facts) if full else facts, kind)
    findings = check_card(card)
    assert (findings.errors, findings.warnings) == ([], [])
    body = re.sub(r"^(`{3,}).*?^\1$", "CODE", card.split("---\n", 2)[2], flags=re.DOTALL | re.MULTILINE)
    assert "\n\n\n" not in body
    assert not re.search(r"[ \t]\n", body)
    assert not re.search(r"[^\n]\n#", body)
    for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table
        assert f"\n\n{table}\n" in body
    names = re.findall(r"^#+ (.*)$", body, re.MULTILINE)
    assert len(names) == len(set(names))
    for name in ("Evaluation", "Open LLM Leaderboard", "Chat", "Held-out preferences", "Small tasks"):
        assert name in names


# Answers side by side


def test_answers_stand_side_by_side_folded_away_and_can_t_break_out(put: Put) -> None:
    run = evaluated(put, lambda one: one.preference(samples=8))
    card = render(read_facts(run), "adapter")
    folded = card.partition("<details>\n<summary>What its base")[2]
    assert "to 3 held-out prompts</summary>\n\n" in folded
    assert f"**Prompt {SAMPLES}** (sharegpt)" in folded
    assert f"**Prompt {SAMPLES + 1}**" not in card
    assert (
        "````text\nQuestion 0?\n\n```\ncode\n```\n````\n\nIts base:\n\n```text\n</details>\n# No 0\n```\n"
        in folded
    )
    page = as_page(card, "")
    assert page.count("<details>") == page.count("\n</details>") == 1
    assert "<summary>What its base and this model answer" in page
    assert "&lt;/details&gt;\n# No 0" in page
    assert "<h1># No 0</h1>" not in page


def test_one_without_answers_has_none(put: Put) -> None:
    run = evaluated(put, lambda one: one.preference(samples=0))
    assert "held-out prompts</summary>" not in render(read_facts(run), "adapter")


def test_a_text_is_cut_and_wrapped() -> None:
    assert cut("") == "(nothing)"
    assert cut("a\r\nb\u2028c\n\n") == "a\nb\nc"
    assert cut("short", more=True) == "short [...]"
    assert cut("  indented\n\n    code") == "  indented\n\n    code"
    long = cut("word " * 400)
    assert long.endswith(" [...]")
    assert len(long) <= CHARACTERS + 10
    assert max(map(len, long.split("\n"))) <= COLUMNS
    assert max(map(len, cut("x" * 500).split("\n"))) <= COLUMNS
    assert cut("a\0b") == "a\ufffdb"


# Metadata


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("full", [False, True])
def test_the_index_survives_the_client(put: Put, kind: Kind, full: bool) -> None:
    run = put()
    everything(run)
    facts = read_facts(run)
    card = render(full_size(facts) if full else facts, kind)
    index = front(card)["model-index"]
    name, results = model_index_to_eval_results(index)
    assert eval_results_to_model_index(name, results) == index
    loaded = ModelCard(card).data
    assert isinstance(loaded, ModelCardData)
    assert loaded.eval_results == results
    shown = [result.metric_value for result in results]
    assert 0.6425 in shown
    assert not {0.6425 - 0.012, 87.11} & set(shown)  # the base's
    assert len(results) == len({(result.metric_name, result.dataset_type) for result in results})


def test_an_entry_says_what_was_measured_on_what(put: Put) -> None:
    run = put()
    everything(run)
    results = {
        result.metric_name: result
        for result in model_index_to_eval_results(
            front(render(full_size(read_facts(run)), "merged"))["model-index"]
        )[1]
    }
    arc = results["arc_challenge: acc_norm"]
    assert (arc.dataset_type, arc.dataset_config, arc.dataset_split, arc.dataset_revision) == (
        "allenai/ai2_arc", "ARC-Challenge", "test", COMMIT,
    )  # fmt: skip
    assert arc.metric_args == {
        "num_few_shot": 25, "task": "arc_challenge", "version": "1", "samples": 1172, "stderr": 0.014,
        "weights": "adapter",
    }  # fmt: skip
    assert arc.source_name == "lm-evaluation-harness"
    won = results["alpaca_eval: win_rate"]
    assert (won.dataset_type, won.metric_value, won.source_name) == (
        "tatsu-lab/alpaca_eval",
        88.31,
        "alpaca_eval",
    )
    assert won.metric_args is not None
    assert "num_few_shot" not in won.metric_args
    assert (won.metric_args["judge"], won.metric_args["judged"]) == ("gpt-4", "2026-03-03")
    bench = results["mt_bench: score"]
    assert (bench.dataset_type, bench.source_name) == ("mt_bench", "FastChat")
    accuracy = results["heldout: accuracy"]
    assert accuracy.metric_args is not None
    assert accuracy.metric_args["interval_95"] == [0.7344, 0.9219]
    assert (accuracy.dataset_name, accuracy.dataset_revision) == ("Held-out preference pairs", "sha256:cd")
    assert accuracy.source_name == "this run"
    assert accuracy.source_url is not None
    assert accuracy.source_url.endswith("/provenance.json")
    average = results["open_llm_leaderboard: average"]
    assert average.dataset_name == "Open LLM Leaderboard, average"


def test_tasks_of_one_data_set_share_an_entry_under_both_names(put: Put) -> None:
    run = put()
    paths = {path.stem: path for path in Measured(run).leaderboard()}
    content = json.loads(paths["truthfulqa_mc2"].read_text().replace("truthfulqa_mc2", "truthfulqa_mc1"))
    paths["truthfulqa_mc2"].with_name("truthfulqa_mc1.json").write_text(json.dumps(content))
    index = front(render(read_facts(run), "adapter"))["model-index"]
    (names,) = (
        one["dataset"]["name"]
        for one in index[0]["results"]
        if one["dataset"]["type"] == "truthfulqa/truthful_qa"
    )
    assert names == "TruthfulQA (several true answers) and TruthfulQA (one true answer)"
    name, results = model_index_to_eval_results(index)
    assert eval_results_to_model_index(name, results) == index


# Contamination


def noted(put: Put, facts_with: Callable[[Data], Data] = lambda data: data) -> str | None:
    run = put()
    everything(run)
    facts = read_facts(run)
    scores = [score for one in measured(facts.evaluation, "adapter").values() for score in one.ours]
    return contamination_note(facts_with(facts.data), scores)


def test_benchmarks_that_were_not_compared_are_named(put: Put) -> None:
    assert noted(put) == (
        "Not compared with the preference data: ARC (challenge), HellaSwag, MMLU, Winogrande, GSM8K, DROP, AlpacaEval "
        "and MT-Bench."
    )


def test_benchmarks_that_were_compared_have_their_counts(put: Put) -> None:
    overlaps = {
        "gsm8k_test.jsonl": Overlap(1319, 1, 2, 3),
        "bench/arc-challenge.csv:question": Overlap(1172, 4, 5, 6),
        "ARC-Easy.csv": Overlap(9, 9, 9, 9),
        "mmlu.parquet": Overlap(14042, 0, 0, 7),
        "mmlu_pro.parquet": Overlap(8, 8, 8, 8),
        "alpaca_eval.json": Overlap(805, 0, 0, 0),
        "dropped.txt": Overlap(7, 7, 7, 7),
        "TruthfulQA.csv": Overlap(817, 1, 1, 1),
    }
    said = noted(put, lambda data: replace(data, overlaps=overlaps, drop_contaminated="13-gram"))
    assert said is not None
    for line in (
        "GSM8K (`gsm8k_test.jsonl`, 1,319 texts): 1 prompt is equal to one, 2 more share 13 words in a row with one, "
        "3 more 8",
        "ARC (challenge) (`bench/arc-challenge.csv:question`, 1,172 texts): 4 prompts",
        "MMLU (`mmlu.parquet`, 14,042 texts): 0 prompts",
        "AlpacaEval (`alpaca_eval.json`, 805 texts)",
        "Those of the first two kinds were left out. Not compared with the preference data: HellaSwag, Winogrande, "
        "DROP and MT-Bench.",
    ):
        assert line in said, line
    for file in ("ARC-Easy", "mmlu_pro", "dropped", "TruthfulQA"):
        assert file not in said


def test_truthfulqa_has_its_note_wherever_it_is_and_others_theirs(put: Put) -> None:
    run = evaluated(put, lambda one: one.leaderboard(without=("truthfulqa_mc2",)))
    card = render(read_facts(run), "adapter")
    assert "TruthfulQA" not in card
    assert "> **Contamination:** Not compared with" in card
    Measured(run).leaderboard()
    card = render(read_facts(run), "adapter")
    assert "> **TruthfulQA:** " in card
    assert "> **Other benchmarks:** Not compared with" in card


def test_an_average_alone_that_truthfulqa_is_in_has_its_note(put: Put) -> None:
    run = evaluated(put, lambda one: one.leaderboard())
    facts = read_facts(run)
    assert facts.evaluation is not None
    only = tuple(score for score in facts.evaluation.scores if score.task == "open_llm_leaderboard")
    alone: Facts = replace(facts, evaluation=replace(facts.evaluation, scores=only))
    assert "> **TruthfulQA:** " in render(alone, "adapter")


def test_tasks_and_pairs_of_notus_s_own_need_no_note(put: Put) -> None:
    run = evaluated(put, lambda one: one.smoke(), lambda one: one.preference())
    card = render(read_facts(run), "adapter")
    assert "TruthfulQA" not in card
    assert "Contamination" not in card
    assert set(LEADERBOARD).isdisjoint(re.findall(r"\w+", card))
