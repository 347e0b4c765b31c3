"""Suite `preference`: what needs no benchmark, the held-out pairs and a few answers.

Training left the log-probabilities of the held-out pairs under base and adapter, so nothing is run for their figures,
which have 95% bootstrap intervals over the pairs. Only the merged weights are asked anew, by the same trainer.

A model can look good by liking long answers, if most of the chosen ones are longer. The length-controlled accuracy is
what remains if length says nothing: the mean of the accuracy on the pairs whose chosen answer is the longer one and of
that on those whose chosen answer is the shorter one, pairs of equal length counting half in each. A model that goes by
length alone has 0.5. AlpacaEval's length-controlled win rate asks the same of a judge's verdicts, by a regression (a
GLM) on the difference in length, the difficulty of the instruction and the model, read off where the difference is
zero. It has to model how length acts, as two models' answers are as long as they are. Here there are pairs of both
kinds to average over, so nothing is assumed; what is controlled for is which answer is longer, not by how much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pyarrow import parquet

from recipe.bootstrap import LEVEL, RESAMPLES, SEED, Interval, Values, intervals, resampled_means
from recipe.evaluate.result import figures, write_result
from recipe.evaluate.samples import write_samples
from recipe.evaluate.subject import Weights
from recipe.evaluate.suite import Evaluating, Planned
from recipe.fetch import load_inputs
from recipe.heldout import each_pair
from recipe.kept_tokens import KeptTokens
from recipe.logps import cross_logps, own_logps
from recipe.progress import Reporter
from recipe.prompt import pair_tokenizer
from recipe.run import Run
from recipe.tokenized import lengths_of
from recipe.tokenizer import load_tokenizer

TASK = "heldout"
VERSION = 1  # of what is computed: to be raised with a change of it
ENOUGH = 10  # pairs of each kind, for an interval of what is length-controlled
DATA = ("data", "heldout.parquet")
LONGER, SHORTER = "chosen_longer", "chosen_shorter"

Bounds = tuple[float, float] | None


@dataclass(frozen=True)
class Pairs:
    """The held-out pairs, as the weights that are measured see them.

    Attributes:
        sources: Where each is from; None where its data do not say.
        reference: The base's summed log-probabilities, float64 (rows, 2): chosen, rejected.
        policy: Those of the weights that are measured, likewise.
        lengths: Tokens of the answers as they were scored, int64 (rows, 2).
    """

    sources: Sequence[str | None]
    reference: torch.Tensor
    policy: torch.Tensor
    lengths: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Figure:
    """A mean over pairs.

    Attributes:
        value: The mean.
        stderr: Its standard error; None of one pair.
        bounds: Of its interval. None where all pairs agree: to draw such pairs anew tells nothing of others.
    """

    value: float
    stderr: float | None
    bounds: Bounds

    @property
    def plain(self) -> list[float | None]:
        """Value and bounds."""
        return [self.value, *(self.bounds or (None, None))]

    def __str__(self) -> str:
        bounds = f" [{self.bounds[0]:.3f}, {self.bounds[1]:.3f}]" if self.bounds else ""
        return f"{self.value:.3f}{bounds}"


@dataclass(frozen=True)
class LengthControlled:
    """An accuracy if length said nothing.

    Attributes:
        figure: None where no chosen answer is longer, or none is shorter.
        pairs: How many have a longer chosen answer, and a shorter one.
        accuracy: Of those, and of the pairs of equal length with half their weight.
    """

    figure: Figure | None
    pairs: Mapping[str, int]
    accuracy: Mapping[str, float | None]


def check(run: Run, weights: Weights) -> None:
    """Refuse nothing: all that it needs is in the run."""


def plan(run: Run) -> list[Planned]:
    """Return what it would do."""
    data, science, evaluation = run.path(*DATA), run.recipe.science, run.recipe.evaluation
    counted = data.is_file()
    pairs = parquet.read_metadata(data).num_rows if counted else science.test_size
    held_out = Planned(
        task=TASK,
        shots=None,
        metric="reward accuracy (length-controlled too), margin, loss",
        data="/".join(DATA),
        requests=0,
        note=f"{TASK}: {pairs:,} pairs, whose log-probabilities training leaves"
        + ("" if counted else ", if the data have no held-out split of their own"),
    )
    samples = min(evaluation.sample_answers, pairs)
    answers = Planned(
        task="samples",
        shots=None,
        metric="answers side by side",
        data="/".join(DATA),
        requests=2 * samples,
        note=f"samples: {samples} prompts, each answered by base and model",
        of_base=False,
    )
    return [held_out, *([answers] if samples else [])]


def measure(evaluating: Evaluating) -> dict[str, object]:
    """Write `heldout.json` and, unless the base is measured alone, `samples.jsonl`; return what to tell."""
    run, weights, reporter = evaluating.run, evaluating.subject.weights, evaluating.reporter
    pairs = _pairs(evaluating)
    each = columns(pairs, weights, run.recipe.science.beta)
    found = means(each)
    longer = float((pairs.lengths[:, 0] > pairs.lengths[:, 1]).mean())
    details: dict[str, Any] = {"pairs": len(pairs.sources), LONGER: longer, "bootstrap": _bootstrap()}
    said: dict[str, object] = {"held out": f"{len(pairs.sources)} pairs, {_told(found)}"}
    if weights != "base":
        controlled = length_controlled(each["accuracy"], pairs.lengths)
        if controlled.figure is not None:
            found["length_controlled_accuracy"] = controlled.figure
        by_source = per_source(pairs.sources, each)
        details |= {
            "by_source": by_source,
            "length_controlled": {
                kind: {"pairs": controlled.pairs[kind], "accuracy": controlled.accuracy[kind]}
                for kind in (LONGER, SHORTER)
            },
        }
        said["length-controlled"] = _told_length(controlled, longer)
        _show(by_source, reporter)
    content = figures(
        TASK,
        {name: (figure.value, figure.stderr) for name, figure in found.items()},
        samples=len(pairs.sources),
        version=VERSION,
        higher_is_better={"loss": False},
    )
    write_result(
        evaluating.out,
        TASK,
        content | {"config": {"limit": None}},  # of all pairs, whatever limit benchmarks have
        evaluating,
        by={"name": "Notus", "version": version("notus")},
        data={TASK: _data(run)},
        intervals={
            TASK: {f"{name},none": list(figure.bounds) for name, figure in found.items() if figure.bounds}
        },
        details=details,
    )
    if weights != "base" and run.recipe.evaluation.sample_answers:
        written = write_samples(evaluating, run.path(*DATA))
        cut = f", {written['cut']} answers cut" if written["cut"] else ""
        said["samples"] = f"{written['prompts']} prompts, answered by base and {weights}{cut}"
    return said


def columns(pairs: Pairs, weights: Weights, beta: float) -> dict[str, Values]:
    """Return what is averaged, pair by pair: float64 (rows,), by the name of the metric.

    Args:
        pairs: The pairs.
        weights: Whose: of the base alone there are no rewards.
        beta: The recipe's.
    """
    policy = pairs.policy.numpy()
    per_token = policy / np.maximum(1, pairs.lengths)
    found = {"likelier_per_token": (per_token[:, 0] > per_token[:, 1]).astype(np.float64)}
    of_policy = {name: each.numpy() for name, each in each_pair(pairs.policy, pairs.reference, beta).items()}
    if weights == "base":
        return {"likelier": of_policy["likelier"], **found}
    return {name: of_policy[name] for name in ("accuracy", "margin", "loss", "likelier")} | found


def means(each: Mapping[str, Values]) -> dict[str, Figure]:
    """Return the mean of each metric over some pairs, all by the same draws."""
    values = np.stack(list(each.values()), axis=1)
    found = zip(each, intervals(values), values.T, strict=True)
    return {
        name: Figure(interval.value, _stderr(of_pair), _bounds(interval)) for name, interval, of_pair in found
    }


def per_source(sources: Sequence[str | None], each: Mapping[str, Values]) -> list[dict[str, Any]]:
    """Return accuracy and margin of the pairs of each source, those with the most pairs first."""
    named = np.array(["" if source is None else source for source in sources])
    found = []
    for source in sorted(set(named.tolist())):
        here = named == source
        of_source = means({name: each[name][here] for name in ("accuracy", "margin")})
        plain = {name: figure.plain for name, figure in of_source.items()}
        found.append({"source": source or None, "pairs": int(here.sum()), **plain})
    return sorted(found, key=lambda one: -int(one["pairs"]))


def length_controlled(accuracy: Values, lengths: npt.NDArray[np.int64]) -> LengthControlled:
    """Return an accuracy as it would be if length said nothing.

    Args:
        accuracy: Of each pair, 1 or 0: float64 (rows,).
        lengths: Tokens of the answers, (rows, 2): chosen, rejected.
    """
    longer = (np.sign(lengths[:, 0] - lengths[:, 1]) + 1) / 2  # 1, 0, and 1/2 of two of equal length
    weighted = np.stack([longer * accuracy, longer, (1 - longer) * accuracy, 1 - longer], axis=1)
    pairs = {LONGER: int((longer == 1).sum()), SHORTER: int((longer == 0).sum())}
    with np.errstate(invalid="ignore"):  # 0 / 0: no such pair, or none in a draw
        sides = _sides(weighted.mean(0))
        drawn = _sides(resampled_means(weighted, RESAMPLES, SEED)).mean(-1)
    known = dict(
        zip((LONGER, SHORTER), (None if np.isnan(side) else float(side) for side in sides), strict=True)
    )
    figure = None
    if min(pairs.values()):
        drawn = drawn[~np.isnan(drawn)]
        enough = min(pairs.values()) >= ENOUGH
        tail = (1 - LEVEL) / 2
        interval = Interval(float(sides.mean()), *map(float, np.quantile(drawn, [tail, 1 - tail])))
        figure = Figure(
            interval.value, float(drawn.std()) if enough else None, _bounds(interval) if enough else None
        )
    return LengthControlled(figure, pairs, known)


def _sides(weighted: Values) -> Values:
    """Return the accuracies on both kinds of pair, (..., 2), of means of what `length_controlled` weights."""
    found: Values = weighted[..., [0, 2]] / weighted[..., [1, 3]]
    return found


def _pairs(evaluating: Evaluating) -> Pairs:
    """Return the pairs, and what the weights that are measured give to them."""
    run, reporter = evaluating.run, evaluating.reporter
    reference, policy = own_logps(run)
    if evaluating.subject.weights == "base":
        policy = reference
    if evaluating.subject.weights == "merged":
        policy = cross_logps(run, run.path(*DATA), evaluating.kept / "logps", TASK, reporter, merged=True)
    folder = load_inputs(run)["tokenizer"]["path"]
    rule = pair_tokenizer(load_tokenizer(folder), run.recipe.science)
    kept = KeptTokens(run.path("tokens"), folder, rule, run.recipe)
    rows, _ = kept.tokenized(run.path(*DATA), reporter)
    sources = parquet.read_table(run.path(*DATA), columns=["source"])["source"].to_pylist()
    return Pairs(sources, reference, policy, lengths_of(rows)[:, 1:])


def _data(run: Run) -> dict[str, str | None]:
    data = load_inputs(run)["data"]
    kind = "" if data["source"] == "hub" else f"{data['source']}:"
    return {"path": kind + data["name"], "config": None, "split": "heldout", "revision": data["revision"]}


def _stderr(values: Values) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _bounds(interval: Interval) -> Bounds:
    return None if interval.low == interval.high else (interval.low, interval.high)


def _bootstrap() -> dict[str, Any]:
    return {
        "resamples": RESAMPLES, "level": LEVEL, "seed": SEED, "of": "percentiles of the means over pairs drawn anew"
    }  # fmt: skip


def _told(found: Mapping[str, Figure]) -> str:
    names = {"accuracy": "reward accuracy", "margin": "margin", "likelier": "chosen likelier"}
    shown = ("accuracy", "margin") if "accuracy" in found else ("likelier",)
    return ", ".join(f"{names[name]} {found[name]}" for name in shown)


def _told_length(found: LengthControlled, longer: float) -> str:
    if found.figure is None:
        kind = "longer" if not found.pairs[LONGER] else "shorter"
        return f"no figure, as no chosen answer is the {kind} one"
    return f"reward accuracy {found.figure}; {longer:.0%} of the chosen answers are longer"


def _show(by_source: Sequence[Mapping[str, Any]], reporter: Reporter) -> None:
    def cell(figure: Sequence[float | None]) -> str:
        value, *bounds = (None if one is None else f"{one:.3f}" for one in figure)
        return f"{value} [{', '.join(map(str, bounds))}]" if None not in bounds else str(value)

    reporter.table(
        ("source", "pairs", "reward accuracy", "margin"),
        [
            (one["source"] or "(none)", one["pairs"], cell(one["accuracy"]), cell(one["margin"]))
            for one in by_source
        ],
    )
