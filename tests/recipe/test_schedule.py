"""Which rows each optimizer step sees: the order that the 2023 stack had, spelled out here a second time."""

from collections import Counter

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, RandomSampler

from recipe.load import load_recipe
from recipe.schedule import UNSEEDED, Schedule, schedule_of
from recipe.schema import Science

NOTUS = load_recipe("notus-7b-v1-lora").science
ROWS = 61_619


def science(**keys: int) -> Science:
    """Return Notus's science with some keys changed."""
    return Science.model_validate(NOTUS.model_dump() | keys)


def epoch_orders(rows: int, seed: int, epochs: int) -> list[list[int]]:
    """Return each epoch's permutation: of the two that are drawn an epoch, the first."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randperm(rows, generator=generator).tolist() for _ in range(2 * epochs)]
    return drawn[::2]


def dealt(order: list[int], batch: int, ranks: int) -> list[list[list[int]]]:
    """Deal an epoch to the ranks, batch by batch in turn. Returns each rank's micro-batches.

    Where the last round lacks rows, it goes on with the epoch's first ones, again and again if need be.
    """
    order = list(order)
    beginning = list(order)
    while len(order) % (batch * ranks):
        order.append(beginning[len(order) % len(beginning)])
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    return [batches[rank::ranks] for rank in range(ranks)]


def steps_of_2023(
    orders: list[list[int]], batch: int, ranks: int, accumulation: int, steps: int
) -> list[list[int]]:
    """Return the rows of each optimizer step: every rank counts its micro-batches on across epoch ends."""
    queues: list[list[list[int]]] = [[] for _ in range(ranks)]
    for order in orders:
        for queue, micro_batches in zip(queues, dealt(order, batch, ranks), strict=True):
            queue.extend(micro_batches)
    return [
        [
            row
            for count in range(step * accumulation, (step + 1) * accumulation)
            for queue in queues
            for row in queue[count]
        ]
        for step in range(steps)
    ]


def in_steps(schedule: Schedule) -> list[list[int]]:
    ids, size = schedule.row_ids(), schedule.global_batch_size
    assert len(ids) == schedule.steps * size
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def test_an_unseeded_generator_starts_where_we_say() -> None:
    assert torch.Generator().initial_seed() == UNSEEDED == 67280421310721


def test_notus_has_360_steps_of_512_pairs() -> None:
    schedule = schedule_of(NOTUS, ROWS)
    assert schedule.global_batch_size == 512
    assert schedule.steps_per_epoch == 120
    assert schedule.steps == 360


def test_notus_sees_the_rows_of_2023() -> None:
    orders = epoch_orders(ROWS, 67280421310721, 3)
    assert len(dealt(orders[0], 2, 8)[0]) == 3_852
    expected = steps_of_2023(orders, batch=2, ranks=8, accumulation=32, steps=360)
    assert in_steps(schedule_of(NOTUS, ROWS)) == expected


def test_a_step_takes_the_micro_batches_that_the_epoch_before_left_over() -> None:
    first, second, _ = epoch_orders(ROWS, UNSEEDED, 3)
    steps = in_steps(schedule_of(NOTUS, ROWS))
    used = 120 * 512
    left = first[used:] + first[: -ROWS % 16]  # 12 rounds of 16 pairs, the last one filled
    assert len(left) == 12 * 16
    assert steps[120] == left + second[: 512 - len(left)]


def test_the_seed_plays_no_part_on_several_processes_and_does_on_one() -> None:
    several = [schedule_of(science(seed=seed, max_steps=1), 1000).row_ids() for seed in (1, 2)]
    assert several[0] == several[1]
    one = [
        schedule_of(
            science(seed=seed, max_steps=1, num_processes=1, gradient_accumulation_steps=256), 1000
        ).row_ids()
        for seed in (1, 2)
    ]
    assert one[0] != one[1]
    assert one[0] == epoch_orders(1000, 1, 1)[0][:512]


@pytest.mark.parametrize(("max_steps", "steps"), [(-1, 360), (0, 360), (1, 1), (500, 500)])
def test_max_steps_wins_over_epochs(max_steps: int, steps: int) -> None:
    schedule = schedule_of(science(max_steps=max_steps), ROWS)
    assert schedule.steps == steps
    assert schedule.steps_per_epoch == 120


def test_fewer_rows_than_a_step_are_taken_again() -> None:
    schedule = schedule_of(NOTUS, 100)
    assert schedule.steps_per_epoch == 1
    assert schedule.steps == 3
    assert set(in_steps(schedule)[0]) == set(range(100))


SMALL = {
    "rows": st.integers(1, 40),
    "batch": st.integers(1, 4),
    "accumulation": st.integers(1, 5),
    "ranks": st.integers(1, 4),
    "epochs": st.integers(1, 3),
}


@given(**SMALL, seed=st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_small_schedules_are_those_of_2023(
    rows: int, batch: int, accumulation: int, ranks: int, epochs: int, seed: int
) -> None:
    small = science(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_processes=ranks,
        num_train_epochs=epochs,
        seed=seed,
    )
    schedule = schedule_of(small, rows)
    micro_batches = -(-rows // (batch * ranks))
    assert schedule.steps == epochs * max(1, micro_batches // accumulation)
    enough = schedule.steps * accumulation // micro_batches + 1
    orders = epoch_orders(rows, UNSEEDED if ranks > 1 else seed, enough)
    assert in_steps(schedule) == steps_of_2023(orders, batch, ranks, accumulation, schedule.steps)


@given(rows=SMALL["rows"], batch=SMALL["batch"], ranks=st.integers(2, 4))
@settings(max_examples=100, deadline=None)
def test_an_epoch_is_what_accelerate_deals_to_its_processes(rows: int, batch: int, ranks: int) -> None:
    # BatchSamplerShard and RandomSampler are still as they were in 2023: the real thing, for two epochs.
    generator = torch.Generator()
    sampler = RandomSampler(range(rows), generator=generator)
    state = generator.get_state()
    expected: list[int] = []
    for _ in range(2):
        shards = []
        for rank in range(ranks):
            generator.set_state(state)  # every process has a generator of its own, in the same state
            shards.append(list(BatchSamplerShard(BatchSampler(sampler, batch, False), ranks, rank)))
        state = generator.get_state()
        expected += [row for turn in zip(*shards, strict=True) for part in turn for row in part]
    rounds = len(expected) // (batch * ranks)
    schedule = Schedule(rows, batch, accumulation=1, processes=ranks, steps=rounds, seed=0)
    assert schedule.row_ids() == expected


@given(**SMALL)
@settings(max_examples=100, deadline=None)
def test_no_row_is_seen_twice_before_all_are_seen_once(
    rows: int, batch: int, accumulation: int, ranks: int, epochs: int
) -> None:
    schedule = Schedule(rows, batch, accumulation, ranks, steps=epochs, seed=0)
    ids = schedule.row_ids()
    assert set(ids[:rows]) == set(range(min(rows, len(ids)))) or len(ids) < rows
    assert max(Counter(ids[:rows]).values()) == 1
