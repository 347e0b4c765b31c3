"""What differs between the 2023 stack's side and ours, as figures; nothing here knows how either came about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch

from tests.parity.judge import Training

TOLERANCE = 1e-5
# A reward is the difference of two sums of log-probabilities that are a thousand times as large.
REWARDS_TOLERANCE = 5e-5
STEPS = 20


@dataclass(frozen=True)
class Finding:
    """A line of the table.

    Attributes:
        what: What was compared.
        compared: How many rows, steps or tensors.
        differ: How many of them differ, where they have to be equal.
        difference: The largest relative difference, where rounding is allowed.
        least: How many have to be compared.
        tolerance: What difference is rounding.
        first: The first row or step that differs, from 0.
    """

    what: str
    compared: int
    differ: int | None = None
    difference: float | None = None
    least: int = 1
    tolerance: float = TOLERANCE
    first: int | None = None

    @property
    def holds(self) -> bool:
        """Whether it is as wanted."""
        close = self.difference is None or self.difference <= self.tolerance  # false for nan
        return self.compared >= self.least and not self.differ and close


def compare_tokens(what: str, theirs: Sequence[Any], ours: Sequence[Any]) -> Finding:
    """Count the rows with any other token, mask or label; a row that one side lacks differs."""
    left = {row["row"]: row for row in theirs}
    right = {row["row"]: row for row in ours}
    differ = [
        number for number in sorted(left.keys() | right.keys()) if left.get(number) != right.get(number)
    ]
    return Finding(f"tokens: {what}", compared=len(left), differ=len(differ), first=min(differ, default=None))


def compare_schedules(what: str, theirs: Sequence[Sequence[int]], ours: Sequence[Sequence[int]]) -> Finding:
    """Count the optimizer steps that see other rows, or see them in another order."""
    both = enumerate(zip_longest(theirs, ours))
    differ = [
        step for step, (wanted, mine) in both if wanted is None or mine is None or list(wanted) != list(mine)
    ]
    return Finding(
        f"steps: {what}", compared=len(theirs), differ=len(differ), first=min(differ, default=None)
    )


def compare_steps(what: str, theirs: Sequence[Any], ours: Sequence[Any]) -> list[Finding]:
    """Compare two trainings step by step, by the largest relative difference of any step.

    Losses, learning rates and gradient norms: |ours - theirs| / |theirs|. Rewards, which pass through 0: over the
    largest reward of the run.
    """
    steps = min(len(theirs), len(ours))
    missing = abs(len(theirs) - len(ours))

    def both(key: str) -> tuple[list[float], list[float]]:
        return [step[key] for step in theirs[:steps]], [step[key] for step in ours[:steps]]

    rewards = [both(f"rewards/{side}") for side in ("chosen", "rejected")]
    largest = max(abs(value) for wanted, _ in rewards for value in wanted)
    figures: dict[str, float] = {
        "loss": _relative(*both("loss")),
        "rewards": max(_largest(*sides) for sides in rewards) / largest,
        "gradient norm": _relative(*both("grad_norm")),
        "learning rate": _relative(*both("learning_rate")),
    }
    return [
        Finding(
            f"{what}: {name}",
            steps,
            differ=missing,
            difference=figure,
            least=STEPS,
            tolerance=REWARDS_TOLERANCE if name == "rewards" else TOLERANCE,
        )
        for name, figure in figures.items()
    ]


def compare_gradients(theirs: Sequence[Any], ours: Sequence[Any]) -> list[float]:
    """Return the relative difference of the gradient norms, step by step."""
    return [
        abs(mine["grad_norm"] / wanted["grad_norm"] - 1) for wanted, mine in zip(theirs, ours, strict=True)
    ]


def compare_trainings(what: str, theirs: Training, ours: Training) -> list[Finding]:
    """Compare two trainings step by step, and the adapters that they end with and, where it is known, begin with.

    The adapter that training begins with has to be the same to the bit; of the one that it ends with, the norm of all
    that differs is taken over the norm of all.
    """
    findings = compare_steps(what, theirs.steps, ours.steps)
    if ours.initial is not None and theirs.initial is not None:
        unequal = _unequal(theirs.initial, ours.initial)
        findings.append(Finding(f"{what}: adapter before", compared=len(theirs.initial), differ=unequal))
    after = Finding(
        f"{what}: adapter after",
        compared=len(theirs.final),
        differ=len(theirs.final.keys() ^ ours.final.keys()),
        difference=_norm(_minus(theirs.final, ours.final)) / _norm(theirs.final),
    )
    return [*findings, after]


def _relative(wanted: Sequence[float], found: Sequence[float]) -> float:
    return max(
        (abs(ours - theirs) / (abs(theirs) or 1.0) for theirs, ours in zip(wanted, found, strict=True)),
        default=0,
    )


def _largest(wanted: Sequence[float], found: Sequence[float]) -> float:
    return max(abs(ours - theirs) for theirs, ours in zip(wanted, found, strict=True))


def _unequal(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> int:
    common = wanted.keys() & found.keys()
    return len(wanted.keys() ^ found.keys()) + sum(
        not torch.equal(wanted[name], found[name]) for name in common
    )


def _minus(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: one[name].double() - other[name].double() for name in one.keys() & other.keys()}


def _norm(tensors: Mapping[str, torch.Tensor]) -> float:
    return torch.stack([tensor.double().square().sum() for tensor in tensors.values()]).sum().sqrt().item()
