"""The win rate of alpaca_eval's annotations: as alpaca_eval computes it, and as it published it."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe.evaluate.chat.annotator import winrate as by_alpaca_eval
from recipe.evaluate.imports.alpaca import win_rate

PREFERENCES = st.lists(
    st.one_of(st.sampled_from([None, 0, 0.0, 1, 1.5, 2, 2.0]), st.floats(1, 2)), min_size=1, max_size=40
)


@given(PREFERENCES)
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore")  # pandas', of what it will do otherwise
def test_it_is_what_alpaca_eval_computes(preferences: list[float | None]) -> None:
    as_read = [math.nan if one is None else one for one in preferences]  # as pandas has null
    ours, theirs = win_rate(preferences), by_alpaca_eval([{"preference": one} for one in as_read])
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(float(value), rel=1e-12, abs=1e-12, nan_ok=True), name


def test_what_alpaca_eval_published_of_zephyr() -> None:
    """The counts are those of its annotations, the figures those of its leaderboard."""
    beta = win_rate([2.0] * 727 + [1.0] * 75 + [0.0] + [None] * 2)
    assert beta["win_rate"] == pytest.approx(90.5977584059776, rel=1e-13)
    assert beta["standard_error"] == pytest.approx(1.0287080531312012, rel=1e-13)
    assert (beta["n_wins"], beta["n_wins_base"], beta["n_draws"], beta["n_total"]) == (727, 75, 1, 803)
    alpha = win_rate([2.0] * 688 + [1.0] * 113 + [0.0] * 3 + [None])
    assert alpha["win_rate"] == pytest.approx(85.7587064676617, rel=1e-13)
    assert alpha["standard_error"] == pytest.approx(1.2285451680042003, rel=1e-13)


@given(PREFERENCES, st.randoms())
def test_to_swap_the_sides_is_to_swap_the_rates(preferences: list[float | None], draw: Any) -> None:
    found = win_rate(preferences)
    swapped = [one if one in (None, 0) else 3 - one for one in preferences]
    draw.shuffle(swapped)
    other = win_rate(swapped)
    assert other["n_total"] == found["n_total"] == sum(one is not None for one in preferences)
    if found["n_total"]:
        assert 0 <= found["win_rate"] <= 100
        assert other["win_rate"] == pytest.approx(100 - found["win_rate"], abs=1e-9)
        assert other["standard_error"] == pytest.approx(found["standard_error"], abs=1e-9, nan_ok=True)
        assert (other["n_wins"], other["n_draws"]) == (found["n_wins_base"], found["n_draws"])


def test_of_one_verdict_there_is_no_standard_error_and_of_none_no_rate() -> None:
    assert win_rate([2, None])["win_rate"] == 100
    assert math.isnan(win_rate([2, None])["standard_error"])
    assert math.isnan(win_rate([None])["win_rate"])
    assert win_rate([None])["n_total"] == 0
