"""How the pairs of a step lie: each once, budget held, as many micro-batches on every device, balanced."""

import math
import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe.packing import pack

Laid = list[list[list[int]]]
DEVICES = [1, 2, 4, 8]
BUDGETS = [1_200, 4_096, 16_384]


def realistic(seed: int, pairs: int = 512) -> list[int]:
    """Draw tokens of pairs as UltraFeedback has them: prompt, chosen and rejected by medians and means of theirs."""
    draw = random.Random(seed)
    shapes = [
        (math.log(median), math.sqrt(2 * math.log(mean / median)))
        for median, mean in ((114, 186), (228, 285), (208, 259))
    ]
    return [sum(min(512, math.ceil(draw.lognormvariate(*shape))) for shape in shapes) for _ in range(pairs)]


def loads(laid: Laid, lengths: Sequence[int]) -> list[list[int]]:
    """Return the tokens of every micro-batch, device by device."""
    return [[sum(lengths[pair] for pair in one) for one in device] for device in laid]


def check(laid: Laid, lengths: Sequence[int], budget: int, devices: int, *, held: bool = True) -> None:
    """Fail unless `laid` is what `pack` promises."""
    assert len(laid) == devices
    assert len({len(device) for device in laid}) == 1
    assert all(one for device in laid for one in device)
    assert sorted(pair for device in laid for one in device for pair in one) == list(range(len(lengths)))
    if held:
        for device, tokens in zip(laid, loads(laid, lengths), strict=True):
            assert all(len(one) == 1 or load <= budget for one, load in zip(device, tokens, strict=True))


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    budget=st.integers(1, 1_000),
    devices=st.integers(1, 8),
)
def test_every_pair_once_and_the_budget_held(lengths: list[int], budget: int, devices: int) -> None:
    lengths = lengths * devices  # a multiple of the devices
    laid = pack(lengths, budget, devices)
    check(laid, lengths, budget, devices)
    # One micro-batch a device fewer left some pair without room, so all of them were more than half full.
    fewer = (len(laid[0]) - 1) * devices
    assert fewer * budget <= 2 * sum(min(length, budget) for length in lengths)


@given(
    lengths=st.lists(st.integers(1, 300), min_size=8, max_size=60),
    budget=st.integers(1, 1_000),
    devices=st.integers(1, 8),
)
def test_pairs_that_are_no_multiple_of_the_devices(lengths: list[int], budget: int, devices: int) -> None:
    laid = pack(lengths, budget, devices)
    # Where every device has as many micro-batches as there are pairs for, the pairs left over share.
    crowded = len(laid[0]) == len(lengths) // devices and len(lengths) % devices > 0
    check(laid, lengths, budget, devices, held=not crowded)


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seed", range(3))
def test_real_lengths_are_dense_and_balanced(seed: int, budget: int, devices: int) -> None:
    lengths = realistic(seed)
    laid = pack(lengths, budget, devices)
    check(laid, lengths, budget, devices)
    least = math.ceil(sum(lengths) / budget / devices)
    assert len(laid[0]) <= 1.1 * least + 1
    totals = [sum(tokens) for tokens in loads(laid, lengths)]
    assert max(totals) <= 1.02 * min(totals)


def test_the_lengths_are_those_of_real_pairs() -> None:
    lengths = realistic(0, 10_000)
    assert sum(lengths) / len(lengths) == pytest.approx(670, rel=0.02)  # 730 without the cut at 512


def test_the_same_pairs_lie_the_same_way() -> None:
    lengths = [7, 7, 7, 3, 3, 7, 7, 3] * 8
    assert pack(lengths, 14, 4) == pack(tuple(lengths), 14, 4)


def test_a_case_by_hand() -> None:
    # Longest first into the lightest: 9 tokens, 7 + 1, 6 + 2, 5 + 4. Two of them to each device, 17 tokens.
    assert pack([1, 9, 4, 6, 2, 5, 7], 10, 2) == [[[1], [3, 4]], [[5, 2], [6, 0]]]


def test_a_pair_over_the_budget_lies_alone() -> None:
    assert pack([1_000, 10, 10], 100, 1) == [[[0], [1, 2]]]


def test_three_pairs_of_which_no_two_fit() -> None:
    assert pack([60, 60, 60], 100, 1) == [[[0], [1], [2]]]


def test_pairs_left_over_share_rather_than_leave_a_device_without() -> None:
    laid = pack([100] * 15, 100, 8)
    check(laid, [100] * 15, 200, 8)
    assert [len(device) for device in laid] == [1] * 8


def test_the_heaviest_micro_batches_come_first_everywhere() -> None:
    """Devices that wait for each other at every micro-batch wait for the likes of their own."""
    lengths = realistic(1)
    for tokens in loads(pack(lengths, 4_096, 4), lengths):
        assert tokens == sorted(tokens, reverse=True)


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("budget", [700, *BUDGETS])
def test_a_step_is_laid_in_no_time(budget: int, devices: int) -> None:
    lengths = realistic(2)
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        pack(lengths, budget, devices)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.05  # seconds


@pytest.mark.parametrize(("pairs", "devices"), [(0, 1), (3, 4), (7, 8)])
def test_fewer_pairs_than_devices_are_refused(pairs: int, devices: int) -> None:
    with pytest.raises(ValueError, match=f"{pairs} pairs can't be dealt to {devices} devices"):
        pack([10] * pairs, 100, devices)
