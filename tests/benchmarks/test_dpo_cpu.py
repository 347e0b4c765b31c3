"""Which of TRL's settings ours is compared with on a CPU."""

from benchmarks.dpo_cpu import AS_WRITTEN, at_best, finalists_of
from benchmarks.work import Measured, Mode, Result, Spent


def heat(mode: Mode, seconds: float, cpu_seconds: float) -> Measured:
    return Measured(mode, [Result([0.7], 4, 9, Spent(seconds, cpu_seconds), Spent(0, 0), 4, 0, 1, 0, 1, 2)])


def test_what_is_fastest_by_the_clock_or_by_the_cores_goes_on() -> None:
    one, two, four, *_ = at_best()
    slow = heat(four, 9, 18)
    assert finalists_of([slow, heat(one, 2, 4), heat(two, 3, 6)]) == [one]
    assert finalists_of([slow, heat(one, 2, 4), heat(two, 3, 3.9)]) == [one, two]


def test_trl_has_each_of_its_settings_and_its_reference_once() -> None:
    settings = [(one.micro_batch, one.checkpointing) for one in at_best()]
    assert sorted(settings) == [(size, again) for size in (1, 2, 4) for again in (False, True)]
    assert all(one.reference_once for one in at_best())
    assert (AS_WRITTEN.micro_batch, AS_WRITTEN.checkpointing, AS_WRITTEN.reference_once) == (2, True, False)
