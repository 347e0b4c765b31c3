"""What a comparison of two trained runs finds: how their pairs differ, and both adapters on both test sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recipe import bootstrap
from recipe.bootstrap import Interval, intervals
from recipe.compare.pairs import Pairs, differing, leaks_of, read_pairs
from recipe.disk import read_json
from recipe.heldout import compare, each_pair
from recipe.logps import ADAPTER, cross_logps, own_logps
from recipe.made_by import versions
from recipe.progress import Reporter
from recipe.reference import COMPUTED_BY
from recipe.run import Run

FORMAT = "notus-compare-1"  # its number is raised with a change of what is computed, or of its names
SIDES = ("a", "b")
DIFFERENCE = "b_minus_a"
ENOUGH = 30  # rows, for a sentence about them
DIGITS = 6

Result = dict[str, Any]
"""What was found, as plain values."""


def compute(
    runs: tuple[Run, Run], differs: Mapping[str, list[Any]], kept: Path, reporter: Reporter
) -> Result:
    """Return what is found in two runs that are trained.

    Args:
        runs: A and B, of one base.
        differs: The keys in which their recipes differ.
        kept: A folder for the log-probabilities of one's test set under the other's adapter.
        reporter: Shows the progress.

    Returns:
        `format`, `made_from`, `a`, `b`, `differs`, `pairs`, `bootstrap`, `test_sets` and `finding`.
    """
    pairs = tuple(read_pairs(run) for run in runs)
    _warn_of_devices(runs, reporter)
    test_sets = {side: _test_set(place, runs, pairs, kept, reporter) for place, side in enumerate(SIDES)}
    return {
        "format": FORMAT,
        "made_from": made_from(runs),
        **{side: _about(run, of_it) for side, run, of_it in zip(SIDES, runs, pairs, strict=True)},
        "differs": dict(differs),
        "pairs": differing(*pairs),
        "bootstrap": {
            "resamples": bootstrap.RESAMPLES,
            "level": bootstrap.LEVEL,
            "seed": bootstrap.SEED,
            "of": "percentiles of the means over test rows drawn anew; A and B on the same draws",
        },
        "test_sets": test_sets,
        "finding": finding(test_sets, runs[0].recipe.science.seed),
    }


def made_from(runs: tuple[Run, Run]) -> dict[str, Any]:
    """Return what decides the result: of the same runs it is the same."""
    names = [f"adapter/{name}" for name in ADAPTER]
    names += ["data/train.parquet", "data/heldout.parquet", "training/heldout.parquet"]
    found = {}
    for side, run in zip(SIDES, runs, strict=True):
        stages = run.manifest["stages"]
        outputs = stages["curate"]["outputs"] | stages["train"]["outputs"]
        found[side] = {
            "recipe": run.recipe.name,
            "run": run.folder.name,
            "science": run.recipe.science_sha256,
            **{name: outputs[name]["sha256"] for name in names},
        }
    stack = versions()
    return {"format": FORMAT, **found, **{name: stack[name] for name in COMPUTED_BY}}


def figures(
    policies: Mapping[str, torch.Tensor], reference: torch.Tensor, beta: float, rows: npt.NDArray[np.bool_]
) -> Result:
    """Return the held-out figures of both adapters on some rows of a test set, and how they differ.

    Args:
        policies: The adapters' log-probabilities, by side: float64 (rows, 2), chosen and rejected.
        reference: The base's, likewise.
        beta: The recipes'.
        rows: Which rows, bool (rows,).

    Returns:
        `rows`, how many; and where there are any, by figure: `base`'s value; `a`, `b` and `b_minus_a`, each with
        `value`, `low` and `high`, the last with `excludes_zero` too.
    """
    if not rows.any():
        return {"rows": 0}
    chosen = torch.from_numpy(rows)
    each = {side: each_pair(policies[side][chosen], reference[chosen], beta) for side in SIDES}
    names = list(each["a"])
    a, b = (torch.stack([each[side][name] for name in names], dim=1).numpy() for side in SIDES)
    found = np.array(intervals(np.concatenate([a, b, b - a], axis=1)))
    base = compare(reference[chosen], reference[chosen], beta).as_dict()
    by_column = zip((*SIDES, DIFFERENCE), np.split(found, 3), strict=True)
    result: Result = {"rows": int(rows.sum()), "base": {name: round(base[name], DIGITS) for name in names}}
    for column, values in by_column:
        result[column] = {
            name: _plain(Interval(*map(float, value))) for name, value in zip(names, values, strict=True)
        }
    for name in names:
        difference = result[DIFFERENCE][name]
        difference["excludes_zero"] = difference["low"] > 0 or difference["high"] < 0
    return result


def told_rows(test_set: Result) -> str:
    """Return which rows of a test set a sentence should be about: `clean` ones if they are enough, else `all`."""
    return "clean" if test_set["clean"]["rows"] >= ENOUGH else "all"


def finding(test_sets: Mapping[str, Result], seed: int) -> str:
    """Return in a sentence what was found, as carefully as the intervals ask for."""
    said = "; ".join(_on(side, test_sets[side]) for side in SIDES)
    return f"Of one training each (seed {seed}): {said}."


def decimals(difference: Result) -> int:
    """Return with how many decimals a difference, and what it is of, can be told."""
    return 3 if max(abs(difference[name]) for name in ("low", "high")) >= 0.01 else 4


def _on(side: str, test_set: Result) -> str:
    subset = told_rows(test_set)
    found, other = test_set[subset], "b" if side == "a" else "a"
    rows = found["rows"]
    if subset == "clean":
        which = f"{rows} rows that neither trained on"
    elif known := test_set["leaks"]["trained_by_other"]:
        which = f"all {rows} rows; {other.upper()} trained on {known}, too few are left that neither did"
    else:
        which = f"all {rows} rows"
    place = f"on {side.upper()}'s test set ({which})"
    if rows < ENOUGH:
        return f"{place} there are too few rows to tell"
    accuracy, loss = (found[DIFFERENCE][name] for name in ("accuracy", "loss"))
    if accuracy["excludes_zero"]:
        told, joined = f"B's reward accuracy is {_moved(accuracy)}", "and its loss"
    else:
        value = f"{accuracy['value']:+.{decimals(accuracy)}f} {_bounds(accuracy)}"
        told, joined = f"no difference in reward accuracy is shown, {value}", "but B's loss is"
    return f"{place} {told}" + (f", {joined} {_moved(loss)}" if loss["excludes_zero"] else "")


def _moved(difference: Result) -> str:
    """Say a difference whose interval excludes zero: `0.030 lower [-0.050, -0.010]`."""
    way = "higher" if difference["value"] > 0 else "lower"
    return f"{abs(difference['value']):.{decimals(difference)}f} {way} {_bounds(difference)}"


def _bounds(difference: Result) -> str:
    low, high = (f"{difference[name]:+.{decimals(difference)}f}" for name in ("low", "high"))
    return f"[{low}, {high}]"


def _test_set(
    place: int, runs: tuple[Run, Run], pairs: Sequence[Pairs], kept: Path, reporter: Reporter
) -> Result:
    """Return both adapters' figures on the test set of one of the runs."""
    own, other = place, 1 - place
    reference, policy = own_logps(runs[own])
    name, owner = SIDES[other].upper(), SIDES[own].upper()
    crossed = cross_logps(
        runs[other],
        runs[own].path("data", "heldout.parquet"),
        kept / f"{SIDES[other]}-on-{SIDES[own]}",
        f"{name} on {owner}'s test set",
        reporter,
    )
    policies = {SIDES[own]: policy, SIDES[other]: crossed}
    leaks = leaks_of(pairs[own], pairs[other])
    beta = runs[own].recipe.science.beta
    return {
        "leaks": leaks.as_dict(),
        "all": figures(policies, reference, beta, np.ones(leaks.rows, dtype=np.bool_)),
        "clean": figures(policies, reference, beta, leaks.clean),
    }


def _about(run: Run, pairs: Pairs) -> Result:
    return {
        "recipe": run.recipe.name,
        "run": run.folder.name,
        "train_rows": len(pairs.train),
        "trained_prompts": len(pairs.trained),
        "test_rows": len(pairs.heldout),
    }


def _plain(interval: Interval) -> Result:
    return {name: round(value, DIGITS) for name, value in interval._asdict().items()}


def _warn_of_devices(runs: tuple[Run, Run], reporter: Reporter) -> None:
    one, two = (read_json(run.path("training", "metrics.json"))["device"] for run in runs)
    if one != two:
        reporter.warn(
            f"A was trained on {one}, B on {two}: they round otherwise, and nobody measured how much"
        )
