"""What lies behind and before the wind: the sky, the sun with its ring of meanders, dunes, the sea and clouds."""

import itertools

import numpy as np

from modelcard.assets.canvas import Canvas, blend, ramp, rgb, smooth
from modelcard.assets.strands import curling, draw_strands
from modelcard.assets.wind import tapered

HORIZON = 402  # pixels from the top
SUN, SUN_RADIUS = (262.0, 232.0), 186.0
SKY = [
    (0.0, rgb("#8f2f25")),
    (0.3, rgb("#c4553a")),
    (0.58, rgb("#e88a5f")),
    (0.82, rgb("#f6bd87")),
    (1.0, rgb("#fbdcaa")),
]
SEA = [(0.0, rgb("#e9c99a")), (0.1, rgb("#a9c3ab")), (0.45, rgb("#4f9a97")), (1.0, rgb("#1f5d68"))]
WATER = [(0.0, rgb("#123f4b")), (0.4, rgb("#1f6a72")), (0.75, rgb("#4fa39c")), (1.0, rgb("#cfe6cf"))]
CLOUD = [(0.0, rgb("#24474f")), (0.4, rgb("#43767a")), (0.75, rgb("#86b0a4")), (1.0, rgb("#e3e6cd"))]
# Where the land ends, from near to far; and of each dune the ridge from the shore on, and the foot's and top's colour.
SHORE = [(1640, 540), (900, 540), (860, 490), (760, 462), (790, 436), (700, 424), (690, 412), (600, 404)]
DUNES = [
    ([(600, 404), (700, 404), (830, 400), (930, 396), (1060, 386), (1190, 392), (1330, 376), (1480, 384),
    (1640, 370)],
     rgb("#e0a06a"), rgb("#f3c78f")),
    ([(790, 436), (830, 430), (900, 424), (1080, 414), (1210, 400), (1340, 412), (1470, 398), (1640, 404)],
     rgb("#c97a48"), rgb("#e9ae70")),
    ([(860, 490), (960, 478), (1080, 468), (1200, 444), (1320, 430), (1440, 436), (1540, 424), (1640, 428)],
     rgb("#a14a2e"), rgb("#d78450")),
]  # fmt: skip


def draw_sky(canvas: Canvas) -> None:
    """Draw the sky, lighter towards the horizon and around the sun, dusky where the rain is."""
    canvas.pixels[:] = ramp(SKY, canvas.y / HORIZON)
    distance = np.hypot(canvas.x - SUN[0], canvas.y - SUN[1])
    canvas.lay(0.55 * np.exp(-((distance / 430) ** 2)), rgb("#ffcf8e"))
    dusk = np.exp(-(((canvas.x - 1500) / 420) ** 2) - ((canvas.y - 40) / 170) ** 2)
    canvas.lay(0.35 * dusk, rgb("#7a4a52"))


def draw_sun(canvas: Canvas, units: int = 40) -> None:
    """Draw the sun's disc, and around it a ring of so many hooks of a Greek key."""
    turn = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    canvas.fill(circle * (SUN_RADIUS + 44) + SUN, rgb("#ffe2ab"), 0.35)
    canvas.fill(circle * SUN_RADIUS + SUN, rgb("#ffe9bd"))
    # A hook in quarters of its own width and height, and the way back to where the next begins.
    hook = [
        (0, 0), (0, 4), (3, 4), (3, 1.5), (1.5, 1.5), (1.5, 2.6), (1.5, 1.5), (3, 1.5), (3, 4), (0, 4), (0, 0), (4, 0),
    ]  # fmt: skip
    corners = np.concatenate([np.array(hook) / 4 + np.array([unit, 0]) for unit in range(units)])
    for one, other in itertools.pairwise(corners):
        straight = blend(one, other, np.linspace(0, 1, 5))
        angle, radius = straight[:, 0] / units * 2 * np.pi, SUN_RADIUS + 12 + 20 * straight[:, 1]
        line = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None] + SUN
        canvas.ribbon(line, np.full(5, 1.5), np.ones(5), rgb("#a8432c"), 0.8)


def draw_sea(canvas: Canvas, random: np.random.Generator) -> None:
    """Draw the sea to the horizon, with the sun's light on it."""
    deep = (canvas.y - HORIZON) / (canvas.height - HORIZON)
    canvas.lay(np.clip(canvas.y - HORIZON, 0, 1), ramp(SEA, deep))
    shape = np.sin(np.linspace(0, np.pi, 12))
    for _ in range(170):
        y = HORIZON + 3 + 90 * random.uniform() ** 1.5
        x, wide = random.uniform(0, canvas.width), random.uniform(20, 90) * (0.4 + (y - HORIZON) / 60)
        line = np.stack([np.linspace(x, x + wide, 12), np.full(12, y)], axis=1)
        in_the_sun = random.uniform() < np.exp(-(((x - 420) / 500) ** 2))
        canvas.ribbon(line, 0.3 + shape * 1.1, shape, rgb("#fff0cf") if in_the_sun else rgb("#bfe0cd"), 0.5)


def draw_dunes(canvas: Canvas) -> None:
    """Draw dunes on the right, the nearer the deeper, rippled by the wind, down to the shore."""
    coast = smooth(SHORE)
    canvas.ribbon(coast, np.full(len(coast), 3.0), np.ones(len(coast)), rgb("#e6efd6"), 0.7, 1)
    for ridge, foot, top in DUNES:
        crest = smooth(ridge)
        outline = np.concatenate([crest, smooth([point for point in SHORE if point[1] >= ridge[0][1]])])
        height = np.interp(canvas.x[0], crest[:, 0], crest[:, 1])
        canvas.fill(outline, blend(top, foot, np.clip((canvas.y - height) / 60, 0, 1)))
        dune = canvas.mask(outline)
        for ripple in range(1, 6):
            below = (5 + 1.2 * ripple) * ripple * (1 + 0.12 * np.sin(crest[:, 0] / 120 + ripple))
            line = crest + below[:, None] * (0, 1)
            line = line[len(crest) // 12 * (ripple % 4) : len(crest) - len(crest) // 9 * (ripple % 3)]
            shape = tapered(len(line))
            canvas.ribbon(line, 1.1 * shape + 0.1, shape, foot * 0.86, 0.4, within=dune)


def draw_waves(canvas: Canvas) -> None:
    """Draw the waves at the front, each a bundle of strands that curls over, smaller along the shore."""
    # Nothing shows through between them.
    canvas.fill(np.array([(-9, 470), (640, 470), (860, 500), (860, 509), (-9, 509)]), WATER[0][1])
    x, at = 960.0, 0
    while x > -150:
        high = float((1 + 0.16 * np.sin(at * 2.1)) * (0.28 + 0.72 * np.clip((960 - x) / 560, 0, 1) ** 0.8))
        line = curling((x, 500 + 40 * high), -52, -8, 200 * high, 0.2, 2.3)
        draw_strands(canvas, line, 32 * high * np.linspace(1, 0, len(line)) ** 0.8, WATER, 8)
        x, at = x - 64 * high, at + 1


def draw_clouds(canvas: Canvas) -> None:
    """Draw clouds full of rain, bundles that curl up, coming in at the upper right."""
    for root, heading, last, length, curl, width in (
        ((1700, -10), 172, 176, 430, 2.2, 60), ((1700, 84), 186, 184, 240, -2.2, 54),
        ((1700, 62), 182, 176, 330, 2.2, 56),
        ((1700, 20), 180, 172, 390, -2.2, 58),
    ):  # fmt: skip
        line = curling(root, heading, last, length, 0.25, curl)
        draw_strands(canvas, line, width / 2 * np.linspace(1, 0, len(line)) ** 0.7, CLOUD, 8)
