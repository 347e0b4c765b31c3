"""`notus evaluate import`: results of others as they are, all or none, and refused where they are not this run's."""

import json
import math
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from modelcard.facts.evaluation import read_evaluation
from recipe.disk import file_sha256, read_json
from recipe.errors import UserError
from recipe.evaluate import imports
from recipe.evaluate.imports import import_files
from recipe.evaluate.result import write_result
from recipe.evaluate.subject import Weights
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run
from tests.modelcard.lm_eval import of_2023, today
from tests.recipe.evaluate.result_files import (
    LEADERBOARD_CSV,
    SUBJECTS,
    annotations,
    judgements,
    leaderboard_of_2023,
)
from tests.support import Cli

Import = Callable[..., dict[str, Any]]
QUIET = Reporter(quiet=True)


@pytest.fixture
def run(trained: Path, tiny: Path, tmp_path: Path) -> Run:
    """The trained run, without its results, in a folder that may be written to."""
    folder = tmp_path / "run"
    folder.mkdir()
    for path in trained.iterdir():
        if path.name != "eval" and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    return Run(folder, load_recipe(tiny / "tiny.yaml"))


@pytest.fixture
def bring(run: Run, tmp_path: Path) -> Import:
    """Write one file and import it; return the result file."""

    def one(
        content: Any, name: str = "found.json", *, weights: Weights | None = None, called: str | None = None
    ) -> dict[str, Any]:
        path = write(tmp_path / name, content)
        (told,) = import_files(run, [path], QUIET, weights=weights, called=called)["imported"]
        found: dict[str, Any] = read_json(run.path(told["place"]))
        assert found["notus"]["imported"] == {
            "file": name, "sha256": file_sha256(path), "was": told["was"],
        }  # fmt: skip
        return found

    return one


def write(path: Path, content: Any) -> Path:
    if isinstance(content, list) and path.suffix == ".jsonl":
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def nothing_in(run: Run) -> bool:
    left = [path for path in run.folder.iterdir() if not path.is_symlink()]
    return not left


# --- lm-eval


def test_results_of_today_stay_as_they_are(bring: Import, run: Run) -> None:
    content = today()
    found = bring(content)
    about = found["notus"]
    assert (about["suite"], about["weights"], about["limit"]) == ("leaderboard", "merged", None)
    assert about["by"]["version"] == "0123abc"
    assert about["of"].keys() == {"base", "merged"}
    for key in ("results", "group_subtasks", "versions", "n-shot", "n-samples", "higher_is_better", "date"):
        assert found[key] == content[key]
    assert found["config"]["model_args"] == "pretrained=notus/tiny,revision=v0.1.0,dtype=float32"
    evaluation = read_evaluation(run)
    assert evaluation is not None
    scores = {(score.task, score.metric, score.filter): score for score in evaluation.scores}
    assert scores["arc_challenge", "acc_norm", "none"].value == 0.6459
    assert scores["gsm8k", "exact_match", "flexible-extract"].stderr is None
    assert "mmlu_astronomy" not in {score.task for score in evaluation.scores}
    imported = scores["mmlu", "acc", "none"].origin.imported
    assert imported is not None
    assert imported.was == "lm-eval 0.4"


def test_groups_that_the_first_0_4_told_by_their_aliases_only(bring: Import, run: Run) -> None:
    content = today()
    for key in ("group_subtasks", "n-samples", "higher_is_better", "date"):
        del content[key]
    assert bring(content)["group_subtasks"] == {
        "mmlu": ["mmlu_humanities", "mmlu_stem"],
        "mmlu_humanities": ["mmlu_world_religions"],
        "mmlu_stem": ["mmlu_astronomy"],
    }
    evaluation = read_evaluation(run)
    assert evaluation is not None
    assert {score.task for score in evaluation.scores if score.task.startswith("mmlu")} == {"mmlu"}


def test_results_of_0_3_get_the_form_of_today(bring: Import) -> None:
    found = bring(of_2023())
    assert found["results"]["truthfulqa_mc"] == {
        "mc1,none": 0.38, "mc1_stderr,none": 0.017, "mc2,none": 0.5437, "mc2_stderr,none": 0.0152,
    }  # fmt: skip
    assert found["n-shot"]["truthfulqa_mc"] == 5
    assert "hendrycksTest" not in found["results"]  # two of the parts are no mean of MMLU
    assert found["notus"]["weights"] == "adapter"
    assert found["notus"]["imported"]["was"] == "lm-eval 0.3"
    assert "version" not in found["notus"]["by"]
    assert found["date"] is None


def test_the_leaderboard_of_2023(bring: Import, run: Run) -> None:
    found = bring(leaderboard_of_2023(), "results_2099-11-16T12-00-00.000000.json")
    assert found["results"]["arc_challenge"]["acc_norm,none"] == 0.6459
    assert found["results"]["truthfulqa_mc"]["mc2,none"] == 0.5437
    assert (
        found["n-shot"] | {"arc_challenge": 25, "gsm8k": 5, "drop": 3, "truthfulqa_mc": 0} == found["n-shot"]
    )
    assert found["versions"]["arc_challenge"] == 0
    mean = math.fsum(0.5 + place / 1000 for place in range(57)) / 57
    assert found["results"]["hendrycksTest"]["acc,none"] == pytest.approx(mean, rel=1e-15)
    assert len(found["group_subtasks"]["hendrycksTest"]) == len(SUBJECTS)
    assert "all" not in found["results"] | found["versions"]
    assert found["notus"]["details"] == {"left_out": ["all"]}
    assert found["notus"]["by"]["version"].startswith("494ee12")
    evaluation = read_evaluation(run)
    assert evaluation is not None
    shown = {(score.task, score.metric): score.value for score in evaluation.scores}
    assert shown["hendrycksTest", "acc"] == pytest.approx(mean)
    assert not any(task.startswith("hendrycksTest-") for task, _ in shown)
    assert shown["open_llm_leaderboard", "average"] == pytest.approx(
        (0.6459 + 0.8478 + mean + 0.5437 + 0.794 + 0.0891 + 0.1516) / 7
    )


def test_of_fewer_parts_of_mmlu_there_is_no_mean(bring: Import) -> None:
    content = leaderboard_of_2023()
    del content["results"]["harness|hendrycksTest-subject_3|5"]
    found = bring(content)
    assert "hendrycksTest" not in found["results"]
    assert len([task for task in found["results"] if task.startswith("hendrycksTest-")]) == 56


def test_arguments_of_the_model_are_kept_and_places_of_a_machine_are_not(bring: Import, run: Run) -> None:
    content = today()
    adapter, base = run.path("adapter"), "/home/somebody/base"
    content["config"]["model_args"] = f"pretrained={base},peft={adapter},load_in_4bit=True,tokenizer=/tmp/t"
    content["config"]["use_cache"] = "/home/somebody/cache"
    content["configs"]["arc_challenge"] |= {"dataset_path": "/data/arc", "process_docs": "def f(): ..."}
    found = bring(content)
    arguments = found["config"]["model_args"]
    assert arguments.endswith(",peft=notus/tiny-adapter,load_in_4bit=True")
    assert found["configs"]["arc_challenge"]["dataset_path"] == "local:arc"
    assert "somebody" not in json.dumps(found)
    assert "process_docs" not in json.dumps(found)


def test_limited_results_are_marked(bring: Import, run: Run) -> None:
    content = today()
    content["config"]["limit"] = 100.0
    assert bring(content)["notus"]["limit"] == 100
    content["config"]["limit"] = None
    content["n-samples"]["arc_challenge"]["effective"] = 7  # some were chosen by their numbers
    assert bring(content)["notus"]["limit"] == 7
    shutil.rmtree(run.path("eval"))
    of_leaderboard = leaderboard_of_2023()
    of_leaderboard["config_general"]["max_samples"] = 10
    assert bring(of_leaderboard)["notus"]["limit"] == 10


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_none_is_refused(bring: Import, run: Run, value: float) -> None:
    content, of_leaderboard = today(), leaderboard_of_2023()
    content["results"]["mmlu"]["acc,none"] = value
    with pytest.raises(UserError, match=rf"found\.json: acc of mmlu is {value}; evaluate again$"):
        bring(content)
    of_leaderboard["results"]["harness|truthfulqa:mc|0"]["mc2"] = value
    with pytest.raises(UserError, match=rf"found\.json: mc2 of truthfulqa_mc is {value}; evaluate again$"):
        bring(of_leaderboard)
    assert nothing_in(run)


def test_a_standard_error_that_is_none_is_none(bring: Import) -> None:
    content = today()
    content["results"]["mmlu"]["acc_stderr,none"] = math.nan
    assert bring(content)["results"]["mmlu"]["acc_stderr,none"] == "N/A"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("pretrained=HuggingFaceH4/zephyr-7b-beta", "of HuggingFaceH4/zephyr-7b-beta, and not of this run's model"),
        ("pretrained=notus/tiny,peft=someone/adapter", "of someone/adapter, and not of this run's model"),
        ("pretrained=notus/tiny-base", "of notus/tiny-base, this run's base alone, and not of this run's model"),
        ("", "does not say of which model"),
    ],
)  # fmt: skip
def test_results_of_another_model(bring: Import, run: Run, arguments: str, said: str) -> None:
    content = today()
    content["config"]["model_args"], content["model_name"] = arguments, None
    with pytest.raises(UserError) as refused:
        bring(content)
    assert f"found.json: {said}" in str(refused.value)
    assert "--weights" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert nothing_in(run)


def test_figures_of_the_base_are_taken_where_they_are_asked_for(bring: Import) -> None:
    content = today()
    content["config"]["model_args"] = "pretrained=notus/tiny-base"
    content["date"] = 1.0  # the base is older than the training
    about = bring(content, weights="base")["notus"]
    assert about["weights"] == "base"
    assert about["of"].keys() == {"base"}
    with pytest.raises(UserError, match=r"of notus/tiny, and not of this run's base \(notus/tiny-base"):
        bring(today(), weights="base")


def test_a_model_may_be_called_otherwise(bring: Import) -> None:
    content = today()
    content["config"]["model_args"] = "pretrained=/models/mine"
    with pytest.raises(
        UserError, match="add --weights adapter, merged or base: which of the run's /models/mine"
    ):
        bring(content, called="/models/mine")
    assert bring(content, called="/models/mine", weights="merged")["notus"]["weights"] == "merged"
    with pytest.raises(UserError, match=r"nothing of /models/mime in it; nearest: /models/mine"):
        bring(content, called="/models/mime", weights="merged")


def test_results_older_than_the_weights(bring: Import, run: Run) -> None:
    content = today()
    content["date"] = 1.7e9
    with pytest.raises(
        UserError, match=r"found\.json: older than this run's weights, and so not of them; evaluate"
    ):
        bring(content)
    del content["date"]
    with pytest.raises(UserError, match="older than this run's weights"):  # the name has a date
        bring(content, "results_2023-11-16T12-00-00.123456.json")
    assert nothing_in(run)
    bring(content, "results_2023-99-99T12-00-00.json")  # and this is none


def test_a_run_without_weights(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was trained here"):
        import_files(Run(tmp_path / "none", run.recipe), [write(tmp_path / "a.json", today())], QUIET)


# --- files that are none


def test_a_file_cut_short_says_so_wherever_it_is_cut(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    for content in (today(), annotations(tiny=[1, 2])):
        text = json.dumps(content, indent=2)
        for end in range(2, len(text) - 1, 37):
            path.write_text(text[:end])
            with pytest.raises(UserError, match=r"found\.json: cut short \(.*\); copy or download it again$"):
                import_files(run, [path], QUIET)
    assert nothing_in(run)


def test_lines_and_tables_that_are_cut_short(bring: Import, run: Run) -> None:
    lines = "\n".join(map(json.dumps, judgements()))
    with pytest.raises(UserError, match=r"found\.jsonl: cut short \(line 160: "):
        bring(lines[:-20], "found.jsonl")
    with pytest.raises(UserError, match=r"found\.csv: row 3 has not as many columns as the first line"):
        bring(LEADERBOARD_CSV[:-60], "found.csv")
    assert nothing_in(run)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"), (" \n", "empty"), ("win rate: 90", "not JSON"), ('{"a": 1} }', "not JSON"),
        ("{}", "none of the formats"), ("[]", "none of the formats"), ("[1]", "none of the formats"), ("3", "none of"),
        ('{"results": {}}', "none of the formats"), ('{"results": {"arc": 1}}', "none of the formats"),
        ([{"preference": 1}], "none of the formats"),
        ([{"win_rate": 0.0, "standard_error": 0.0}], "none of the formats"),
        ({"results": {"arc": {"alias": "arc"}}}, "does not say of which model"),
    ],
)  # fmt: skip
def test_a_file_of_no_known_format(bring: Import, run: Run, content: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"found\.json: {said}") as refused:
        bring(content)
    if "formats" in said:
        for known in ("lm-eval", "annotations (JSON)", "leaderboard (CSV)", "judgements"):
            assert known in str(refused.value)
    assert nothing_in(run)


def test_what_can_t_be_read(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: can't be read \(No such file or directory\)"):
        import_files(run, [tmp_path / "none.json"], QUIET)
    with pytest.raises(UserError, match=r"can't be read \(Is a directory\)"):
        import_files(run, [tmp_path], QUIET)
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"binary\.json: not text"):
        import_files(run, [binary], QUIET)


def test_results_without_a_figure(bring: Import) -> None:
    content = today()
    content["results"] = {"arc_challenge": {"alias": "arc_challenge", " ": " "}}
    with pytest.raises(UserError, match=r"found\.json: results without a figure"):
        bring(content)


def test_what_lighteval_calls_otherwise_is_no_task_of_2023(bring: Import) -> None:
    content = leaderboard_of_2023()
    content["results"]["lighteval|gsm8k|0"] = {"em": 0.5}
    with pytest.raises(
        UserError, match=r"lighteval\|gsm8k\|0 is none of the Open LLM Leaderboard's tasks of 2023"
    ):
        bring(content)
    del content["results"]["lighteval|gsm8k|0"]
    content["results"]["harness|gsm8k|8"] = {"acc": 0.5}
    with pytest.raises(UserError, match="holds gsm8k twice, with other shots"):
        bring(content)


# --- all or none


def test_of_several_files_all_are_taken_or_none(run: Run, tmp_path: Path) -> None:
    good = [
        write(tmp_path / "harness.json", today()),
        write(tmp_path / "annotations.json", annotations(tiny_adapter=[1, 2, 2])),
        write(tmp_path / "gpt-4_single.jsonl", judgements()),
    ]
    bad = write(tmp_path / "bad.json", today() | {"date": 1.0})
    with pytest.raises(UserError, match=r"bad\.json"):
        import_files(run, [*good, bad], QUIET)
    assert nothing_in(run)
    told = import_files(run, [*good, good[0]], QUIET)["imported"]
    assert [one["place"] for one in told] == [
        "eval/imported/merged/harness.json",
        "eval/imported/adapter/annotations.json",
        "eval/imported/adapter/gpt-4_single.json",
    ]
    assert [one["limit"] for one in told] == [None, 3, None]
    assert sorted(path.name for path in run.path("eval").rglob("*.*")) == [
        "annotations.json", "gpt-4_single.json", "harness.json",
    ]  # fmt: skip


def test_what_stops_the_writing_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        write(tmp_path / "a.json", today()),
        write(tmp_path / "b.json", annotations(tiny_adapter=[1, 2])),
    ]
    honest, calls = write_result, []

    def full(*arguments: Any, **named: Any) -> Path:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return honest(*arguments, **named)

    monkeypatch.setattr(imports, "write_result", full)
    with pytest.raises(OSError, match="No space left"):
        import_files(run, files, QUIET)
    assert nothing_in(run)


def test_files_that_contradict_each_other(run: Run, tmp_path: Path, bring: Import) -> None:
    other = today()
    other["results"]["mmlu"]["acc,none"] = 0.9
    files = [write(tmp_path / "a.json", today()), write(tmp_path / "b.json", other)]
    with pytest.raises(
        UserError, match=r"b\.json: acc of mmlu is 0\.9, and 0\.6303 in .*a\.json; keep the one"
    ):
        import_files(run, files, QUIET)
    assert nothing_in(run)
    import_files(run, files[:1], QUIET)
    with pytest.raises(
        UserError, match=r"b\.json: acc of mmlu is 0\.9, and 0\.6303 in eval/imported/merged/a\.json"
    ):
        import_files(run, files[1:], QUIET)
    assert bring(today(), "again.json")  # the same figures once more
    other["n-shot"] = {"mmlu_world_religions": 0, "mmlu_astronomy": 0, "mmlu": 0, "arc_challenge": 25}
    other["results"] = {"mmlu": other["results"]["mmlu"]}
    assert bring(other, "zero.json")  # with other shots it is another figure


def test_a_file_takes_the_place_of_an_earlier_one_of_its_name(
    run: Run, tmp_path: Path, bring: Import
) -> None:
    bring(today())
    other = today()
    other["results"]["mmlu"]["acc,none"] = 0.9
    assert bring(other)["results"]["mmlu"]["acc,none"] == 0.9
    (tmp_path / "elsewhere").mkdir()
    files = [tmp_path / "found.json", write(tmp_path / "elsewhere" / "found.json", other)]
    with pytest.raises(UserError, match=r"elsewhere/found\.json: has the name of .*found\.json, whose place"):
        import_files(run, files, QUIET)


# --- of Notus


def test_what_notus_measured_in_another_folder_of_the_run(run: Run, tmp_path: Path, bring: Import) -> None:
    own = bring(today())
    del own["notus"]["imported"]
    own["notus"] |= {
        "suite": "smoke",
        "intervals": {"mmlu": {"acc,none": [0.62, 0.64]}},
        "by": {"name": "lm-eval"},
    }
    shutil.rmtree(run.path("eval"))
    again = bring(own, "mmlu.json")
    assert again["notus"].pop("imported")["was"] == "Notus"
    assert again == own
    other = deepcopy(own)
    other["notus"]["of"]["merged"] = "0" * 64
    with pytest.raises(UserError, match=r"mmlu\.json: of other weights than this run's \(recipe tiny\)"):
        bring(other, "mmlu.json")
    with pytest.raises(UserError, match=r"of this run's merged, and not of its adapter; leave --weights out"):
        bring(own, "mmlu.json", weights="adapter")
    other["notus"]["format"] = "notus-evaluation-9"
    with pytest.raises(UserError, match="another Notus wrote it"):
        bring(other, "mmlu.json")


# --- alpaca_eval


def test_annotations(bring: Import, run: Run) -> None:
    rows = annotations(tiny_adapter=[2, 2, 1, 1.5, 0, None, -1, 1.25])
    for day, row in enumerate(rows, 1):
        row["preference_date"] = f"2098-05-{day:02d}T12:00:00.5"
    found = bring(rows, "annotations.json")
    results, about = found["results"]["alpaca_eval"], found["notus"]
    assert results["win_rate,none"] == pytest.approx(100 * (1 + 1 + 0 + 0.5 + 0.5 + 0.25) / 6)
    assert results["discrete_win_rate,none"] == pytest.approx(100 * (1 + 1 + 0 + 0.5 + 0.5 + 0) / 6)
    assert results["win_rate_stderr,none"] > 0
    assert found["n-samples"]["alpaca_eval"] == {"original": 8, "effective": 6}
    assert about["limit"] == 8  # of 805
    assert about["judge"] == {
        "model": "alpaca_eval_gpt4", "annotator": "alpaca_eval_gpt4", "endpoint": None, "from": "2098-05-01",
        "to": "2098-05-08", "without_verdict": 2, "judgements": 8,
    }  # fmt: skip
    details = about["details"]
    assert (details["reference"], details["wins"], details["losses"]) == ("text_davinci_003", 2, 2)
    assert about["data"]["alpaca_eval"]["config"] == "alpaca_eval"
    assert read_evaluation(run) is not None


def test_annotations_of_all_instructions_are_not_limited(bring: Import) -> None:
    rows = annotations(tiny_adapter=[2.0] * 700 + [1.0] * 104 + [None])
    for row in rows:
        row["glm_preference"] = 0.75
    found = bring(rows, "annotations.json")
    assert found["notus"]["limit"] is None
    assert found["results"]["alpaca_eval"]["length_controlled_winrate,none"] == 75
    assert found["results"]["alpaca_eval"]["length_controlled_winrate_stderr,none"] == 0


def test_of_several_models_the_run_s_is_taken(bring: Import) -> None:
    rows = annotations(zephyr_7b_beta=[1, 1], tiny_adapter=[2, 2], tiny_base=[1, 2])
    assert bring(rows)["results"]["alpaca_eval"]["win_rate,none"] == 100
    assert bring(rows, weights="base")["results"]["alpaca_eval"]["win_rate,none"] == 50
    found = bring(rows, "other.json", called="zephyr-7b-beta", weights="merged")
    assert found["results"]["alpaca_eval"]["win_rate,none"] == 0
    assert found["notus"]["details"]["called"] == "zephyr-7b-beta"
    with pytest.raises(
        UserError, match=r"holds tiny-adapter \(adapter\) and tiny \(merged\); name one with --as"
    ):
        bring(rows + annotations(tiny=[2]))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (annotations(zephyr_7b_beta=[2]), r"of zephyr-7b-beta, and not of this run's model \(notus/tiny-adapter, "),
        (annotations(tiny_base=[2]), "of tiny-base, this run's base alone; if that is meant, add --weights base"),
        (annotations(tiny_adapter=[None, -1]), "no annotation of tiny-adapter has a preference"),
        (annotations(tiny_adapter=[2, 0.5]), r"0\.5 is no preference: 1, 2, what lies between, 0 or null"),
        (annotations(tiny_adapter=["2"]), "'2' is no preference"),  # type: ignore[list-item]
        (annotations(tiny_adapter=[True]), "True is no preference"),
        (annotations(tiny_adapter=[math.inf]), "inf is no preference"),
        ([*annotations(tiny_adapter=[2]), annotations(tiny_adapter=[2])[0] | {"annotator": "claude"}],
         "of several annotator: alpaca_eval_gpt4, claude; keep the rows of one"),
        ([*annotations(tiny_adapter=[2]), annotations(tiny_adapter=[2])[0] | {"generator_1": "gpt4"}],
         "of several generator_1: text_davinci_003, gpt4"),
        ([annotations(tiny_adapter=[2])[0] | {"date": "2023-11-16T12:00:00"}], "older than this run's weights"),
    ],
)  # fmt: skip
def test_annotations_that_are_refused(bring: Import, run: Run, rows: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"found\.json: {said}") as refused:
        bring(rows)
    assert "\n" not in str(refused.value)
    assert nothing_in(run)


def test_a_leaderboard(bring: Import, run: Run) -> None:
    found = bring(LEADERBOARD_CSV, "leaderboard.csv")
    results = found["results"]["alpaca_eval"]
    assert results["win_rate,none"] == 91.41791044776119
    assert results["win_rate_stderr,none"] == 0.9885386037851024
    assert results["length_controlled_winrate,none"] == 80.5
    assert found["n-samples"]["alpaca_eval"]["effective"] == 804
    assert found["notus"]["limit"] is None  # one had no verdict
    assert "judge" not in found["notus"]
    assert read_evaluation(run) is not None
    few = LEADERBOARD_CSV.replace(",804,", ",20,")
    assert bring(few, "leaderboard.csv")["notus"]["limit"] == 20


def test_a_leaderboard_without_the_run_s_model_names_the_nearest(bring: Import) -> None:
    table = LEADERBOARD_CSV.replace("tiny-adapter", "tinny-adapter")
    with pytest.raises(
        UserError, match=r"of gpt4, tinny-adapter, zephyr-7b-beta, .*--as \(nearest: tinny-adapter, "
    ):
        bring(table, "leaderboard.csv")
    found = bring(table, "leaderboard.csv", called="tinny-adapter", weights="adapter")
    assert found["results"]["alpaca_eval"]["win_rate,none"] == 91.41791044776119


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("91.41791044776119,0.98", "nan,0.98"), "win_rate of tiny-adapter is 'nan', no number"),
        (("tiny-adapter,91.41791044776119,0.98", "tiny-adapter,,0.98"), "tiny-adapter has no win_rate"),
        (("735,69", "many,69"), "n_wins of tiny-adapter is 'many', no number"),
        (("gpt4,", "tiny-adapter,"), "holds tiny-adapter twice"),
    ],
)
def test_a_leaderboard_that_is_refused(bring: Import, run: Run, change: tuple[str, str], said: str) -> None:
    assert change[0] in LEADERBOARD_CSV
    with pytest.raises(UserError, match=rf"found\.csv: {said}"):
        bring(LEADERBOARD_CSV.replace(*change, 1), "found.csv")
    assert nothing_in(run)


# --- MT-Bench


def test_judgements_have_the_means_of_fastchat(bring: Import, run: Run) -> None:
    found = bring(judgements(), "gpt-4_single.jsonl")
    results, about = found["results"]["mt_bench"], found["notus"]
    first, second = (16 * (5 + 6 + 7 + 8 + 9) - 5) / 79, 5.0
    assert results["first_turn,none"] == pytest.approx(first)
    assert results["second_turn,none"] == second
    assert results["score,none"] == pytest.approx(
        (79 * first + 80 * second) / 159
    )  # over judgements, not over turns
    assert results["second_turn_stderr,none"] == pytest.approx((16 * 10 / 79) ** 0.5 / 80**0.5)
    assert about["judge"]["model"] == "gpt-4"
    assert about["judge"]["without_verdict"] == 1
    assert about["judge"]["from"] == "2100-01-01"
    assert about["limit"] is None
    writing, roleplay, *_ = categories = about["details"]["by_category"]
    assert [one["questions"] for one in categories] == [10] * 8
    assert (roleplay["category"], roleplay["score"]) == ("roleplay", 6)
    assert writing["score"] == pytest.approx((120 - 5) / 19)
    assert read_evaluation(run) is not None


def test_judgements_of_some_questions_are_limited(bring: Import) -> None:
    assert bring(judgements(questions=3), "some.jsonl")["notus"]["limit"] == 3


def spoiled(**values: Any) -> list[dict[str, Any]]:
    rows = judgements()
    rows[5] |= values
    return rows


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (judgements("vicuna-13b-v1.3"), r"of vicuna-13b-v1\.3, and not of this run's model"),
        (spoiled(score=11), "question 86, turn 1 has the score 11; judge again"),
        (spoiled(score=math.nan), "question 86, turn 1 has the score nan"),
        (spoiled(question_id=85), "question 85, turn 1 is judged twice"),
        (spoiled(question_id=7), "question 7, turn 1 is none of MT-Bench's"),
        (spoiled(turn=3), "question 86, turn 3 is none of MT-Bench's"),
        (spoiled(judge=["gpt-4o", "single-v1"]), "of several judges: gpt-4, gpt-4o"),
        (judgements()[:80], "tiny-adapter has no score of one of the two turns"),
        ([row | {"tstamp": 1.7e9} for row in judgements()], "older than this run's weights"),
    ],
)
def test_judgements_that_are_refused(bring: Import, run: Run, rows: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"found\.jsonl: {said}"):
        bring(rows, "found.jsonl")
    assert nothing_in(run)


# --- the command line


def test_the_command(run: Run, tiny: Path, tmp_path: Path, cli: Cli) -> None:
    path = write(tmp_path / "annotations.json", annotations(tiny_adapter=[1, 2, 2]))
    options = ("--recipe", tiny / "tiny.yaml", "--run", run.folder)
    ended = cli("evaluate", "import", path, *options)
    assert ended.code == 0, ended.err
    assert "alpaca_eval's annotations, 2 figures of the adapter, of 3 samples only" in ended.out
    told = json.loads(cli("evaluate", "import", path, *options, "--json").out)
    assert told["imported"][0]["place"] == "eval/imported/adapter/annotations.json"
    line = cli("evaluate", "import", tmp_path / "none.json", *options).mistake
    assert "none.json: can't be read" in line
    assert (
        "--weights nobody: must be"
        in cli("evaluate", "import", path, *options, "--weights", "nobody").mistake
    )


def test_annotations_and_the_leaderboard_made_of_them_don_t_contradict_each_other(
    run: Run, tmp_path: Path
) -> None:
    """The last digit is another: pandas sums otherwise."""
    table = LEADERBOARD_CSV.replace("zephyr-7b-beta,90", "tiny,90")
    files = [
        write(tmp_path / "annotations.json", annotations(tiny=[2.0] * 727 + [1.0] * 75 + [0.0] + [None] * 2)),
        write(tmp_path / "leaderboard.csv", table.replace("tiny-adapter", "other")),
    ]
    import_files(run, files, QUIET)
    first, second = (
        read_json(run.path("eval", "imported", "merged", f"{name}.json"))["results"]["alpaca_eval"]
        for name in ("annotations", "leaderboard")
    )
    assert first["win_rate,none"] != second["win_rate,none"]
    assert read_evaluation(run) is not None
