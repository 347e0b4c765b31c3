"""Which rows each optimizer step sees: the order that the 2023 stack had, spelled out here a second time."""

from collections import Counter
from collections.abc import Iterable

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from recipe.load import load_recipe
from recipe.schedule import UNSEEDED, Place, Schedule, schedule_of
from recipe.schema import Science

NOTUS = load_recipe("notus-7b-v1-lora").science
ROWS = 61_619


def science(**keys: int) -> Science:
    """Return Notus's science with some keys changed."""
    return Science.model_validate(NOTUS.model_dump() | keys)


def epoch_orders(rows: int, epochs: int) -> list[list[int]]:
    """Return each epoch's permutation on several processes: of the two that are drawn an epoch, the first."""
    generator = torch.Generator().manual_seed(67280421310721)
    drawn = [torch.randperm(rows, generator=generator).tolist() for _ in range(2 * epochs)]
    return drawn[::2]


def loaded_alone(rows: int, batch: int, seed: int, epochs: int) -> list[list[list[int]]]:
    """Return each epoch's micro-batches on one process: what torch's own loader yields under the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loader: Iterable[list[int]] = DataLoader(
            range(rows),  # type: ignore[arg-type]
            batch,
            sampler=RandomSampler(range(rows)),
            collate_fn=list,
        )
        return [list(loader) for _ in range(epochs)]


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


def in_optimizer_steps(epochs: list[list[list[int]]], accumulation: int, steps: int) -> list[list[list[int]]]:
    """Return the rounds of each optimizer step, as Transformers 4.35's loop takes them from the epochs.

    The count of rounds runs across epoch ends; where an epoch has no more rounds than a step takes, its last one
    ends a step as well.
    """
    found: list[list[list[int]]] = []
    taken: list[list[int]] = []
    total_batched_samples = 0
    for rounds in epochs:
        for place, rows in enumerate(rounds):
            total_batched_samples += 1
            taken.append(rows)
            is_last_step_and_steps_less_than_grad_acc = len(rounds) <= accumulation and (place + 1) == len(
                rounds
            )
            if total_batched_samples % accumulation == 0 or is_last_step_and_steps_less_than_grad_acc:
                found.append(taken)
                taken = []
    assert len(found) >= steps
    return found[:steps]


def rounds_of(rows: int, batch: int, ranks: int, seed: int, epochs: int) -> list[list[list[int]]]:
    """Return each epoch's rounds: one micro-batch of every process."""
    if ranks == 1:
        return loaded_alone(rows, batch, seed, epochs)
    return [
        [[row for part in turn for row in part] for turn in zip(*dealt(order, batch, ranks), strict=True)]
        for order in epoch_orders(rows, epochs)
    ]


def flat(steps: list[list[list[int]]]) -> list[list[int]]:
    return [[row for rounds in step for row in rounds] for step in steps]


def test_an_unseeded_generator_starts_where_we_say() -> None:
    assert torch.Generator().initial_seed() == UNSEEDED == 67280421310721


def test_notus_has_360_steps_of_512_pairs() -> None:
    schedule = schedule_of(NOTUS, ROWS)
    assert schedule.global_batch_size == 512
    assert schedule.steps_per_epoch == 120
    assert schedule.steps == 360


def test_notus_sees_the_rows_of_2023() -> None:
    rounds = rounds_of(ROWS, 2, 8, 42, 3)
    assert len(rounds[0]) == 3_852
    expected = in_optimizer_steps(rounds, 32, 360)
    assert {len(step) for step in expected} == {32}
    assert schedule_of(NOTUS, ROWS).step_rows() == flat(expected)


def test_a_step_takes_the_micro_batches_that_the_epoch_before_left_over() -> None:
    first, second, _ = epoch_orders(ROWS, 3)
    steps = schedule_of(NOTUS, ROWS).step_rows()
    used = 120 * 512
    left = first[used:] + first[: -ROWS % 16]  # 12 rounds of 16 pairs, the last one filled
    assert len(left) == 12 * 16
    assert steps[120] == left + second[: 512 - len(left)]


def test_training_stops_before_the_last_epoch_is_through() -> None:
    schedule = schedule_of(NOTUS, ROWS)
    assert schedule.step_ends()[-1] == 11_520
    assert schedule.rounds_per_epoch == 3_852
    assert round(schedule.epochs_after(360), 4) == 2.9907
    assert schedule.epochs_after(0) == 0.0
    assert schedule.epochs_after(120) == 3_840 / 3_852


def test_no_pair_of_notus_weighs_more_than_another() -> None:
    places = schedule_of(NOTUS, ROWS).places()
    assert len(places) == 360 * 512
    assert {place.weight for place in places} == {1.0}
    flat_rows = [row for step in schedule_of(NOTUS, ROWS).step_rows() for row in step]
    assert [place.row for place in places] == flat_rows


def alone(**keys: int) -> Science:
    """Return Notus's science for one process, 512 pairs an optimizer step still."""
    return science(**{"num_processes": 1, "gradient_accumulation_steps": 256} | keys)


def test_the_seed_plays_no_part_on_several_processes_and_does_on_one() -> None:
    several = [schedule_of(science(seed=seed, max_steps=1), 1000).step_rows() for seed in (1, 2)]
    assert several[0] == several[1]
    one = [schedule_of(alone(seed=seed, max_steps=1), 1000).step_rows() for seed in (1, 2)]
    assert one[0] != one[1]
    assert one[0][0] == [row for rows in loaded_alone(1000, 2, 1, 1)[0][:256] for row in rows]


def test_one_process_has_the_order_of_the_loader_epoch_after_epoch() -> None:
    # 501 micro-batches an epoch, the last one of a single pair; 256 a step.
    schedule = schedule_of(alone(seed=42, num_train_epochs=3), 1001)
    expected = in_optimizer_steps(loaded_alone(1001, 2, 42, 3), 256, 3)
    assert schedule.step_rows() == flat(expected)
    assert [len(step) for step in schedule.step_rows()] == [512, 511, 512]
    assert schedule.step_rows()[0] != schedule.step_rows()[2]


def test_the_order_leaves_torchs_own_generator_alone() -> None:
    before = torch.random.get_rng_state()
    for one in (alone(), NOTUS):
        schedule_of(one, 1000).places()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("max_steps", "steps"), [(-1, 360), (0, 360), (1, 1), (500, 500)])
def test_max_steps_wins_over_epochs(max_steps: int, steps: int) -> None:
    schedule = schedule_of(science(max_steps=max_steps), ROWS)
    assert schedule.steps == steps
    assert schedule.steps_per_epoch == 120


# A step that is not full


def test_the_pairs_of_a_short_micro_batch_weigh_more() -> None:
    # 5 rows in micro-batches of 2: the third one's only pair is its whole mean.
    schedule = Schedule(rows=5, batch_size=2, accumulation=2, processes=1, steps=2, seed=0)
    (a, b), (c, d), (e,) = loaded_alone(5, 2, 0, 1)[0]
    second = loaded_alone(5, 2, 0, 2)[1]
    assert schedule.step_rows() == [[a, b, c, d], [e, *second[0]]]
    assert schedule.places() == [
        *(Place(row, 1.0) for row in (a, b, c, d)),
        Place(e, 2.0),
        Place(e, 0.0),
        *(Place(row, 1.0) for row in second[0]),
    ]


def test_an_epoch_of_fewer_micro_batches_than_a_step_takes_ends_a_step() -> None:
    # 3 micro-batches an epoch, 5 a step: the count to 5 goes on across the epochs, whose ends are steps too.
    schedule = Schedule(rows=3, batch_size=1, accumulation=5, processes=1, steps=5, seed=0)
    assert [len(step) for step in schedule.step_rows()] == [3, 2, 1, 3, 1]
    assert schedule.step_ends() == [3, 5, 6, 9, 10]
    assert [schedule.epochs_after(step) for step in (1, 3, 4)] == [1.0, 2.0, 3.0]
    places = schedule.places()
    assert len(places) == 5 * 5
    assert [place.weight for place in places[:5]] == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_an_epoch_of_as_many_micro_batches_as_a_step_takes_is_a_step() -> None:
    schedule = Schedule(rows=6, batch_size=2, accumulation=3, processes=1, steps=2, seed=0)
    assert [sorted(step) for step in schedule.step_rows()] == [list(range(6))] * 2
    assert {place.weight for place in schedule.places()} == {1.0}


def test_fewer_rows_than_a_step() -> None:
    schedule = schedule_of(NOTUS, 100)  # 7 rounds of 16 an epoch, of the 32 that a step takes
    assert (schedule.steps_per_epoch, schedule.steps) == (1, 3)
    steps = schedule.step_rows()
    assert [len(step) for step in steps] == [7 * 16] * 3
    assert set(steps[0]) == set(range(100))
    assert len(schedule.places()) == 3 * 512


SMALL = {
    "rows": st.integers(1, 40),
    "batch": st.integers(1, 4),
    "accumulation": st.integers(1, 5),
    "ranks": st.integers(1, 4),
    "epochs": st.integers(1, 3),
    "seed": st.integers(0, 3),
}


def small_schedule(
    rows: int, batch: int, accumulation: int, ranks: int, epochs: int, seed: int
) -> tuple[Schedule, list[list[list[int]]]]:
    """Return a schedule, and the rounds of each of its steps as 2023 had them."""
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
    rounds = rounds_of(rows, batch, ranks, seed, epochs)
    return schedule, in_optimizer_steps(rounds, accumulation, schedule.steps)


@given(**SMALL)
@settings(max_examples=200, deadline=None)
def test_small_schedules_are_those_of_2023(**small: int) -> None:
    schedule, expected = small_schedule(**small)
    assert schedule.step_rows() == flat(expected)
    done = 0
    for step, rounds in enumerate(expected, 1):
        done += len(rounds)
        assert schedule.step_ends()[step - 1] == done
        assert schedule.epochs_after(step) == done / schedule.rounds_per_epoch


@given(**SMALL)
@settings(max_examples=200, deadline=None)
def test_a_step_s_weighted_mean_is_the_mean_of_its_micro_batches_means(**small: int) -> None:
    schedule, expected = small_schedule(**small)
    places, size = schedule.places(), schedule.global_batch_size
    assert len(places) == schedule.steps * size
    losses = torch.rand(schedule.rows, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step, rounds in enumerate(expected):
        here = places[step * size : (step + 1) * size]
        weighted = sum(place.weight * losses[place.row].item() for place in here) / size
        # As Accelerate has it: each micro-batch's mean, divided by the accumulation however many there are.
        meant = sum(losses[rows].mean().item() for rows in rounds) / small["accumulation"]
        assert weighted == pytest.approx(meant)
        assert sum(place.weight for place in here) == pytest.approx(len(rounds) * schedule.round_size)
        assert [place.row for place in here if place.weight] == flat([rounds])[0]


@given(rows=SMALL["rows"], batch=SMALL["batch"], ranks=st.integers(2, 4))
@settings(max_examples=100, deadline=None)
def test_an_epoch_is_what_accelerate_deals_to_its_processes(rows: int, batch: int, ranks: int) -> None:
    # BatchSamplerShard and RandomSampler are still as they were in 2023: the real thing, for two epochs.
    generator = torch.Generator()
    sampler = RandomSampler(range(rows), generator=generator)
    state = generator.get_state()
    expected: list[list[int]] = []
    for _ in range(2):
        shards = []
        for rank in range(ranks):
            generator.set_state(state)  # every process has a generator of its own, in the same state
            shards.append(list(BatchSamplerShard(BatchSampler(sampler, batch, False), ranks, rank)))
        state = generator.get_state()
        expected += [[row for part in turn for row in part] for turn in zip(*shards, strict=True)]
    schedule = Schedule(rows, batch, accumulation=1, processes=ranks, steps=len(expected), seed=0)
    assert schedule.step_rows() == expected


@given(**SMALL)
@settings(max_examples=100, deadline=None)
def test_no_row_is_seen_twice_before_all_are_seen_once(
    rows: int, batch: int, accumulation: int, ranks: int, epochs: int, seed: int
) -> None:
    schedule = Schedule(rows, batch, accumulation, ranks, steps=epochs, seed=seed)
    ids = [row for step in schedule.step_rows() for row in step]
    assert set(ids[:rows]) == set(range(min(rows, len(ids)))) or len(ids) < rows
    assert max(Counter(ids[:rows]).values()) == 1
