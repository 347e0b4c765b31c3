"""Training curves: the same picture for the same figures, and nothing of who drew it within."""

import struct
from dataclasses import replace

import pytest

from modelcard.curves import curves_alt, draw_curves, label, smoothed
from modelcard.facts.training import Curves, Point

CURVES = Curves(
    steps=40,
    training=tuple(Point(step, 0.7 - step / 100, step / 40, step / 50, 1e-6 * step) for step in range(1, 41)),
    heldout=(
        Point(0, 0.6931, 0.0, 0.0, None),
        Point(20, 0.5, 0.7, 0.4, None),
        Point(40, 0.4, 0.81, 0.6, None),
    ),
)


def chunks(png: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8])
        at += 12 + size
    return found


def test_the_same_figures_are_the_same_bytes() -> None:
    first = draw_curves(CURVES)
    assert first is not None
    assert first == draw_curves(CURVES)
    for changed in (
        replace(CURVES, heldout=CURVES.heldout[::2]),
        replace(CURVES, training=(replace(CURVES.training[0], margin=0.5), *CURVES.training[1:])),
    ):
        assert draw_curves(changed) != first


def test_the_picture_says_nothing_of_who_drew_it() -> None:
    png = draw_curves(CURVES)
    assert png is not None
    assert set(chunks(png)) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert len(png) < 300_000


def test_too_few_steps_make_no_curve() -> None:
    assert draw_curves(replace(CURVES, training=CURVES.training[:1])) is None
    assert draw_curves(replace(CURVES, training=CURVES.training[:2])) is not None


def test_a_diverged_run_is_drawn() -> None:
    broken = replace(CURVES.training[-1], loss=float("nan"), margin=float("inf"))
    assert draw_curves(replace(CURVES, training=(*CURVES.training[:-1], broken))) is not None


def test_the_text_has_the_picture_s_figures() -> None:
    said = curves_alt(CURVES)
    assert "40 optimizer steps" in said
    assert "loss goes from 0.6931 to 0.4000" in said
    assert "ends at 0.810" in said


def test_a_smoothed_curve_is_the_mean_of_what_was_before() -> None:
    assert smoothed([1.0, 3.0, 5.0, 7.0], 2) == [1.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("tick", "text"),
    [(0.0, "0"), (0.65, "0.65"), (8e-4, "8e-4"), (5e-7, "5e-7"), (-0.2, "-0.2"), (2.5e-6, "2.5e-6")],
)
def test_ticks_are_short(tick: float, text: str) -> None:
    assert label(tick) == text
