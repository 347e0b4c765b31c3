"""Two recipes side by side: what is refused, intervals against brute force, leaks, and the same bytes every time."""

import itertools
import json
import math
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import load_file

from recipe import bootstrap
from recipe.bootstrap import intervals, resampled_means
from recipe.compare.figure import as_svg
from recipe.compare.pairs import Pairs, Texts, differing, leaks_of, read_pairs
from recipe.compare.result import ENOUGH, Result, figures, finding
from recipe.compare.run import DATA_KEYS, differing_data, naming
from recipe.compare.view import show_comparison
from recipe.disk import file_sha256, read_json, write_json
from recipe.errors import UserError
from recipe.heldout import compare, each_pair
from recipe.load import load_recipe
from recipe.logps import cross_logps, own_logps
from recipe.progress import Reporter
from recipe.run import Run
from recipe.schema import Science
from tests.support import Cli, fresh

BY_SCORE = "binarize_by=overall_score"
QUIET = Reporter(quiet=True)


def test_data_keys_are_of_the_data() -> None:
    known = DATA_KEYS & Science.model_fields.keys()
    assert {"dataset", "binarize_by", "test_size", "leave_out"} <= known
    assert {key for key in Science.model_fields if key.startswith(("dataset", "binarize_"))} <= known
    assert not known & {"model_name_or_path", "seed", "learning_rate", "beta", "max_length", "tokenization"}


@pytest.mark.parametrize(
    "key", ["learning_rate=1e-3", "seed=1", "tokenization=zephyr-2023", "num_processes=2"]
)
def test_other_science_is_refused_before_anything_is_run(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    line = cli("compare", "smoke", "smoke", "--set-a", BY_SCORE, "--set-b", key).mistake
    assert "differ in more than their data" in line
    assert key.partition("=")[0] in line
    assert not list(tmp_path.iterdir())


def test_all_other_science_is_named(cli: Cli) -> None:
    line = cli("compare", "zephyr-7b-beta-lora", "notus-7b-v1-lora", "--set-b", "beta=0.2").mistake
    assert "model_name_or_path: alignment-handbook/zephyr-7b-sft-lora and alignment" in line
    assert "beta: 0.1 and 0.2" in line


def test_the_published_recipes_differ_in_their_data() -> None:
    base = ["model_name_or_path=alignment-handbook/zephyr-7b-sft-full"]
    found = differing_data(load_recipe("zephyr-7b-beta-lora", base), load_recipe("notus-7b-v1-lora", base))
    assert found.keys() == {"dataset", "dataset_format", "dataset_splits"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set-b", BY_SCORE, "--run-a", "r", "--run-b", "r"), "the run folder of both"),
        (("--set-b", BY_SCORE, "--run-a", "r", "--run-b", "x/../r"), "the run folder of both"),
        (("--set-b", "report_to=[]"), "their data are the same"),
        (("--set-b", BY_SCORE, "--out", "found.txt"), "ends in .json"),
        (("--set-b", BY_SCORE, "--out", "mine.json"), "not a comparison; name another with --out"),
        (
            ("--set-b", BY_SCORE, "--run-b", "foreign"),
            "foreign: not a run folder (it holds file); name another with --run-b",
        ),
        (("--set-b", BY_SCORE, "--set", "runtime=docker"), "compare starts no container"),
        (("--set-b", "learning_rat=1"), "unknown key"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_made(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOTUS_REVISION", raising=False)
    (tmp_path / "mine.json").write_text('{"mine": 1}')
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").touch()
    (tmp_path / "x").mkdir()
    assert said in cli("compare", "smoke", "smoke", *arguments).mistake
    assert not (tmp_path / "runs" / "smoke").exists()
    assert not (tmp_path / "r").exists()
    assert (tmp_path / "mine.json").read_text() == '{"mine": 1}'


def test_bases_that_share_only_their_folder_s_name_are_refused(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    other = tmp_path / "base"
    shutil.copytree(tiny / "base", other)
    arguments: tuple[object, ...] = ("compare", tiny / "tiny.yaml", tiny / "tiny.yaml", "--set-a", BY_SCORE)
    arguments += ("--set-b", f"model_name_or_path={other}", "--out", tmp_path / "c.json")
    arguments += ("--run-a", tmp_path / "a", "--run-b", tmp_path / "b")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    assert "model_name_or_path: " in cli(*arguments).mistake
    assert not (tmp_path / "a").exists()


def test_only_the_option_is_renamed() -> None:
    with pytest.raises(UserError, match=r"^use --run-b, not --runtime or --run-a$"), naming("b"):
        raise UserError("use --run, not --runtime or --run-a")


# --- intervals


def test_intervals_are_those_of_all_resamples_there_are() -> None:
    """Of five rows there are 3,125 resamples: the drawn ones' percentiles are near those of all."""
    values = [0.0, 1.0, 1.0, 2.5, 7.0]
    every = [sum(drawn) / 5 for drawn in itertools.product(values, repeat=5)]
    low, high = np.quantile(every, [0.025, 0.975])
    [found] = intervals(np.array(values)[:, None], resamples=100_000)
    assert found.value == 2.3
    assert found.low == pytest.approx(low, abs=0.05)
    assert found.high == pytest.approx(high, abs=0.05)
    means = resampled_means(np.array(values)[:, None], 100_000, seed=1)
    assert means.mean() == pytest.approx(2.3, abs=0.02)
    assert means.std() == pytest.approx(np.std(every), rel=0.02)
    assert set(np.round(means[:, 0], 9)) <= set(np.round(every, 9))


def test_intervals_of_many_rows_are_the_normal_ones() -> None:
    values = np.random.default_rng(0).normal(3, 2, (2000, 1))
    [found] = intervals(values)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert found.low == pytest.approx(values.mean() - half, abs=half / 10)
    assert found.high == pytest.approx(values.mean() + half, abs=half / 10)


def test_chunks_do_not_matter_and_columns_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(50, 1))
    paired = np.concatenate([values, values + 0.2, (values + 0.2) - values], axis=1)
    whole = resampled_means(paired, 1000, seed=3)
    monkeypatch.setattr(bootstrap, "CELLS", 50 * 7)
    assert np.allclose(resampled_means(paired, 1000, seed=3), whole, rtol=0, atol=1e-12)
    assert not np.allclose(resampled_means(paired, 1000, seed=4), whole)
    assert np.allclose(whole[:, 1] - whole[:, 0], 0.2)
    one, other, difference = intervals(paired)
    assert one.high > other.low  # alone they overlap
    assert difference.low == pytest.approx(0.2)
    assert difference.high == pytest.approx(0.2)


def drawn_logps(seed: int, rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    names = ("reference", "a", "b")
    return {name: torch.randn(rows, 2, generator=generator, dtype=torch.float64) * 5 for name in names}


def test_figures_are_those_worked_out_by_hand() -> None:
    drawn, chosen, beta = drawn_logps(0, 9), [0, 2, 3, 8], 0.3
    rows = np.isin(np.arange(9), chosen)
    found = figures({"a": drawn["a"], "b": drawn["b"]}, drawn["reference"], beta, rows)
    assert found["rows"] == 4
    by_hand: dict[str, dict[str, list[float]]] = {
        side: {"loss": [], "accuracy": [], "margin": []} for side in "ab"
    }
    for side, values in by_hand.items():
        for row in chosen:
            reward = [
                beta * (drawn[side][row][place] - drawn["reference"][row][place]).item() for place in (0, 1)
            ]
            values["loss"].append(math.log(1 + math.exp(reward[1] - reward[0])))
            values["accuracy"].append(float(reward[0] > reward[1]))
            values["margin"].append(reward[0] - reward[1])
    for name in ("loss", "accuracy", "margin"):
        differences = [b - a for a, b in zip(by_hand["a"][name], by_hand["b"][name], strict=True)]
        for column, each in (
            ("a", by_hand["a"][name]),
            ("b", by_hand["b"][name]),
            ("b_minus_a", differences),
        ):
            interval = found[column][name]
            assert interval["value"] == pytest.approx(sum(each) / 4, abs=1e-6)
            every = [sum(resample) / 4 for resample in itertools.product(each, repeat=4)]
            spread = max(each) - min(each)
            for bound, share in (("low", 0.025), ("high", 0.975)):
                # of 256 resamples: between the neighbouring percentiles
                near = np.quantile(every, [max(0, share - 0.02), min(1, share + 0.02)])
                assert near[0] - 1e-6 <= interval[bound] <= near[1] + 1e-6, (name, column, spread)
    for name, difference in found["b_minus_a"].items():
        assert difference["excludes_zero"] == (not difference["low"] <= 0 <= difference["high"]), name
    assert found["base"] == {
        "loss": round(math.log(2), 6),
        "accuracy": 0.0,
        "margin": 0.0,
        "likelier": sum(bool(drawn["reference"][row][0] > drawn["reference"][row][1]) for row in chosen) / 4,
    }


def test_no_rows_have_no_figures() -> None:
    drawn = drawn_logps(0, 3)
    assert figures(drawn, drawn["reference"], 0.1, np.zeros(3, dtype=np.bool_)) == {"rows": 0}


def test_each_pair_averages_to_the_held_out_figures() -> None:
    drawn = drawn_logps(1, 50)
    each = each_pair(drawn["a"], drawn["reference"], 0.1)
    assert compare(drawn["a"], drawn["reference"], 0.1).as_dict() == {
        "pairs": 50,
        **{name: values.mean().item() for name, values in each.items()},
    }


# --- pairs and leaks


def pairs_of(train: list[str], heldout: list[str] = [], trained: str | None = None) -> Pairs:  # noqa: B006
    """Return pairs written as three letters each: prompt, chosen, rejected."""
    rows, others = ([Texts(*text) for text in each] for each in (train, heldout))
    return Pairs(
        rows, others, frozenset(row.prompt for row in rows) if trained is None else frozenset(trained)
    )


def test_every_way_in_which_pairs_differ_is_counted_once() -> None:
    a = pairs_of(["1xy", "2xy", "3xy", "4xy", "5xy"], ["6xy"])
    b = pairs_of(["2xz", "3zy", "4zw", "5yx", "7xy"], ["1xy"])
    assert differing(a, b) == {
        "prompts_both": 5,
        "prompts_only_a": 1,
        "prompts_only_b": 1,
        "compared": 5,
        "same": 1,
        "other_rejected": 1,
        "other_chosen": 1,
        "both_other": 1,
        "swapped": 1,
        "unmatched": 0,
    }


def test_of_a_prompt_that_is_there_twice_equal_pairs_meet_first() -> None:
    a, b = pairs_of(["1xy", "1zw", "1zw"]), pairs_of(["1wz", "1xy"])
    found = differing(a, b)
    assert (found["same"], found["swapped"], found["compared"], found["unmatched"]) == (1, 1, 2, 1)
    assert found == {**differing(b, a), "prompts_only_a": 0, "prompts_only_b": 0}


def test_differing_is_brute_force_on_prompts_that_are_there_once() -> None:
    draw = random.Random(0)
    sides = [
        {prompt: "".join(draw.sample("xyz", 2)) for prompt in "abcdefghijklmnop" if draw.random() < 0.8}
        for _ in range(2)
    ]
    found = differing(*(pairs_of([prompt + texts for prompt, texts in side.items()]) for side in sides))
    both = [(sides[0][prompt], sides[1][prompt]) for prompt in sides[0] if prompt in sides[1]]
    assert found["compared"] == found["prompts_both"] == len(both)
    assert found["same"] == sum(one == other for one, other in both)
    assert found["swapped"] == sum(one == other[::-1] for one, other in both)
    assert found["other_rejected"] == sum(one[0] == other[0] and one != other for one, other in both)


def test_leaks_are_what_either_adapter_trained_on() -> None:
    a = pairs_of(["1xy", "2xy", "9xy"], ["3xy", "4xy", "5xy", "1ab"])
    b = pairs_of(["3xy", "4zw", "6xy"], ["2xy"], trained="46")  # its steps saw no more
    leaks = leaks_of(a, b)
    assert leaks.clean.tolist() == [True, False, True, False]
    assert leaks.as_dict() == {
        "rows": 4,
        "train_rows_of_other": 2,
        "trained_by_other": 1,
        "trained_by_own": 1,
        "clean": 2,
    }
    assert leaks_of(b, a).clean.tolist() == [False]


def test_only_rows_that_steps_saw_were_trained_on(trained: Path, tiny: Path) -> None:
    few = load_recipe(tiny / "tiny.yaml", ["max_steps=1"])
    run = Run(trained, load_recipe(tiny / "tiny.yaml"))
    found = read_pairs(run)
    assert [len(found.train), len(found.heldout)] == [52, 8]
    assert len(found.trained) == 3 * 16
    run.recipe = few
    assert len(read_pairs(run).trained) == 16
    assert read_pairs(run).trained < {row.prompt for row in found.train}


# --- what is said


def result(**options: Any) -> Result:
    """Return a result of made-up figures: B less A is `accuracy` and `loss`, `half` of the interval to each side."""
    values = {"rows": 200, "clean": 100, "accuracy": 0.0, "loss": 0.0, "scale": 1.0, "half": 0.02} | options

    def columns(rows: int) -> Result:
        if not rows:
            return {"rows": 0}
        one = {
            name: {
                "value": 0.5 * values["scale"],
                "low": 0.4 * values["scale"],
                "high": 0.6 * values["scale"],
            }
            for name in ("loss", "accuracy", "margin", "likelier")
        }
        half = values["half"]
        difference = {
            name: {
                "value": moved,
                "low": moved - half,
                "high": moved + half,
                "excludes_zero": abs(moved) > half,
            }
            for name in one
            for moved in [values.get(name, 0.0)]
        }
        return {"rows": rows, "base": dict.fromkeys(one, 0.5), "a": one, "b": one, "b_minus_a": difference}

    leaks = {
        "rows": values["rows"],
        "train_rows_of_other": values["rows"] - values["clean"],
        "trained_by_other": values["rows"] - values["clean"],
        "trained_by_own": 0,
        "clean": values["clean"],
    }
    test_sets = {
        side: {"leaks": leaks, "all": columns(values["rows"]), "clean": columns(values["clean"])}
        for side in "ab"
    }
    about = {"recipe": "r", "run": "r", "train_rows": 9, "trained_prompts": 9, "test_rows": values["rows"]}
    return {
        "a": about,
        "b": about,
        "differs": {"leave_out": [["empty_prompt"], []]},
        "pairs": differing(pairs_of(["1xy"]), pairs_of(["1yx"])),
        "bootstrap": {"level": 0.95, "resamples": 10_000},
        "test_sets": test_sets,
        "finding": finding(test_sets, 7),
    }


def test_a_difference_is_said_where_its_interval_excludes_zero() -> None:
    said = result(accuracy=-0.03, loss=0.05)["finding"]
    assert said.startswith(
        "Of one training each (seed 7): on A's test set (100 rows that neither trained on) B's reward accuracy is "
        "0.030 lower [-0.050, -0.010], "
        "and its loss 0.050 higher [+0.030, +0.070]; on B's test set"
    )


def test_no_difference_is_said_where_it_does_not() -> None:
    said = result(accuracy=0.015)["finding"]
    assert said.count("no difference in reward accuracy is shown, +0.015 [-0.005, +0.035]") == 2
    assert "higher" not in said
    assert ", but B's loss is 0.030 lower" in result(accuracy=0.015, loss=-0.03)["finding"]


def test_a_small_difference_has_a_digit_more(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(loss=-0.0008, half=0.0006)
    assert "B's loss is 0.0008 lower [-0.0014, -0.0002]" in found["finding"]
    show_comparison(found, Reporter())
    assert re.search(
        r"loss .*0\.5000 \[0\.4000, 0\.6000\]  -0\.0008 \[-0\.0014, -0\.0002\]  \*", capsys.readouterr().out
    )


def test_a_sentence_about_rows_that_an_adapter_knows_says_so() -> None:
    said = result(clean=ENOUGH - 1)["finding"]
    assert "A's test set (all 200 rows; B trained on 171, too few are left that neither did)" in said
    assert "A's test set (200 rows that neither trained on)" in result(clean=200)["finding"]


def test_of_too_few_rows_nothing_is_said() -> None:
    said = result(rows=12, clean=0, accuracy=0.5)["finding"]
    assert said.count("there are too few rows to tell") == 2
    assert "accuracy" not in said


@pytest.mark.parametrize(
    "options", [{}, {"clean": 0}, {"scale": -12.0, "loss": -0.5}, {"half": 0.0001}, {"clean": 200}]
)
def test_it_fits_100_columns(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = result(**options)
    show_comparison(found, Reporter())
    *lines, last = capsys.readouterr().out.rstrip().split("\n")
    assert last == found["finding"]
    assert all(len(line.rstrip()) <= 104 for line in lines)
    tables = [line.rstrip() for line in lines if re.match(r"(loss|accuracy|margin|likelier) ", line)]
    assert tables
    assert all(len(line) <= 100 and line.count("[") == 3 for line in tables)  # not folded


def test_the_figure_shows_each_subset_that_has_rows() -> None:
    assert as_svg(result()).count("<circle") == 4 * 3
    assert as_svg(result(clean=0)).count("<circle") == 2 * 3
    assert as_svg(result()) == as_svg(result())


# --- end to end


@pytest.fixture(scope="module")
def compared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `a/` (by overall_score), `b/` (by ratings) and `c.json` over both. Not to be written to."""
    folder = tmp_path_factory.mktemp("compared")
    ended = compare_in(folder, tiny)
    assert ended[0] == 0, ended
    return folder


def compare_in(folder: Path, tiny: Path, *arguments: str) -> tuple[int, Any, str]:
    recipe = tiny / "tiny.yaml"
    runs = ("--run-a", folder / "a", "--run-b", folder / "b", "--out", folder / "c.json")
    ended = fresh("compare", recipe, recipe, "--set-a", BY_SCORE, *runs, "--json", *arguments, cwd=folder)
    return ended.code, json.loads(ended.out or "null"), ended.err


@pytest.fixture
def mine(compared: Path, tmp_path: Path) -> Path:
    """`compared`, to be written to."""
    shutil.copytree(compared, tmp_path / "mine")
    return tmp_path / "mine"


@pytest.mark.slow
def test_each_adapter_is_that_of_a_run_of_its_own(compared: Path, trained: Path) -> None:
    """B was trained second in one process; `trained` in a process of its own."""
    for name in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json", "data/train.parquet"):
        assert file_sha256(compared / "b" / name) == file_sha256(trained / name)
    assert file_sha256(compared / "a" / "adapter/adapter_model.safetensors") != file_sha256(
        trained / "adapter/adapter_model.safetensors"
    )


@pytest.mark.slow
def test_it_has_the_figures_of_training_and_those_of_the_other_s_test_set(compared: Path, tiny: Path) -> None:
    found = read_json(compared / "c.json")
    assert found["differs"] == {"binarize_by": ["overall_score", "ratings"]}
    for side in "ab":
        after = read_json(compared / side / "training" / "metrics.json")["after"]
        all_rows = found["test_sets"][side]["all"]
        assert all_rows["rows"] == after["pairs"] == 8
        for name in ("loss", "accuracy", "margin", "likelier"):
            assert all_rows[side][name]["value"] == pytest.approx(after[name], abs=1e-6)
            assert all_rows[side][name]["low"] <= after[name] + 1e-6
            assert all_rows[side][name]["high"] >= after[name] - 1e-6
        leaks = found["test_sets"][side]["leaks"]
        other = parquet.read_table(compared / ("b" if side == "a" else "a") / "data" / "train.parquet")
        prompts = {json.dumps(prompt) for prompt in other["prompt"].to_pylist()}
        own = parquet.read_table(compared / side / "data" / "heldout.parquet")["prompt"].to_pylist()
        assert leaks["train_rows_of_other"] == sum(json.dumps(prompt) in prompts for prompt in own)
        assert found["test_sets"][side]["clean"]["rows"] == leaks["clean"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries, of each other
def test_a_run_s_own_set_scored_as_another_s_is_what_training_said(
    compared: Path, tiny: Path, tmp_path: Path
) -> None:
    run = Run(compared / "b", load_recipe(tiny / "tiny.yaml"))
    _, policy = own_logps(run)
    scored = cross_logps(run, run.path("data", "heldout.parquet"), tmp_path / "kept", "", QUIET)
    assert torch.equal(scored, policy)


@pytest.mark.slow
def test_a_second_time_nothing_is_done_and_nothing_touched(mine: Path, tiny: Path) -> None:
    def times() -> dict[Path, int]:
        return {
            path: path.stat().st_mtime_ns
            for path in mine.rglob("*")
            if path.is_file() and path.name not in {"recipe.yaml", ".lock"}
        }

    before = times()
    code, answer, said = compare_in(mine, tiny)
    assert code == 0
    stages = answer.pop("stages")
    assert [stage["ran"] for side in "ab" for stage in stages[side].values()] == [False] * 6
    assert answer == read_json(mine / "c.json")
    assert "'s test set 8/8" not in said  # nothing was scored
    assert times() == before


@pytest.mark.slow
def test_wherever_it_was_killed_it_ends_with_the_same_bytes(mine: Path, tiny: Path) -> None:
    names, shard = ("c.json", "c.svg"), mine / "c.logps" / "a-on-b" / "rows-000000.safetensors"
    before = {name: (mine / name).read_bytes() for name in names}
    scored = load_file(shard)["logps"].clone()  # the file itself is torn below, and it is mapped
    # before the result was written, one set half-way, a torn figure
    (mine / "c.json").unlink()
    shard.write_bytes(shard.read_bytes()[:-8])
    (mine / "c.svg").write_text("<svg")
    code, _, said = compare_in(mine, tiny)
    assert code == 0
    assert "A on B's test set 8/8" in said
    assert "B on A's test set 8/8" not in said  # it was kept
    assert {name: (mine / name).read_bytes() for name in names} == before
    assert torch.equal(load_file(shard)["logps"], scored)  # safetensors' header has no order of its own


@pytest.mark.slow
def test_a_result_of_other_runs_is_not_taken(mine: Path, tiny: Path) -> None:
    found = read_json(mine / "c.json")
    changed = json.loads(json.dumps(found))
    changed["made_from"]["a"]["adapter/adapter_model.safetensors"] = "0" * 64
    changed["finding"] = "Another one."
    write_json(mine / "c.json", changed)
    assert compare_in(mine, tiny)[0] == 0
    assert read_json(mine / "c.json") == found


@pytest.mark.slow
def test_a_run_of_another_science_is_refused_with_the_option_s_name(mine: Path, tiny: Path) -> None:
    code, _, said = compare_in(mine, tiny, "--set-b", "test_size=9")
    assert code == 2
    assert re.search(
        r"b: made by another science \(test_size was 8, now 9\); name another with --run-b", said
    )


@pytest.mark.slow
def test_the_embedded_default_with_its_own_run_folders(tmp_path: Path) -> None:
    arguments = (
        "compare",
        "smoke",
        "smoke",
        "--set-b",
        BY_SCORE,
        "--set",
        "max_steps=2",
        "--set",
        "test_size=200",
    )
    ended = fresh(*arguments, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {
        "smoke",
        "smoke-b",
        "compare-smoke-smoke-b",
    }
    found = read_json(tmp_path / "runs" / "compare-smoke-smoke-b" / "compare.json")
    assert found["pairs"]["prompts_both"] == 633
    assert (
        sum(
            found["pairs"][kind]
            for kind in ("same", "other_rejected", "other_chosen", "both_other", "swapped")
        )
        == 633
    )
    assert found["pairs"]["swapped"] > 0
    for side in "ab":
        leaks = found["test_sets"][side]["leaks"]
        assert leaks["trained_by_other"] < leaks["train_rows_of_other"] < 200  # two steps saw 32 rows
        assert leaks["clean"] == 200 - leaks["trained_by_other"]
    assert found["finding"] in ended.out
    _, _, shown = ended.out.partition("what differs")
    assert all(len(line) <= 104 for line in shown.splitlines() if line != found["finding"])
