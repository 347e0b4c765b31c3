"""Bundles of strands that wave and curl up at their end: locks of hair, and waves of the sea."""

from collections.abc import Sequence

import numpy as np

from modelcard.assets.canvas import Array, Canvas, ramp


def curling(
    root: tuple[float, float], heading: float, last: float, length: float, wave: float, curl: float
) -> Array:
    """Return a line, shape (n, 2), from its root along `heading`, and along `last` where it starts to curl up.

    Headings are degrees: 0 to the right, 90 down, 180 to the left. `wave` is how far it sways, `curl` how far it rolls
    up, clockwise where positive; `length` is in pixels.
    """
    steps = int(length / 1.5)
    at = np.linspace(0, 1, steps)
    turn = np.radians(last - heading) / steps + wave * np.cos(2.3 * np.pi * at + 0.6) * 2.6 / steps * (
        1 - at**4
    )
    turn += np.where(at > 0.55, curl / (1.04 - at), 0) * np.clip((at - 0.55) / 0.2, 0, 1) / steps
    angle = np.radians(heading) + np.cumsum(turn)
    return np.array(root) + np.cumsum(
        np.stack([np.cos(angle), np.sin(angle)], axis=1) * length / steps, axis=0
    )


def draw_strands(
    canvas: Canvas, line: Array, body: Array, tones: Sequence[tuple[float, Array]], strands: int = 9
) -> None:
    """Draw a bundle along a line, `body` its half width (pixels) at each point, from dark (tone 0) to light (1)."""
    along = np.gradient(line, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    solid = np.ones(len(line))
    canvas.ribbon(line, body * 1.08 + 0.8, solid, tones[0][1])
    for strand in range(strands):
        offset = (strand + 0.5) / strands * 2 - 1
        colour = ramp(tones, np.clip(np.array(0.5 - 0.42 * offset + 0.2 * (-1) ** strand), 0, 1))
        canvas.ribbon(line + across * (offset * body)[:, None], body / strands * 0.86 + 0.1, solid, colour)
