"""The wind: a field of a stream and whirls, followed by lines that become ribbons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelcard.assets.canvas import Array, Canvas, rgb

STEP = 2.5  # pixels between two points of a line of wind


@dataclass(frozen=True)
class Whirl:
    """A whirl around (x, y), pixels; `spin` is its greatest speed beside the stream's 1, at `radius`; + is clockwise.

    Near its middle lines are drawn inwards by `pull`, so that they curl up.
    """

    x: float
    y: float
    radius: float
    spin: float
    pull: float = 0.27


def velocity(points: Array, source: tuple[float, float], whirls: Sequence[Whirl]) -> Array:
    """Return the wind at points, both of shape (n, 2): a stream from its source to the right, and whirls."""
    x, y = points[:, 0] - source[0], points[:, 1] - source[1]
    fan = 0.95 * y / (np.maximum(x, 0) + 16) * np.exp(-np.maximum(x, 0) / 240) * (x > 0)
    sway = 0.34 * np.sin(x / 165 + 3.3) * np.clip(x / 150, 0, 1)
    flow = np.stack([np.ones_like(x), np.clip(fan, -1, 1) + sway], axis=1)
    flow[:, 1] -= np.clip((points[:, 1] - 345) / 80, 0, 1.5) ** 2  # it does not blow into the ground
    for whirl in whirls:
        dx, dy = points[:, 0] - whirl.x, points[:, 1] - whirl.y
        distance = np.maximum(np.hypot(dx, dy), 1e-6)
        near = distance / whirl.radius
        # Lamb and Oseen's vortex: solid in its middle, fading outside; the stream does not blow through its middle.
        speed = whirl.spin * 1.4 * (1 - np.exp(-1.26 * near**2)) / near * np.exp(-((near / 2.6) ** 2))
        flow *= (1 - np.exp(-((near / 1.5) ** 2)))[:, None]
        pull = np.abs(speed) * whirl.pull
        flow += np.stack([-dy * speed - dx * pull, dx * speed - dy * pull], axis=1) / distance[:, None]
    return flow


def follow(starts: Array, source: tuple[float, float], whirls: Sequence[Whirl], length: float) -> list[Array]:
    """Return the lines, each of shape (n, 2), that the wind takes from each of the starts, a step each `STEP` pixels.

    A line ends after `length` pixels, in the middle of a whirl, or where the wind stands still and would turn sharply.
    """
    points, going = starts.astype(np.float64), np.full(len(starts), True)
    lines, steps = [points], np.zeros(len(starts), dtype=np.int64)
    for _ in range(int(length / STEP)):
        flow = velocity(points, source, whirls)
        speed = np.linalg.norm(flow, axis=1, keepdims=True)
        half = velocity(points + flow / np.maximum(speed, 1e-6) * STEP / 2, source, whirls)
        going &= speed[:, 0] > 0.3
        for whirl in whirls:
            going &= np.hypot(points[:, 0] - whirl.x, points[:, 1] - whirl.y) > 5
        points = points + half / np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6) * STEP
        lines.append(points)
        steps += going
    every = np.stack(lines, axis=1)
    return [line[: count + 1] for line, count in zip(every, steps, strict=True)]


def tapered(count: int, rise: float = 0.35, fall: float = 0.5) -> Array:
    """Return a profile of `count` values: from 0 up to 1 over `rise` of it, down to 0 over `fall`."""
    at = np.linspace(0, 1, count)
    return np.asarray(np.sin(np.pi / 2 * np.clip(np.minimum(at / rise, (1 - at) / fall), 0, 1)) ** 1.2)


def draw_gust(canvas: Canvas, line: Array, width: float, colour: Array, alpha: float) -> None:
    """Draw a line as a ribbon that swells and thins, `width` pixels at its widest."""
    shape = tapered(len(line))
    canvas.ribbon(line, width / 2 * shape + 0.2, tapered(len(line), 0.25, 0.3), colour, alpha)


CREAM, APRICOT, OCHRE, AQUA = rgb("#fff1d6"), rgb("#ffc48c"), rgb("#e2a044"), rgb("#9fd3c4")
TEAL, CORAL, WINE = rgb("#2f8287"), rgb("#d2603f"), rgb("#8c2f25")
# Colours, and how often they are drawn.
BROAD = [
    (CREAM, 0.1),
    (APRICOT, 0.12),
    (OCHRE, 0.14),
    (AQUA, 0.13),
    (TEAL, 0.17),
    (CORAL, 0.16),
    (WINE, 0.18),
]
FINE = [(CREAM, 0.48), (APRICOT, 0.15), (AQUA, 0.17), (TEAL, 0.14), (CORAL, 0.06)]


def draw_wind(
    canvas: Canvas, source: tuple[float, float], whirls: Sequence[Whirl], random: np.random.Generator
) -> None:
    """Draw the breath: broad soft gusts, fine lines over them, and what is seen of it before the bright sun."""
    for line in follow(_starts(source, random.normal(0, 8, 46)), source, whirls, 1500):
        part = line[: int(len(line) * random.uniform(0.4, 1))]
        draw_gust(canvas, part, random.uniform(8, 30), _drawn(BROAD, random), 0.26)
    for line in follow(_starts(source, random.uniform(-15, 15, 92)), source, whirls, 1900):
        first, last = np.sort(random.uniform(0, 1, 2)) * len(line)
        part = line[int(first * 0.6) : int(max(last, first + 260))]
        draw_gust(canvas, part, random.uniform(1.2, 3.6), _drawn(FINE, random), 0.75)
    # What the whirls catch is drawn to its end, so that it is seen to curl up.
    edges = follow(_starts(source, np.linspace(-26, 26, 500)), source, whirls, 2200)
    for whirl in whirls:
        caught = [line for line in edges if np.hypot(*(line[-1] - (whirl.x, whirl.y))) < 8]
        for line in caught[:: max(1, len(caught) // 9)]:
            shape = tapered(len(line), 0.5, 0.35)
            width = random.uniform(0.8, 2.2)
            canvas.ribbon(line, width * shape + 0.2, tapered(len(line), 0.3, 0.1), _drawn(FINE, random), 0.85)
    for at, line in enumerate(follow(_starts(source, np.linspace(-11, 11, 15)), source, whirls, 420)):
        shape = tapered(len(line), 0.1, 0.8)
        canvas.ribbon(line, 0.4 + 1.3 * shape, shape, (CORAL, TEAL, OCHRE)[at % 3], 0.85)


def _drawn(colours: Sequence[tuple[Array, float]], random: np.random.Generator) -> Array:
    return colours[int(random.choice(len(colours), p=[share for _, share in colours]))][0]


def _starts(source: tuple[float, float], beside: Array) -> Array:
    return np.stack([np.full(len(beside), source[0] + 2), source[1] + beside], axis=1)


def draw_rain(canvas: Canvas, random: np.random.Generator) -> None:
    """Draw a shower that falls from the clouds on the right."""
    slant = np.array([0.42, 1.0]) / np.hypot(0.42, 1.0)
    for _ in range(170):
        start = np.array([random.uniform(1330, 1600), 0.0]) + slant * random.uniform(60, 400)
        line = start + np.linspace(0, random.uniform(14, 40), 10)[:, None] * slant
        colour = (AQUA, TEAL)[int(random.integers(2))]
        canvas.ribbon(line, np.linspace(0.2, 1.2, 10), np.linspace(0.1, 1, 10), colour, 0.75)


def draw_drops(canvas: Canvas, lines: Sequence[Array]) -> None:
    """Draw drops that the wind takes along, one at the end of each line."""
    for at, line in enumerate(lines):
        size = 4.5 + 1.8 * np.sin(at * 2.4)
        tail = line[-int(size * 2.4) :]
        share = np.linspace(0, 1, len(tail))
        body = size * np.sqrt(np.clip(share**1.6 * (1.02 - share**6), 0, 1))
        solid = np.ones(len(tail))
        canvas.ribbon(tail, body + 1.2, solid, rgb("#17494f"))
        canvas.ribbon(tail, body, solid, rgb("#4fb0ab"))
        canvas.ribbon(tail - (0.2 * size, 0.3 * size), body * 0.3, solid, rgb("#e9f7ea"), 0.9)
