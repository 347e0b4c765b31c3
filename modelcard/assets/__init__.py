"""The banner of the cards, what is to be seen on it in words, and what draws it."""

from pathlib import Path

BANNER = Path(__file__).with_name("banner.png")  # 1600 x 500 pixels, under 300 kB
ALT = Path(__file__).with_name("alt.txt")  # the alternative text, UTF-8
