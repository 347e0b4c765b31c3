"""Which candidates are tried, and which one stands in the table."""

import time
from collections.abc import Callable

import pytest

from benchmarks.contest import CAP, NO_TIME, SMALLER, Contest, Entry, Outcome, cannot_fit, entries, in_turn
from benchmarks.isolate import DoesNotFitError, UnfinishedError
from benchmarks.work import Mode, Result, Spent

SMALL, LARGE, LARGER = (Mode(f"packs of {budget}", "ours", budget=budget) for budget in (1, 2, 3))
TRL = Mode("TRL", "trl", micro_batch=1)


def result(pairs_per_second: float) -> Result:
    return Result([0.7], 10, 100, Spent(10 / pairs_per_second, 1), Spent(0, 0), 10, 0, 1, 1, 1, 1)


def outcomes(
    measure: Callable[[Mode, float], Result], *wanted: Entry, seconds: float = 100
) -> tuple[list[Outcome], list[tuple[str, str]]]:
    said: list[tuple[str, str]] = []
    contest = Contest(measure, time.monotonic() + seconds, lambda name, text: said.append((name, text)))
    return contest.run(wanted), said


def test_the_fastest_candidate_stands_in_the_table() -> None:
    speeds = {SMALL: 2.0, LARGE: 3.0, LARGER: 1.0}
    [outcome], said = outcomes(lambda mode, _: result(speeds[mode]), Entry("ours", tuple(speeds)))
    assert outcome.best is not None
    assert outcome.best.mode == LARGE
    assert outcome.best.pairs_per_second == pytest.approx(3.0)
    assert [name for name, text in said if text] == [mode.name for mode in speeds]


def test_a_reference_ahead_is_spread_over_three_epochs() -> None:
    found = Result([0.7], 10, 100, Spent(10, 20), Spent(6, 12), 20, 0, 1, 1, 1, 1)
    assert found.seconds_per_pair == pytest.approx(1 + 6 / 20 / 3)
    assert found.cpu_seconds_per_pair == pytest.approx(2 + 12 / 20 / 3)


def test_what_is_larger_than_what_did_not_fit_is_not_tried() -> None:
    tried = []

    def measure(mode: Mode, _: float) -> Result:
        tried.append(mode)
        if mode.budget >= 2:
            raise DoesNotFitError("does not fit")
        return result(1)

    capped = Mode(LARGE.name, "ours", budget=2, memory=CAP)
    [ours, other], _ = outcomes(
        measure, Entry("ours", (SMALL, LARGE, LARGER)), Entry("another", (TRL, capped))
    )
    assert tried == [SMALL, TRL, LARGE, capped]  # with other memory it is another question
    assert ours.reasons == {1: "does not fit", 2: SMALLER}
    assert other.reasons == {1: "does not fit"}
    assert ours.best is not None
    assert ours.best.mode == SMALL


def test_a_larger_one_may_fit_where_layers_are_recomputed_as_is_needed() -> None:
    first, second = (Mode("", "ours", budget=budget, checkpointing="auto") for budget in (1, 2))
    assert not cannot_fit(second, [first])
    assert cannot_fit(LARGE, [SMALL])


def test_one_that_fails_takes_nothing_along() -> None:
    def measure(mode: Mode, _: float) -> Result:
        if mode == TRL:
            raise UnfinishedError("failed: ValueError")
        return result(1)

    [trl, ours], _ = outcomes(measure, Entry("TRL", (TRL,)), Entry("ours", (SMALL,)))
    assert trl.best is None
    assert trl.reasons == {0: "failed: ValueError"}
    assert ours.best is not None


def test_nothing_begins_that_can_not_end_in_time() -> None:
    left = []

    def measure(_: Mode, seconds: float) -> Result:
        left.append(seconds)
        time.sleep(0.2)
        return result(1)

    [ours], _ = outcomes(measure, Entry("ours", (SMALL, LARGE, LARGER)), seconds=0.5)
    assert len(left) == 2
    assert left == sorted(left, reverse=True)
    assert left[0] <= 0.5
    assert ours.reasons == {2: NO_TIME}


def test_every_entry_has_its_turn_before_any_has_a_second() -> None:
    order = [
        (outcome.entry.name, place)
        for outcome, place in in_turn([*map(Outcome, entries(whole=True, fused=True))])
    ]
    first = order[: len(entries(whole=True, fused=True))]
    assert [place for _, place in first] == [0] * len(first)
    assert len(set(first)) == len(first)
    assert (
        len(order) == len(set(order)) == sum(len(one.candidates) for one in entries(whole=True, fused=True))
    )


def test_trl_has_each_of_its_settings() -> None:
    [best] = [one for one in entries(whole=False, fused=True) if one.name == "TRL, at its best"]
    settings = {(one.micro_batch, one.checkpointing, one.fused) for one in best.candidates}
    assert settings == {(size, again, fused) for size in (1, 2, 4) for again in (0, 1) for fused in (0, 1)}
    assert all(one.reference_once for one in best.candidates)


def test_all_but_the_whole_card_stay_under_the_cap() -> None:
    for entry in entries(whole=True, fused=True):
        assert {one.memory for one in entry.candidates} == {0 if "whole card" in entry.name else CAP}
        assert all(one.budget >= 4096 for one in entry.candidates if one.engine == "ours")


def test_without_liger_none_is_asked_for_and_without_more_memory_no_more_is_used() -> None:
    candidates = [one for entry in entries(whole=False, fused=False) for one in entry.candidates]
    assert not any(one.fused for one in candidates)
    assert {one.memory for one in candidates} == {CAP}
