"""The training curves as a picture: figures in, the bytes of a PNG out, the same bytes for the same figures."""

import io
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from modelcard.facts.training import Curves, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# On a white panel of its own, so that it reads on a dark page too.
INK, PALE, GRID = "#3b3531", "#8a817a", "#e9e3dc"
TRAINING, HELD_OUT = "#c2571a", "#1f6f78"
SIZE, DPI = (10.0, 6.2), 150
SMOOTHED_FROM = 24  # logged steps; fewer are drawn as they are
PANELS: tuple[tuple[str, Callable[[Point], float | None], float | None], ...] = (
    ("loss", lambda point: point.loss, None),
    ("reward accuracy", lambda point: point.accuracy, 0.5),
    ("reward margin", lambda point: point.margin, 0.0),
    ("learning rate", lambda point: point.learning_rate, None),
)


def draw_curves(curves: Curves) -> bytes | None:
    """Return the PNG of loss, reward accuracy, reward margin and learning rate over the optimizer steps.

    None where too few steps were logged to make a curve.
    """
    if len(curves.training) < 2:
        return None
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells where it keeps its fonts
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # A user's own settings don't count: the same figures are the same picture.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
                "axes.edgecolor": GRID, "axes.titlecolor": INK, "xtick.color": PALE, "ytick.color": PALE,
                "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
            }
        )  # fmt: skip
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.03, hspace=0.05)
        figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white", layout=layout)
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 2, sharex=True)
        for axes, (title, value, level) in zip(panels.flat, PANELS, strict=True):
            _draw(axes, curves, title, value, level)
        for axes in panels[-1]:
            axes.set_xlabel("optimizer step")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, labelcolor=INK
        )
        out = io.BytesIO()
        # No version of the library within: it would be another picture for the same figures.
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def curves_alt(curves: Curves) -> str:
    """Return what the picture shows, for who can't see it."""
    first, last = curves.heldout[0], curves.heldout[-1]
    return (
        f"Four panels over {curves.steps} optimizer steps: loss, reward accuracy, reward margin and learning rate of "
        f"the training pairs as lines, of the held-out pairs as dots. The held-out loss goes from {first.loss:.4f} to "
        f"{last.loss:.4f}, the held-out margin from {first.margin:.4f} to {last.margin:.4f}; the held-out accuracy "
        f"ends at {last.accuracy:.3f}."
    )


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Return the mean over the last `window` values at each place, of fewer at the beginning."""
    return [
        sum(values[max(0, place + 1 - window) : place + 1]) / min(window, place + 1)
        for place in range(len(values))
    ]


def label(tick: float) -> str:
    """Return a tick's figure: 0.6, 8e-4."""
    if tick == 0 or 1e-3 <= abs(tick) < 1e4:
        return f"{tick:.4g}"
    digits, _, power = f"{tick:.2e}".partition("e")
    return f"{float(digits):g}e{int(power)}"


def _draw(
    axes: "Axes",
    curves: Curves,
    title: str,
    value: Callable[[Point], float | None],
    level: float | None,
) -> None:
    found = [(point.step, one) for point in curves.training if (one := value(point)) is not None]
    steps, values = [step for step, _ in found], [one for _, one in found]
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=8)
    axes.grid(color=GRID, linewidth=0.8)
    axes.tick_params(length=0)
    axes.set_xlim(0, curves.steps * 1.02)
    axes.yaxis.set_major_formatter(lambda tick, _: label(tick))
    if level is not None:
        axes.axhline(level, color=PALE, linewidth=0.9, linestyle=(0, (2, 3)))
    if title == "learning rate":
        axes.plot(steps, values, color=INK, linewidth=1.6)
        axes.set_ylim(bottom=0)
        return
    if len(values) >= SMOOTHED_FROM:
        window = max(2, round(len(values) / 15))
        axes.plot(steps, values, color=TRAINING, linewidth=0.9, alpha=0.35, label="training pairs, as logged")
        axes.plot(
            steps, smoothed(values, window), color=TRAINING, linewidth=2.0, label=f"mean of the last {window}"
        )
    else:
        axes.plot(steps, values, color=TRAINING, linewidth=2.0, label="training pairs, as logged")
    # Untrained, no answer has strictly the higher reward: that is no accuracy.
    heldout = curves.heldout[1:] if title == "reward accuracy" else curves.heldout
    axes.plot(
        [point.step for point in heldout],
        [one for point in heldout if (one := value(point)) is not None],
        color=HELD_OUT, linewidth=0, marker="o", markersize=6.5, markeredgecolor="white", markeredgewidth=1.2,
        clip_on=False, zorder=5, label="held-out pairs",
    )  # fmt: skip
    if title == "reward accuracy":
        axes.set_ylim(0, 1.04)
