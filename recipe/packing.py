"""Execution: how the pairs of one optimizer step lie on the devices, in micro-batches under a token budget.

Where a pair lies changes no gradient but by rounding: a step's loss is a sum over its pairs.
"""

import heapq
import math
from collections.abc import Sequence

Pack = list[int]
"""The pairs of one micro-batch, by their place in the optimizer step."""


def pack(lengths: Sequence[int], budget: int, devices: int) -> list[list[Pack]]:
    """Lay the pairs of one optimizer step into micro-batches.

    Longest first, each into the lightest micro-batch; there are as few of them as hold the budget so. The micro-batches
    then go to the devices in the same way.

    Args:
        lengths: Tokens of each pair: its prompt once, and both answers. At least as many pairs as devices.
        budget: Tokens of a micro-batch. A pair that is longer has one to itself. Where the pairs are no multiple of
            the devices, and too few to hold the budget everywhere, some share one and exceed it.
        devices: How many there are.

    Returns:
        For each device its micro-batches, the same number everywhere, none empty, each pair in exactly one.

    Raises:
        ValueError: There are fewer pairs than devices.
    """
    if len(lengths) < devices:
        raise ValueError(f"{len(lengths)} pairs can't be dealt to {devices} devices")
    # No fewer can do: of pairs longer than half of the budget each needs its own.
    filled = sum(min(length, budget) for length in lengths) / budget
    least = max(filled, sum(2 * length > budget for length in lengths))
    most = len(lengths) // devices
    for each in range(min(math.ceil(least / devices), most), most + 1):
        packs = _filled(lengths, each * devices)
        if all(len(one) == 1 or _tokens(one, lengths) <= budget for one in packs):
            break
    return _dealt(packs, lengths, devices)


def _filled(lengths: Sequence[int], count: int) -> list[Pack]:
    """Return `count` micro-batches: longest first, each pair into the lightest."""
    packs: list[Pack] = [[] for _ in range(count)]
    loads = [(0, number) for number in range(count)]  # a heap
    for pair in sorted(range(len(lengths)), key=lambda pair: (-lengths[pair], pair)):
        load, number = loads[0]
        packs[number].append(pair)
        heapq.heapreplace(loads, (load + lengths[pair], number))
    return packs


def _dealt(packs: list[Pack], lengths: Sequence[int], devices: int) -> list[list[Pack]]:
    """Give each device as many micro-batches, heaviest first, each to the lightest device that lacks one."""
    dealt: list[list[Pack]] = [[] for _ in range(devices)]
    totals = [0] * devices
    for one in sorted(packs, key=lambda one: (-_tokens(one, lengths), one)):
        lacking = [device for device in range(devices) if len(dealt[device]) < len(packs) // devices]
        device = min(lacking, key=lambda device: totals[device])
        dealt[device].append(one)
        totals[device] += _tokens(one, lengths)
    return dealt


def _tokens(one: Pack, lengths: Sequence[int]) -> int:
    return sum(lengths[pair] for pair in one)
