"""What was trained, and what the held-out pairs said, before and after and in between."""

import json
from dataclasses import dataclass
from typing import Any

from pyarrow import compute, parquet

from modelcard.facts.missing import Artifact, missing, read_text
from recipe.run import Run


@dataclass(frozen=True)
class HeldOut:
    """What a policy does on the held-out pairs; loss in nats, rewards with beta."""

    pairs: int
    loss: float
    accuracy: float
    margin: float
    likelier: float


@dataclass(frozen=True)
class Rewards:
    """The mean rewards of chosen and rejected held-out answers after training."""

    chosen: float
    rejected: float


@dataclass(frozen=True)
class Cuts:
    """What truncation did to the training pairs."""

    prompts: int
    answers: int
    equal: int
    """Pairs whose answers are the same after it."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of a pair, on average: those computed, and what they would be laid out otherwise."""

    computed: float
    prompt_twice: float
    padded: float


@dataclass(frozen=True)
class Point:
    """One logged step."""

    step: int
    loss: float
    accuracy: float
    margin: float
    learning_rate: float | None
    """None of an evaluation."""


@dataclass(frozen=True)
class Curves:
    """What was logged while it trained, and of the held-out pairs: before, in between, and after."""

    steps: int
    training: tuple[Point, ...]
    heldout: tuple[Point, ...]
    """The first is the untrained model, whose margins are all 0, the last the trained one."""


@dataclass(frozen=True)
class Training:
    """What was trained, on what, and what the held-out pairs said."""

    science: dict[str, Any]
    steps: int
    epochs: float
    global_batch_size: int
    rows: int
    loss: float | None
    """Mean over the steps."""
    seconds: float
    pairs_per_second: float
    peak_memory_bytes: int
    peak_memory_of: str
    recomputed_every: int
    """One decoder layer in how many; 0: none."""
    tokens: Tokens
    cuts: Cuts
    before: HeldOut
    after: HeldOut
    rewards: Rewards
    curves: Curves


def read_training(run: Run) -> Training:
    """Read the facts of the training.

    Raises:
        MissingFactError: An artifact, or a fact in it, is not there.
    """
    metrics = Artifact(run, "training", "metrics.json")
    before, after = _heldout(metrics, "before"), _heldout(metrics, "after")
    return Training(
        science=run.recipe.science.canonical(),
        steps=metrics("steps"),
        epochs=metrics("epochs"),
        global_batch_size=metrics("global_batch_size"),
        rows=metrics("train_rows"),
        loss=metrics("train_loss"),
        seconds=metrics("train_seconds"),
        pairs_per_second=metrics("pairs_per_second"),
        peak_memory_bytes=metrics("peak_memory_bytes"),
        peak_memory_of=metrics("peak_memory_of"),
        recomputed_every=metrics("recomputed_every"),
        tokens=Tokens(*(metrics("tokens_a_pair", key) for key in ("computed", "prompt_twice", "padded"))),
        cuts=Cuts(
            *(metrics("tokens", "train", key) for key in ("prompts_cut", "answers_cut", "equal_after_cut"))
        ),
        before=before,
        after=after,
        rewards=_rewards(run),
        curves=_curves(run, metrics("steps"), before, after),
    )


def _heldout(metrics: Artifact, when: str) -> HeldOut:
    return HeldOut(*(metrics(when, key) for key in ("pairs", "loss", "accuracy", "margin", "likelier")))


def _rewards(run: Run) -> Rewards:
    path = run.path("training", "heldout.parquet")
    if not path.is_file():
        raise missing(path.name)
    table, beta = parquet.read_table(path), run.recipe.science.beta
    means = []
    for side in ("chosen", "rejected"):
        columns = [f"{who}_{side}_logps" for who in ("policy", "reference")]
        if absent := [name for name in columns if name not in table.column_names]:
            raise missing(absent[0], path.name)
        policy, reference = (table[name] for name in columns)
        means.append(beta * compute.mean(compute.subtract(policy, reference)).as_py())
    return Rewards(*means)


def _curves(run: Run, steps: int, before: HeldOut, after: HeldOut) -> Curves:
    """Return what `log.jsonl` has, and the figures of before and after; of a step the last evaluation counts."""
    lines = map(json.loads, read_text(run.path("training", "log.jsonl")).splitlines())
    training: dict[int, Point] = {}
    heldout = {0: Point(0, before.loss, before.accuracy, before.margin, None)}
    for line in lines:
        if "eval_loss" in line:
            heldout[line["step"]] = _point(line, "eval_")
        elif "loss" in line:
            training[line["step"]] = _point(line)
    heldout[steps] = Point(steps, after.loss, after.accuracy, after.margin, None)
    return Curves(steps, tuple(training.values()), tuple(heldout[step] for step in sorted(heldout)))


def _point(line: dict[str, Any], prefix: str = "") -> Point:
    names = ("loss", "rewards/accuracies", "rewards/margins")
    for name in names:
        if prefix + name not in line:
            raise missing(prefix + name, "log.jsonl")
    loss, accuracy, margin = (line[prefix + name] for name in names)
    return Point(line["step"], loss, accuracy, margin, line.get("learning_rate"))
