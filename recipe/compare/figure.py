"""A comparison as a figure: B less A on both test sets, with its intervals, in SVG."""

from collections.abc import Sequence
from html import escape

from recipe.compare.result import DIFFERENCE, SIDES, Result

FIGURES = {"loss": "loss (less is better)", "accuracy": "reward accuracy", "margin": "reward margin"}
LEFT, PANEL, GAP, TOP, LINE = 190, 220, 30, 50, 26  # pixels
OUTSIDE, ACROSS = "#b3261e", "#4a5568"  # intervals without and with zero in them


def as_svg(result: Result) -> str:
    """Return the figure, the same text for the same result."""
    rows = [
        (f"{side.upper()}'s test set, {subset} {found['rows']:,}", found[DIFFERENCE])
        for side in SIDES
        for subset in ("all", "clean")
        if (found := result["test_sets"][side][subset])["rows"]
    ]
    width, height = LEFT + 3 * (PANEL + GAP), TOP + LINE * len(rows) + 30
    title = f"B ({result['b']['run']}) less A ({result['a']['run']}), with 95 % intervals"
    parts = [_text(10, 20, title, bold=True)]
    parts += [_text(10, _y(place) + 4, label) for place, (label, _) in enumerate(rows)]
    for place, (name, label) in enumerate(FIGURES.items()):
        parts += _panel(LEFT + place * (PANEL + GAP), label, [found[name] for _, found in rows])
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="#1a202c">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )


def _panel(left: int, label: str, found: Sequence[Result]) -> list[str]:
    """Return one figure's intervals around zero, on a scale of their own."""
    reach = max([abs(each[bound]) for each in found for bound in ("low", "high")] + [1e-6])

    def x(value: float) -> float:
        return left + PANEL / 2 * (1 + float(value) / float(reach))

    bottom = TOP + LINE * len(found)
    parts = [
        _text(left, TOP - 8, label),
        f'<line x1="{x(0):.1f}" y1="{TOP}" x2="{x(0):.1f}" y2="{bottom}" stroke="#cbd5e0"/>',
        _text(left, bottom + 16, f"{-reach:+.3f}"),
        _text(left + PANEL, bottom + 16, f"{reach:+.3f}", end=True),
    ]
    for place, each in enumerate(found):
        y, colour = _y(place), OUTSIDE if each["excludes_zero"] else ACROSS
        parts += [
            f'<line x1="{x(each["low"]):.1f}" y1="{y}" x2="{x(each["high"]):.1f}" y2="{y}" stroke="{colour}" '
            'stroke-width="2"/>',
            f'<circle cx="{x(each["value"]):.1f}" cy="{y}" r="4" fill="{colour}"/>',
        ]
    return parts


def _y(place: int) -> int:
    return TOP + LINE * place + LINE // 2


def _text(x: float, y: float, text: str, *, bold: bool = False, end: bool = False) -> str:
    style = (' font-weight="bold"' if bold else "") + (' text-anchor="end"' if end else "")
    return f'<text x="{x:.0f}" y="{y:.0f}"{style}>{escape(text)}</text>'
