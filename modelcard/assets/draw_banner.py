"""Draws the banner of the model cards: `python -m modelcard.assets.draw_banner`; the same bytes each time."""

import numpy as np
from PIL import Image, ImageFilter

from modelcard.assets import BANNER
from modelcard.assets.canvas import Array, Canvas
from modelcard.assets.head import MOUTH, draw_head
from modelcard.assets.planes import Plane, draw_plane
from modelcard.assets.scenery import draw_clouds, draw_dunes, draw_sea, draw_sky, draw_sun, draw_waves
from modelcard.assets.wind import Whirl, draw_drops, draw_rain, draw_wind, follow

SIZE = (1600, 500)
WHIRLS = (
    Whirl(700, 150, 58, -1.25),
    Whirl(928, 322, 46, 1.6),
    Whirl(1255, 140, 88, -1.45),
    Whirl(1500, 330, 46, 1.2),
)
# Planes and drops ride on the breath: how far beside its middle they left the mouth, and how far they came (pixels);
# then a plane's length (pixels), roll and turn away from us (degrees).
PLANES = (
    (-4, 860, 68, 34, 5), (-4, 170, 76, 15, 30), (7, 370, 104, 20, 25), (-1, 560, 220, 16, 38),
    (6, 800, 92, 30, 30),
    (-2.5, 1060, 70, 30, 20), (3, 1030, 150, 15, 32),
)  # fmt: skip
DROPS = (
    (10, 150), (-7, 260), (4, 290), (-13, 420), (10, 480), (-3, 470), (13, 660), (3, 740), (11, 860),
    (-6, 860), (0, 930),
    (9, 1010), (-9, 620), (12, 1120),
)  # fmt: skip


def paint() -> Array:
    """Return the picture's pixels, shape (height, width, 3), float64 from 0 to 1."""
    random = np.random.default_rng(8)
    canvas = Canvas(*SIZE)
    draw_sky(canvas)
    draw_sun(canvas)
    draw_sea(canvas, random)
    draw_dunes(canvas)
    draw_rain(canvas, random)
    draw_wind(canvas, MOUTH, WHIRLS, random)
    draw_clouds(canvas)
    draw_drops(canvas, [_path(beside, way) for beside, way in DROPS])
    draw_head(canvas)
    for beside, way, length, roll, away in PLANES:
        line = _path(beside, way)
        ahead = line[-1] - line[-12]
        heading = float(np.degrees(np.arctan2(-ahead[1], ahead[0])))
        draw_plane(canvas, Plane(float(line[-1, 0]), float(line[-1, 1]), length, heading, roll, away))
    draw_waves(canvas)
    return np.clip(canvas.pixels, 0, 1)


def indexed(pixels: Array) -> Image.Image:
    """Return the picture in 256 colours, a third of its size, without bands where colours change slowly.

    Such places, where 5 x 5 pixels differ by less than 9 of 255, weigh more in the choice of colours, and only they
    are dithered: between lines nobody sees a step, and a pattern there is what PNG can't compress.
    """
    exact = pixels * 255
    image = Image.fromarray(np.rint(exact).astype(np.uint8))
    most, least = (
        np.asarray(image.filter(kind(5)), int) for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter)
    )
    change = (most - least).max(axis=-1)
    slow = change < 9
    sample = np.concatenate([exact[slow], exact[~slow][::2]])
    sample = sample[: len(sample) // 800 * 800].reshape(-1, 800, 3)
    palette = Image.fromarray(sample.astype(np.uint8)).quantize(
        256, method=Image.Quantize.MEDIANCUT, kmeans=10
    )
    coarse = np.array([[0, 2], [3, 1]])
    bayer = np.block([[4 * coarse, 4 * coarse + 2], [4 * coarse + 3, 4 * coarse + 1]])
    pattern = np.tile((bayer + 0.5) / 16 - 0.5, (SIZE[1] // 4, SIZE[0] // 4))
    dithered = np.clip(exact + 6 * (pattern * (slow & (change > 0)))[..., None], 0, 255)
    image = Image.fromarray(np.rint(dithered).astype(np.uint8))
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def main() -> None:
    """Write the banner."""
    indexed(paint()).save(BANNER, optimize=True)


def _path(beside: float, way: float) -> Array:
    return follow(np.array([(MOUTH[0] + 2, MOUTH[1] + beside)]), MOUTH, WHIRLS, way)[0]


if __name__ == "__main__":
    main()
