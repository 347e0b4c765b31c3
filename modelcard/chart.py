"""The benchmarks as a picture: figures in, the bytes of a PNG out, the same bytes for the same figures."""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelcard.curves import GRID, HELD_OUT, INK, PALE, TRAINING
from modelcard.evaluation.benchmarks import AVERAGE
from modelcard.evaluation.measured import Z_95, Measured, in_percent, is_headline, measured, metric_name
from modelcard.evaluation.table import BASE, OURS, name, published_name
from modelcard.facts import Facts
from modelcard.facts.scores import Score
from modelcard.words import joined
from recipe.evaluate.subject import Weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI, WIDTH = 150, 10.0
LANE, GAP = 0.135, 0.2
"""Inches: between the dots of a benchmark, and between benchmarks."""
COLORS = (TRAINING, HELD_OUT, "#6d5f9c", "#7a7168")
MARKERS = ("o", "o", "D", "s")
BAND = "#faf7f3"


@dataclass(frozen=True)
class Dot:
    """A figure, and half its 95% interval; both in percent. None: not known."""

    value: float
    half: float | None


@dataclass(frozen=True)
class Line:
    """A benchmark, and whose figures of it there are, by name."""

    name: str
    dots: dict[str, Dot]
    strong: bool = False


def lines_of(facts: Facts, kind: Weights) -> list[Line]:
    """Return what the picture of a repository's card shows: benchmarks or, without any, Notus's own small tasks.

    Nothing where there are fewer than two.
    """
    found = measured(facts.evaluation, kind)
    for sections in (("benchmarks", "chat"), ("smoke",)):
        lines = [line for one in sections if one in found for line in _lines(facts, found[one])]
        if len(lines) > 1:
            return lines
    return []


def draw_chart(lines: Sequence[Line]) -> bytes | None:
    """Return the PNG of the benchmarks, one below the other, a dot for each model that was measured; None of none."""
    if not lines:
        return None
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells where it keeps its fonts
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    models = _models(lines)
    each = LANE * len(models) + GAP
    # A user's own settings don't count: the same figures are the same picture.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
                "axes.edgecolor": GRID, "xtick.color": PALE, "ytick.color": INK, "axes.axisbelow": True,
            }
        )  # fmt: skip
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06)
        figure = Figure(figsize=(WIDTH, 0.85 + each * len(lines)), dpi=DPI, facecolor="white", layout=layout)
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        _draw(axes, lines, models, each)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, labelcolor=INK
        )
        out = io.BytesIO()
        # No version of the library within: it would be another picture for the same figures.
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def chart_alt(lines: Sequence[Line]) -> str:
    """Return what the picture shows, for who can't see it."""
    models = _models(lines)
    said = []
    for line in lines:
        base = f" (its base {line.dots[BASE].value:.2f})" if BASE in line.dots else ""
        said.append(f"{line.name} {line.dots[OURS].value:.2f}{base}")
    beside = f", beside {joined(models[1:])}" if models[1:] else ""
    return f"{len(lines)} lines with dots on a scale in percent, {OURS}{beside}: {'; '.join(said)}."


def _lines(facts: Facts, found: Measured) -> list[Line]:
    first = [score for score in found.ours if is_headline(score)]
    lines = []
    for score in first:
        if (dot := _dot(score)) is None:
            continue
        dots = {OURS: dot}
        if (base := found.of_base(score)) and (dot := _dot(base)):
            dots[BASE] = dot
        published = published_name(score)
        if facts.beside and published in facts.beside.benchmarks:
            models = (facts.beside.model, facts.beside.control)
            for model, value in zip(models, facts.beside.benchmarks[published], strict=True):
                dots[model.split("/")[-1]] = Dot(value, None)
        several = sum(one.task == score.task for one in first) > 1
        lines.append(
            Line(name(score) + (f", {metric_name(score)}" if several else ""), dots, score.task == AVERAGE)
        )
    return lines


def _dot(score: Score) -> Dot | None:
    percent = in_percent(score)
    if percent is None:
        return None
    value, stderr = percent
    return Dot(value, None if stderr is None else Z_95 * stderr)


def _models(lines: Sequence[Line]) -> list[str]:
    """Return whose figures there are: this model, its base, and the published ones."""
    every = list(dict.fromkeys(model for line in lines for model in line.dots))
    return sorted(every, key=lambda model: (OURS, BASE).index(model) if model in (OURS, BASE) else len(every))


def _draw(axes: "Axes", lines: Sequence[Line], models: Sequence[str], each: float) -> None:
    places = [each * place for place in range(len(lines))]
    reach = [edge for line in lines for dot in line.dots.values() for edge in (dot.value, *_within(dot))]
    right = min(100.0, max(reach) + 3)
    axes.set_ylim(places[-1] + each / 2, -each / 2)  # the first on top
    axes.set_xlim(min(0.0, *reach), right)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.tick_params(length=0)
    axes.set_yticks(places, [line.name for line in lines])
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if line.strong else "normal")
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g} %")
    for place in places[::2]:
        axes.axhspan(place - each / 2, place + each / 2, color=BAND, linewidth=0, zorder=0)
    if any(dot.half for line in lines for dot in line.dots.values()):
        axes.set_xlabel("lines are 95 % intervals", color=PALE, fontsize=9)
    for lane, model in enumerate(models):
        found = [
            (place + LANE * (lane - (len(models) - 1) / 2), line.dots[model])
            for place, line in zip(places, lines, strict=True)
            if model in line.dots
        ]
        at, dots = [place for place, _ in found], [dot for _, dot in found]
        first, filled = lane == 0, model in (OURS, BASE)
        if first:
            axes.hlines(
                at, 0, [dot.value for dot in dots], color=COLORS[lane], linewidth=3.2, alpha=0.2, zorder=2
            )
            for place, line in zip(places, lines, strict=True):
                axes.annotate(
                    f"{line.dots[OURS].value:.2f}", (1, place), (44, 0), xycoords=("axes fraction", "data"),
                    ha="right", va="center", textcoords="offset points", color=COLORS[lane], fontweight="bold",
                    fontsize=9.5,
                )  # fmt: skip
        axes.hlines(
            at, [_within(dot)[0] for dot in dots], [_within(dot)[1] for dot in dots], color=COLORS[lane],
            linewidth=1.8, zorder=7,  # through the dots' white edges
        )  # fmt: skip
        axes.plot(
            [dot.value for dot in dots], at, color=COLORS[lane], linewidth=0, marker=MARKERS[lane],
            markersize=7.5 if first else 6.5 if filled else 5.2, markeredgewidth=1.2, clip_on=False, zorder=6 - lane,
            markeredgecolor="white" if filled else COLORS[lane], markerfacecolor=COLORS[lane] if filled else "white",
            label=model if filled else f"{model}, as published",
        )  # fmt: skip


def _within(dot: Dot) -> tuple[float, float]:
    """Return the bounds of an interval, as far as there are such shares."""
    half = dot.half or 0.0
    return max(min(0.0, dot.value), dot.value - half), min(max(100.0, dot.value), dot.value + half)
