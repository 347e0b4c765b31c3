"""Notus himself, in profile, blowing: a face as on a Greek vase, hair of wind, and a wreath of olive leaves."""

from collections.abc import Sequence

import numpy as np

from modelcard.assets.canvas import Array, Canvas, blend, rgb, smooth
from modelcard.assets.strands import curling, draw_strands
from modelcard.assets.wind import tapered

SIZE, AT = 0.95, (52.0, 22.0)  # the drawing's own coordinates below are scaled, then moved
MOUTH = (396.0 * SIZE + AT[0], 289.0 * SIZE + AT[1])
INK, CLAY, GLOW, BLUSH = rgb("#4a1712"), rgb("#c4573a"), rgb("#f8bf8a"), rgb("#9c3828")
CHEEK, WHITE, IRIS = rgb("#ffd7a6"), rgb("#fff0d8"), rgb("#2a5f63")
HAIR = [(0.0, rgb("#4f1713")), (0.45, rgb("#8a3420")), (0.8, rgb("#b9572f")), (1.0, rgb("#dc8a45"))]
LEAF, LEAF_LIGHT, RIBBON, RIBBON_SHADE = rgb("#3c7a68"), rgb("#9cc79a"), rgb("#3f9190"), rgb("#245f66")

PROFILE = [
    (300, 84), (330, 104), (350, 134), (360, 164), (366, 186), (375, 208), (387, 232), (398, 250), (399, 259),
    (390, 265), (380, 266), (377, 273), (384, 279), (395, 284), (397, 288), (391, 291), (396, 296), (390, 304),
    (379, 309), (377, 318), (383, 332), (379, 349), (362, 361), (336, 366), (306, 372), (286, 390), (280, 420),
    (282, 450), (292, 484),
]  # fmt: skip
HEAD = [
    *PROFILE, (320, 540), (60, 540), (108, 450), (160, 370), (160, 270), (166, 180), (214, 108), (262, 82),
]  # fmt: skip
SCALP = [
    (316, 92), (322, 118), (296, 146), (278, 190), (262, 240), (240, 300), (206, 350), (166, 340), (146, 270),
    (154, 180), (206, 108), (260, 82),
]  # fmt: skip
WREATH = [(196, 268), (206, 214), (238, 162), (284, 122), (336, 112)]
TAILS = (
    [(198, 264), (150, 290), (110, 270), (60, 300), (10, 280)],
    [(198, 266), (160, 320), (116, 318), (80, 350), (30, 340)],
)


def place(points: Sequence[tuple[float, float]] | Array) -> Array:
    """Return the picture's points, shape (n, 2), for the drawing's."""
    return np.asarray(points, dtype=np.float64) * SIZE + AT


def stroke(
    canvas: Canvas,
    points: Sequence[tuple[float, float]],
    width: float,
    colour: Array = INK,
    rise: float = 0.5,
) -> None:
    """Draw a brush stroke through points that swells over `rise` of it, and thins."""
    line = place(smooth(points))
    canvas.ribbon(line, width / 2 * tapered(len(line), rise, 1 - rise) + 0.3, np.ones(len(line)), colour)


def blob(*points: tuple[float, float]) -> Array:
    """Return the outline, shape (n, 2), of a rounded shape through points."""
    return place(smooth(points, closed=True))


def ellipse(x: float, y: float, wide: float, high: float) -> Array:
    """Return the outline of an ellipse, shape (n, 2)."""
    turn = np.linspace(0, 2 * np.pi, 60)
    return place(np.stack([x + wide * np.cos(turn), y + high * np.sin(turn)], axis=1))


def draw_head(canvas: Canvas) -> None:
    """Draw the head, its mouth at `MOUTH`."""
    _draw_face(canvas)
    _draw_features(canvas)
    canvas.fill(blob(*SCALP), HAIR[0][1])
    _draw_locks(canvas, BACK)
    _draw_locks(canvas, FRONT)
    _draw_wreath(canvas)


def _draw_face(canvas: Canvas) -> None:
    outline = blob(*HEAD)
    head = canvas.mask(outline)
    canvas.lay(head, blend(GLOW, CLAY, np.clip((445 - canvas.x) / 190, 0, 1) ** 0.75))
    under_the_jaw = blob(
        (384, 352), (350, 366), (310, 360), (262, 330), (220, 260), (120, 260), (60, 540), (330, 540),
        (284, 470), (281, 410),
        (306, 374), (350, 368),
    )  # fmt: skip
    canvas.fill(under_the_jaw, BLUSH, 0.6, 6, head)
    around_the_eye = blob((366, 186), (340, 180), (300, 184), (296, 208), (330, 222), (372, 218))
    canvas.fill(around_the_eye, BLUSH, 0.35, 6, head)
    # The cheek full of air.
    canvas.fill(ellipse(330, 300, 44, 40), BLUSH, 0.4, 9, head)
    canvas.fill(ellipse(340, 290, 31, 28), CHEEK, 0.6, 11, head)
    stroke(canvas, [(330, 254), (306, 270), (299, 296), (312, 322), (340, 333), (364, 324)], 3.4)
    edge = place(smooth(PROFILE))
    canvas.ribbon(edge, np.full(len(edge), 1.5), np.ones(len(edge)), INK)


def _draw_features(canvas: Canvas) -> None:
    eye = blob((357, 199), (348, 192), (330, 195), (316, 206), (332, 210), (350, 208))
    canvas.fill(eye, WHITE)
    canvas.fill(ellipse(346, 200, 8, 9.5), IRIS, within=canvas.mask(eye))
    canvas.fill(ellipse(347, 200, 4, 5), INK, within=canvas.mask(eye))
    stroke(canvas, [(359, 200), (349, 191), (330, 193), (312, 206), (302, 213)], 5, rise=0.4)
    stroke(canvas, [(354, 208), (340, 211), (322, 210)], 2)
    stroke(canvas, [(354, 186), (338, 183), (318, 190)], 2)
    stroke(canvas, [(364, 177), (350, 165), (326, 163), (298, 176)], 8, rise=0.35)
    # Nostril, lips, the fold beside them and the dent under them.
    stroke(canvas, [(374, 262), (371, 254), (377, 248), (386, 251)], 3)
    stroke(canvas, [(393, 290.5), (385, 290), (377, 287), (371, 281)], 3.4, rise=0.3)
    stroke(canvas, [(366, 274), (362, 284), (364, 297)], 2)
    stroke(canvas, [(379, 310), (371, 312), (366, 309)], 2.4)


# A lock: its root, its heading there and before it curls up (degrees; 180 is to the left, more is upwards), its length,
# how far it waves, which way and how far it curls, and its width.
Lock = tuple[tuple[float, float], float, float, float, float, float, float]
BACK: list[Lock] = [
    ((232, 330), 112, 150, 300, -0.5, 2.2, 44), ((222, 300), 130, 165, 300, 0.5, -2.2, 48),
    ((222, 270), 150, 185, 310, -0.6, 2.2, 50), ((226, 230), 172, 198, 300, 0.6, 2.2, 52),
    ((240, 190), 190, 200, 310, -0.6, -2.3, 50), ((262, 150), 205, 186, 350, 0.7, 2.3, 50),
    ((290, 118), 208, 168, 380, 0.8, 2.3, 48),
]  # fmt: skip
FRONT: list[Lock] = [
    ((250, 262), 96, 150, 320, 0.5, 2.2, 34), ((262, 226), 118, 172, 350, 0.5, -2.3, 42),
    ((276, 194), 142, 186, 370, 0.6, 2.4, 46), ((288, 168), 166, 168, 350, -0.7, -2.3, 48),
    ((300, 142), 186, 196, 350, -0.6, 2.4, 48), ((312, 122), 200, 176, 380, 0.8, -2.3, 46),
    ((328, 106), 210, 172, 330, -0.7, 2.3, 38),
]  # fmt: skip


def _draw_locks(canvas: Canvas, locks: Sequence[Lock]) -> None:
    for root, heading, last, length, wave, curl, width in locks:
        line = curling(root, heading, last, length, wave, curl)
        at = np.linspace(0, 1, len(line))
        body = width / 2 * np.sin(np.pi / 2 * np.clip(at / 0.22 + 0.02, 0, 1)) ** 0.6 * (1 - at) ** 0.75
        draw_strands(canvas, place(line), body * SIZE, HAIR)


def _draw_wreath(canvas: Canvas) -> None:
    for shift, colour in ((4, RIBBON_SHADE), (0, RIBBON)):
        for tail in TAILS:
            stroke(canvas, [(x, y + shift) for x, y in tail], 11, colour, rise=0.4)
    stroke(canvas, WREATH, 5, LEAF)
    band = smooth(WREATH)
    for at in range(4, len(band) - 3, 6):
        way = band[at + 1] - band[at - 1]
        way /= np.linalg.norm(way)
        for side, colour in ((17, LEAF), (-17, LEAF_LIGHT)):
            leaf = way * 26 + np.array([-way[1], way[0]]) * side
            wide = np.array([-leaf[1], leaf[0]]) * 0.2
            outline = band[at] + np.array([leaf * 0, leaf * 0.45 + wide, leaf, leaf * 0.45 - wide])
            canvas.fill(place(smooth(outline, closed=True)), colour)
