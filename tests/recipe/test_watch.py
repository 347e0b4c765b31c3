"""The clock of a training."""

import pytest

from recipe.watch import Clock


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("recipe.watch.time.monotonic", lambda: now[0])
    return now


def test_it_measures_while_it_runs_and_not_while_it_is_paused(tick: list[float]) -> None:
    clock = Clock()
    tick[0] += 5
    assert clock.seconds == 0
    with clock.running():
        tick[0] += 3
        with clock.paused():
            tick[0] += 40
        tick[0] += 1
        assert (clock.seconds, clock.lap()) == (4, 4)
        tick[0] += 2
        assert (clock.lap(), clock.lap()) == (2, 0)
    tick[0] += 7
    assert clock.seconds == 6


def test_a_pause_of_what_does_not_run_starts_nothing(tick: list[float]) -> None:
    clock = Clock()
    with clock.paused():
        tick[0] += 1
    tick[0] += 1
    assert clock.seconds == 0
