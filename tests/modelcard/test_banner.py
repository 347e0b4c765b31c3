"""The cards' banner: a picture that the Hub shows at once, words for who can't see it, and the script that draws it."""

import io

import numpy as np
import pytest
from PIL import Image

from modelcard.assets import ALT, BANNER, draw_banner


def test_the_banner_is_a_wide_png_of_modest_size() -> None:
    assert BANNER.stat().st_size < 300_000
    with Image.open(BANNER) as picture:
        picture.verify()
        assert (picture.format, picture.size) == ("PNG", draw_banner.SIZE)
        assert picture.width > 3 * picture.height


def test_the_alternative_text_is_one_line_that_fits_an_attribute() -> None:
    text = ALT.read_text(encoding="utf-8")
    assert text == text.strip() + "\n"
    assert "\n" not in text.strip()
    assert 100 < len(text) < 500
    assert not set(text) & set('"<>[]|')
    assert "seven paper planes" in text
    assert len(draw_banner.PLANES) == 7


@pytest.mark.slow
def test_the_script_draws_the_banner_that_lies_here() -> None:
    painted = draw_banner.paint() * 255
    with Image.open(BANNER) as picture:
        here = np.asarray(picture.convert("RGB"), dtype=np.float64)
    # It is stored in 256 colours: near everywhere, and without a patch that differs.
    difference = np.abs(painted - here)
    assert difference.mean() < 3
    assert difference.reshape(20, 25, 64, 25, 3).mean(axis=(1, 3, 4)).max() < 8
    drawn = [io.BytesIO(), io.BytesIO()]
    for file in drawn:
        draw_banner.indexed(painted / 255).save(file, "PNG", optimize=True)
    assert drawn[0].getvalue() == drawn[1].getvalue()
    again = np.asarray(Image.open(drawn[0]).convert("RGB"), dtype=np.float64)
    assert np.abs(again - here).mean() < 1
