"""Paper planes: a dart folded in three dimensions, turned, lit and projected."""

from dataclasses import dataclass

import numpy as np

from modelcard.assets.canvas import Array, Canvas, ramp, rgb

# A dart in its own frame, about two long: x to the nose, y to its left, z up. A wing has a crease where it was folded.
NOSE, KEEL = (1.0, 0.0, 0.0), (-0.92, 0.0, -0.34)
TIP, INNER, CREASE = (-0.86, 0.66, 0.16), (-1.0, 0.05, 0.02), (-0.95, 0.30, 0.13)
INK, SHADOW = rgb("#5a241a"), rgb("#5b1f1c")
# Paper by how much it faces the light: -1 away from it, 1 towards it.
TONES = [
    (-1.0, rgb("#5d5a63")), (-0.3, rgb("#9a7068")), (0.1, rgb("#dca384")), (0.45, rgb("#ffdcb2")),
    (0.8, rgb("#fffaf0")),
]  # fmt: skip
# Where the light comes from, in the picture's frame: x right, y up, z to us.
LIGHT = np.array([-0.35, 0.7, 0.6]) / np.hypot(0.35, np.hypot(0.7, 0.6))


@dataclass(frozen=True)
class Plane:
    """Where a plane is (pixels), how long (pixels), and how it is turned (degrees).

    `heading` turns it in the picture (0 is to the right, 90 up), `roll` shows its top, `away` turns its nose from us.
    """

    x: float
    y: float
    length: float
    heading: float
    roll: float
    away: float


def _mirrored(point: tuple[float, float, float]) -> tuple[float, float, float]:
    return (point[0], -point[1], point[2])


def facets() -> list[Array]:
    """Return the dart's triangles, each of shape (3, 3)."""
    half = [(NOSE, INNER, CREASE), (NOSE, CREASE, TIP), (NOSE, INNER, KEEL)]
    other = [tuple(_mirrored(point) for point in facet) for facet in half]
    return [np.array(facet) for facet in [*half, *other]]


def _about(axis: int, degrees: float) -> Array:
    angle = np.radians(degrees)
    turn = np.eye(3)
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn[one, one] = turn[two, two] = np.cos(angle)
    turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
    return turn


def turned(plane: Plane) -> Array:
    """Return the rotation into the frame of the picture: x right, y up, z to us."""
    # The plane's left side looks away from us, its top up; then it rolls towards us, and turns.
    upright = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    return np.asarray(_about(2, plane.heading) @ _about(1, plane.away) @ _about(0, plane.roll) @ upright)


def draw_plane(canvas: Canvas, plane: Plane) -> None:
    """Draw a plane and its soft shadow, its folds inked."""
    scale, middle = np.array([1.0, -1.0]) * plane.length / 2, np.array([plane.x, plane.y])
    solid = [facet @ turned(plane).T for facet in facets()]
    shadow = np.stack(solid)[..., :2] * scale + middle + np.array([0.06, 0.14]) * plane.length
    canvas.fill(shadow, SHADOW, 0.38, plane.length / 22)
    for facet in sorted(solid, key=lambda facet: float(facet[:, 2].mean())):
        normal = np.cross(facet[1] - facet[0], facet[2] - facet[0])
        normal *= np.sign(normal[2]) / np.linalg.norm(normal)  # the side that we see
        flat = facet[:, :2] * scale + middle
        for one, other in zip(flat, np.roll(flat, -1, axis=0), strict=True):
            canvas.ribbon(np.array([one, other]), np.full(2, 0.5 + plane.length / 300), np.ones(2), INK)
        canvas.fill(flat, ramp(TONES, normal @ LIGHT))
