"""The benchmarks as a picture: figures in, the bytes of a PNG out, the same bytes for the same figures."""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelcard.curves import GRID, HELD_OUT, INK, PALE, TRAINING
from modelcard.evaluation.benchmarks import AVERAGE, TITLES
from modelcard.evaluation.measured import Z_95, Measured, in_percent, is_headline, measured
from modelcard.evaluation.table import BASE, OURS, name, published_name
from modelcard.facts import Facts
from modelcard.facts.scores import Score
from recipe.evaluate.subject import Weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI, WIDTH = 150, 10.0
LANE, GAP = 0.17, 0.24
"""Inches: between the dots of a benchmark, and between benchmarks."""
MOST = 14  # more benchmarks than a picture can have
COLORS = (TRAINING, HELD_OUT, "#6d5f9c", "#7a7168")
MARKERS = ("o", "o", "D", "s")


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


def lines_of(facts: Facts, kind: Weights) -> list[Line]:
    """Return what the picture of a repository's card shows: benchmarks or, without any, Notus's own small tasks.

    Nothing where there are fewer than two.
    """
    found = measured(facts.evaluation, kind)
    for sections in (("benchmarks", "chat"), ("smoke",)):
        lines = [line for one in sections if one in found for line in _lines(facts, found[one])]
        if len(lines) > 1:
            return lines[:MOST]
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
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=(WIDTH, 1.15 + each * len(lines)), dpi=DPI, facecolor="white", layout=layout)
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
        first, *others = [(model, line.dots[model].value) for model in models if model in line.dots]
        beside = ", ".join(f"{model} {value:.2f}" for model, value in others)
        said.append(f"{line.name} {first[1]:.2f}" + (f" ({beside})" if beside else ""))
    whose = f"{OURS}, beside it {', '.join(models[1:])}" if len(models) > 1 else OURS
    return f"{len(lines)} benchmarks as dots on a scale in percent, of {whose}: {'; '.join(said)}."


def _lines(facts: Facts, found: Measured) -> list[Line]:
    lines = []
    for score in found.ours:
        shown = is_headline(score) if score.task != "alpaca_eval" else score.metric == "win_rate"
        if not shown or (dot := _dot(score)) is None:
            continue
        dots = {OURS: dot}
        if (base := found.of_base(score)) and (dot := _dot(base)):
            dots[BASE] = dot
        published = published_name(score)
        if facts.beside and published in facts.beside.benchmarks:
            models = (facts.beside.model, facts.beside.control)
            for model, value in zip(models, facts.beside.benchmarks[published], strict=True):
                dots[model.split("/")[-1]] = Dot(value, None)
        several = sum(one.task == score.task for one in found.ours if is_headline(one)) > 1
        lines.append(Line(name(score) + (f", {score.metric}" if several else ""), dots))
    return lines


def _dot(score: Score) -> Dot | None:
    percent = in_percent(score)
    if percent is None:
        return None
    value, stderr = percent
    return Dot(value, None if stderr is None else Z_95 * stderr)


def _models(lines: Sequence[Line]) -> list[str]:
    """Return whose figures there are: this model, its base, and the published ones."""
    return list(
        dict.fromkeys(
            model
            for wanted in (OURS, BASE, None)
            for line in lines
            for model in line.dots
            if wanted in (model, None)
        )
    )


def _draw(axes: "Axes", lines: Sequence[Line], models: Sequence[str], each: float) -> None:
    middle = (len(models) - 1) / 2
    places = [each * place for place in range(len(lines))]
    dots = [dot for line in lines for dot in line.dots.values()]
    low = min(dot.value - (dot.half or 0) for dot in dots)
    high = max(dot.value + (dot.half or 0) for dot in dots)
    axes.set_ylim(places[-1] + each / 2, -each / 2)  # the first on top
    axes.set_xlim(min(0, low), min(100, high + 4) if low >= 0 else high + 4)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.tick_params(length=0)
    axes.set_yticks(places, [line.name for line in lines])
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if line.name == TITLES[AVERAGE] else "normal")
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g} %")
    for lane, model in enumerate(models):
        found = [
            (place, line.dots[model]) for place, line in zip(places, lines, strict=True) if model in line.dots
        ]
        at = [place + LANE * (lane - middle) for place, _ in found]
        values = [dot.value for _, dot in found]
        halves = [dot.half or 0.0 for _, dot in found]
        axes.hlines(at, 0, values, color=COLORS[lane], linewidth=1.1, alpha=0.22, zorder=2)
        axes.errorbar(
            values, at, xerr=halves, color=COLORS[lane], linewidth=0, elinewidth=1.6, marker=MARKERS[lane],
            markersize=7.5 if lane == 0 else 6, markeredgecolor="white" if lane < 2 else COLORS[lane],
            markerfacecolor=COLORS[lane] if lane < 2 else "white", markeredgewidth=1.2, clip_on=False,
            zorder=6 - lane, label=model,
        )  # fmt: skip
