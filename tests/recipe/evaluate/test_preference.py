"""Suite `preference`: the figures against training's own and by hand, what length may not decide, and few pairs."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipe.bootstrap import Values
from recipe.disk import read_json
from recipe.evaluate import preference
from recipe.evaluate.preference import (
    ENOUGH,
    LONGER,
    SHORTER,
    Pairs,
    columns,
    length_controlled,
    means,
    per_source,
)
from recipe.evaluate.subject import Subject, Weights
from recipe.evaluate.suite import Evaluating
from recipe.load import load_recipe
from recipe.progress import Reporter
from recipe.run import Run

TUNED = {"accuracy", "margin", "loss", "likelier", "likelier_per_token"}


@pytest.fixture(scope="module")
def run(trained: Path, tiny: Path) -> Run:
    return Run(trained, load_recipe(tiny / "tiny.yaml", ["sample_answers=0", "evaluate_limit=3"]))


def measured(run: Run, weights: Weights, folder: Path) -> tuple[dict[str, Any], dict[str, object]]:
    """Return the result file, and what was told."""
    for name in ("out", "kept"):
        (folder / name).mkdir(parents=True)
    evaluating = Evaluating(
        "preference", Subject(run, weights), folder / "out", folder / "kept", Reporter(quiet=True)
    )
    said = preference.measure(evaluating)
    return read_json(folder / "out" / "heldout.json"), said


def values(content: dict[str, Any]) -> dict[str, float]:
    results: dict[str, Any] = content["results"]["heldout"]
    return {key.removesuffix(",none"): value for key, value in results.items() if key.endswith(",none")}


def test_the_adapter_s_figures_are_those_of_training(run: Run, tmp_path: Path) -> None:
    content, said = measured(run, "adapter", tmp_path)
    found, after = values(content), read_json(run.path("training", "metrics.json"))["after"]
    for name in ("accuracy", "margin", "loss", "likelier"):
        assert found[name] == pytest.approx(after[name], rel=1e-12)
        low, high = content["notus"]["intervals"]["heldout"].get(f"{name},none", [after[name]] * 2)
        assert low <= after[name] <= high
    assert f"8 pairs, reward accuracy {after['accuracy']:.3f}" in str(said["held out"])
    assert content["higher_is_better"]["heldout"]["loss"] is False
    assert content["n-samples"]["heldout"] == {"original": 8, "effective": 8}
    assert content["notus"]["data"]["heldout"]["path"] == "local:feedback.jsonl"
    assert content["notus"]["limit"] is None  # of a benchmark's rows, not of pairs
    assert sum(one["pairs"] for one in content["notus"]["details"]["by_source"]) == 8


def test_of_the_base_there_are_no_rewards(run: Run, tmp_path: Path) -> None:
    content, said = measured(run, "base", tmp_path)
    found, before = values(content), read_json(run.path("training", "metrics.json"))["before"]
    assert {name for name in found if not name.endswith("_stderr")} == {"likelier", "likelier_per_token"}
    assert found["likelier"] == before["likelier"]
    assert content["notus"]["of"].keys() == {"base"}
    assert said.keys() == {"held out"}


@pytest.mark.filterwarnings("ignore")  # of the libraries, of each other
def test_merged_weights_are_asked_anew_and_say_the_same(run: Run, tmp_path: Path) -> None:
    adapter, _ = measured(run, "adapter", tmp_path / "adapter")
    merged, _ = measured(run, "merged", tmp_path / "merged")
    assert values(merged)["margin"] == pytest.approx(values(adapter)["margin"], rel=1e-3)
    assert values(merged)["margin"] != values(adapter)["margin"]  # another computation
    assert values(merged)["loss"] == pytest.approx(values(adapter)["loss"], rel=1e-4)
    assert list(tmp_path.glob("merged/kept/logps/rows-*.safetensors"))


def test_a_plan_needs_nothing_that_was_made(run: Run, tmp_path: Path) -> None:
    recipe = load_recipe("notus-7b-v1-lora")
    held_out, answers = preference.plan(Run(tmp_path / "none", recipe))
    assert held_out.requests == 0
    assert "2,000 pairs" in held_out.note
    assert "if the data have no held-out split" in held_out.note
    assert answers.requests == 2 * recipe.evaluation.sample_answers
    (there,) = preference.plan(run)
    assert "8 pairs" in there.note
    assert "if the data" not in there.note


def pairs_of(*rows: tuple[float, float, float, float], lengths: tuple[int, int] = (2, 2)) -> Pairs:
    """Return pairs of log-probabilities: the base's of both answers, and the policy's."""
    table = torch.tensor(rows, dtype=torch.float64)
    return Pairs([None] * len(rows), table[:, :2], table[:, 2:], np.array([lengths] * len(rows)))


def test_figures_by_hand() -> None:
    pairs = pairs_of((-10, -10, -8, -9), (-10, -10, -9, -9), (-4, -8, -5, -6), lengths=(4, 2))
    found = columns(pairs, "adapter", 0.1)
    assert found.keys() == TUNED
    assert found["margin"] == pytest.approx([0.1, 0.0, -0.3])
    assert found["accuracy"].tolist() == [1, 0, 0]  # equal is not higher
    assert found["loss"] == pytest.approx([np.log1p(np.exp(-one)) for one in (0.1, 0.0, -0.3)])
    assert found["likelier"].tolist() == [1, 0, 1]
    assert found["likelier_per_token"].tolist() == [1, 1, 1]  # -2 and -4.5, -2.25 and -4.5, -1.25 and -3
    assert columns(pairs, "base", 0.1).keys() == {"likelier", "likelier_per_token"}


def test_of_one_pair_there_is_neither_an_error_nor_an_interval() -> None:
    found = means(columns(pairs_of((-10, -10, -8, -9)), "adapter", 0.1))
    for figure in found.values():
        assert (figure.stderr, figure.bounds) == (None, None)
    assert str(found["margin"]) == "0.100"
    assert found["accuracy"].plain == [1.0, None, None]


def test_where_all_pairs_agree_the_bootstrap_tells_nothing() -> None:
    (figure,) = means({"accuracy": np.ones(50)}).values()
    assert figure.bounds is None
    assert figure.stderr == 0


def test_by_source_most_pairs_first() -> None:
    each = {"accuracy": np.array([1.0, 0, 1, 1, 0]), "margin": np.array([1.0, -1, 2, 3, -0.5])}
    b, none, a = per_source(["a", "b", "b", None, None], each)[:3]
    assert (a["source"], a["pairs"], a["accuracy"], a["margin"]) == ("a", 1, [1, None, None], [1, None, None])
    assert (b["source"], b["pairs"], none["source"]) in {("b", 2, None), (None, 2, "b")}
    (all_,) = per_source([None] * 5, each)
    assert all_["accuracy"][0] == 0.6
    assert all_["accuracy"][1] < 0.6 < all_["accuracy"][2]


# --- length-controlled


def lengths_of(longer: Values) -> Any:
    """Return lengths of both answers: 1 is a longer chosen one, 0 a shorter one, 1/2 an equal one."""
    return np.stack([np.full(len(longer), 10), 10 - np.round(2 * longer - 1)], axis=1).astype(np.int64)


def test_a_model_that_goes_by_length_has_a_half() -> None:
    longer = np.array([1.0] * 30 + [0.0] * 10)
    found = length_controlled(longer, lengths_of(longer))  # right where the chosen one is longer, else wrong
    assert found.figure is not None
    assert found.figure.value == 0.5
    assert longer.mean() == 0.75  # what it has uncontrolled
    assert found.accuracy == {LONGER: 1, SHORTER: 0}
    assert found.pairs == {LONGER: 30, SHORTER: 10}


def test_pairs_of_equal_length_count_half_in_each() -> None:
    accuracy, longer = np.array([1.0, 0, 1, 1]), np.array([1.0, 0, 0.5, 0.5])
    found = length_controlled(accuracy, lengths_of(longer))
    assert found.accuracy == {LONGER: 1, SHORTER: 0.5}  # 2 of 2, and 1 of 2
    assert found.figure is not None
    assert found.figure.value == 0.75
    assert found.figure.bounds is None  # of so few there is no interval
    assert found.figure.stderr is None


@pytest.mark.parametrize(
    ("longer", "kind"), [([1.0, 1], SHORTER), ([0.0, 0.5], LONGER), ([0.5, 0.5], LONGER)]
)
def test_without_pairs_of_both_kinds_there_is_no_figure(longer: list[float], kind: str) -> None:
    found = length_controlled(np.array([1.0, 0]), lengths_of(np.array(longer)))
    assert found.figure is None
    assert found.pairs[kind] == 0
    json.dumps(found.accuracy, allow_nan=False)
    assert preference._told_length(found, 0.5).startswith("no figure, as no chosen answer is the ")


def test_the_interval_is_that_of_drawing_pairs_anew() -> None:
    draw = random.Random(3)
    rows = [(draw.random() < 0.7, draw.choice([0.0, 0.0, 1.0, 1.0, 1.0, 0.5])) for _ in range(80)]
    accuracy, longer = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    found = length_controlled(accuracy, lengths_of(longer)).figure
    assert found is not None
    assert found.bounds is not None

    def by_hand(rows: list[tuple[bool, float]]) -> float:
        sides = []
        for side in (0.0, 1.0):
            weights = [1 if kind == side else 0.5 if kind == 0.5 else 0 for _, kind in rows]
            hits = sum(weight for weight, (right, _) in zip(weights, rows, strict=True) if right)
            sides.append(hits / sum(weights))
        return sum(sides) / 2

    assert found.value == pytest.approx(by_hand(rows), rel=1e-12)
    drawn = sorted(by_hand(draw.choices(rows, k=len(rows))) for _ in range(4000))
    assert found.bounds[0] == pytest.approx(drawn[100], abs=0.01)
    assert found.bounds[1] == pytest.approx(drawn[3900], abs=0.01)
    assert found.stderr == pytest.approx(np.std(drawn), rel=0.1)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=60),
    st.booleans(),
)
def test_what_it_is_for_any_pairs(rows: list[tuple[bool, float]], same: bool) -> None:
    accuracy, longer = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    if same:
        accuracy[:] = 1
    found = length_controlled(accuracy, lengths_of(longer))
    json.dumps(found.accuracy, allow_nan=False)
    assert (found.figure is None) == (not found.pairs[LONGER] or not found.pairs[SHORTER])
    if found.figure is None:
        return
    assert 0 <= found.figure.value <= 1
    if same:
        assert found.figure.value == 1
    if found.figure.bounds:
        assert min(found.pairs.values()) >= ENOUGH
        assert 0 <= found.figure.bounds[0] < found.figure.bounds[1] <= 1
    mirrored = length_controlled(
        accuracy, lengths_of(1 - longer)
    ).figure  # which kind is which does not matter
    assert mirrored is not None
    assert mirrored.value == pytest.approx(found.figure.value)
