"""A canvas of floating-point colours: shapes and ribbons laid over each other with smooth edges."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Array: TypeAlias = npt.NDArray[np.float64]
OVERSAMPLING = 4  # a shape's edge is drawn this much finer in each direction, then averaged


def rgb(code: str) -> Array:
    """Return a colour, three values from 0 to 1, from its `#rrggbb`."""
    return np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def blend(one: Array, other: Array, share: float | Array) -> Array:
    """Return the colour at `share` of the way from `one` to `other`; an array of shares gives one colour each."""
    return np.asarray(one + (other - one) * np.asarray(share)[..., None])


def ramp(stops: Sequence[tuple[float, Array]], at: Array) -> Array:
    """Return colours, shape `at.shape + (3,)`, between the stops (position, colour)."""
    positions = np.array([position for position, _ in stops])
    colours = np.array([colour for _, colour in stops])
    return np.stack([np.interp(at, positions, colours[:, channel]) for channel in range(3)], axis=-1)


class Canvas:
    """Pixels, shape (height, width, 3), float64 from 0 to 1; x goes right and y down, in pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.pixels: Array = np.zeros((height, width, 3))
        self.y, self.x = np.mgrid[0:height, 0:width] + 0.5

    def lay(self, mask: Array, colour: Array, corner: tuple[int, int] = (0, 0)) -> None:
        """Lay a colour, or one for each pixel of the mask, over what is there, as far as the mask (0 to 1) says."""
        left, top = corner
        below = self.pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
        below += (colour - below) * mask[..., None]

    def fill(
        self,
        outline: Array,
        colour: Array,
        alpha: float = 1.0,
        blur: float = 0.0,
        within: Array | None = None,
    ) -> None:
        """Fill a polygon, shape (points, 2), or several as one, shape (polygons, points, 2).

        `blur` is a radius in pixels, `within` a mask of the whole canvas.
        """
        parts = [(polygon, 255) for polygon in outline.reshape(-1, *outline.shape[-2:])]
        self._stamp(parts, colour, alpha, blur, within)

    def ribbon(
        self, line: Array, half_width: Array, opacity: Array, colour: Array, alpha: float = 1.0, blur: float = 0.0,
        within: Array | None = None,
    ) -> None:  # fmt: skip
        """Draw a band along a line, shape (points, 2), with a half width (pixels) and an opacity at each point."""
        along = np.gradient(line, axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], axis=1)
        across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
        left, right = line + across * half_width[:, None], line - across * half_width[:, None]
        quads = [
            (np.array([left[at], left[at + 1], right[at + 1], right[at]]), round(255 * float(opacity[at])))
            for at in range(len(line) - 1)
        ]
        self._stamp(quads, colour, alpha, blur, within)

    def mask(self, outline: Array) -> Array:
        """Return the coverage, shape (height, width), of a polygon."""
        return self._coverage([(outline, 255)], (0, 0, self.width, self.height))

    def _stamp(
        self,
        parts: Sequence[tuple[Array, int]],
        colour: Array,
        alpha: float,
        blur: float,
        within: Array | None,
    ) -> None:
        points = np.concatenate([outline for outline, _ in parts])
        margin = 2 + 3 * blur
        left, top = np.floor(points.min(axis=0) - margin).astype(int).clip(0)
        right, bottom = np.ceil(points.max(axis=0) + margin).astype(int)
        right, bottom = min(int(right), self.width), min(int(bottom), self.height)
        if left >= right or top >= bottom:
            return
        # A blurred shape also takes from beyond the picture's edge: it is drawn there too.
        mask = self._coverage(parts, (int(left), int(top), right, bottom), blur) * alpha
        if within is not None:
            mask = mask * within[top:bottom, left:right]
        if colour.ndim == 3:
            colour = colour[top:bottom, left:right]
        self.lay(mask, colour, (int(left), int(top)))

    @staticmethod
    def _coverage(
        parts: Sequence[tuple[Array, int]], box: tuple[int, int, int, int], blur: float = 0.0
    ) -> Array:
        pad = int(np.ceil(3 * blur))
        left, top, right, bottom = box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad
        fine = Image.new("L", ((right - left) * OVERSAMPLING, (bottom - top) * OVERSAMPLING))
        draw = ImageDraw.Draw(fine)
        for outline, value in parts:
            scaled = (outline - (left, top)) * OVERSAMPLING - 0.5
            draw.polygon([(float(x), float(y)) for x, y in scaled], fill=value)
        mask = fine.reduce(OVERSAMPLING)
        if blur:
            mask = mask.filter(ImageFilter.GaussianBlur(blur))
        values = np.asarray(mask, dtype=np.float64) / 255
        return values[pad : values.shape[0] - pad, pad : values.shape[1] - pad]


def smooth(points: Sequence[tuple[float, float]] | Array, closed: bool = False, steps: int = 16) -> Array:
    """Return a curve through the points, shape (n, 2), with so many steps from one to the next.

    It is a centripetal Catmull-Rom spline: without loops and cusps, however unevenly the points lie.
    """
    knots = np.asarray(points, dtype=np.float64)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    pieces = []
    for four in (knots[at : at + 4] for at in range(len(knots) - 3)):
        times = np.cumsum([0.0, *np.maximum(np.linalg.norm(np.diff(four, axis=0), axis=1), 1e-9) ** 0.5])
        at = np.linspace(times[1], times[2], steps, endpoint=False)[:, None]
        # Barry and Goldman's pyramid: each layer blends the neighbours of the one before.
        layer = list(four)
        for reach in (1, 2):
            layer = [
                (layer[k] * (times[k + reach] - at) + layer[k + 1] * (at - times[k]))
                / (times[k + reach] - times[k])
                for k in range(len(layer) - 1)
            ]
        pieces.append((layer[0] * (times[2] - at) + layer[1] * (at - times[1])) / (times[2] - times[1]))
    curve = np.concatenate(pieces)
    return curve if closed else np.concatenate([curve, knots[-2:-1]])
