"""SVG files that stand alone, light or dark as their reader wants it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

MARGIN = 16
_HEAD = 52
_LEGEND = 38
_STYLE = """
.paper { fill: var(--card); stroke: var(--edge); }
svg text.heading { font-size: 15px; font-weight: 600; fill: var(--text); }
svg text.remark { font-size: 12.5px; }
"""


def standalone(
    drawing: str,
    size: tuple[int, int],
    heading: str,
    remark: str,
    legend: Sequence[tuple[str, str]],
    style: str = "",
) -> str:
    """Return a whole SVG document around a drawing.

    Parameters
    ----------
    drawing
        An `svg` element.
    size
        Its width and height.
    heading, remark
        The two lines above it.
    legend
        What is drawn, 26 wide and 12 high, and what it means.
    style
        Rules in addition to those of the demo's report.
    """
    width, height = size[0] + 2 * MARGIN, _HEAD + size[1] + _LEGEND
    rules = files("benchmarks.figures").joinpath("plot.css").read_text(encoding="utf-8")
    placed = drawing.replace(
        "<svg ", f'<svg x="{MARGIN}" y="{_HEAD}" width="{size[0]}" height="{size[1]}" ', 1
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">\n<style>\n{rules}{_STYLE}{style}</style>\n'
        f'<rect class="paper" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>\n'
        f'<text class="heading" x="{MARGIN}" y="26">{escape(heading)}</text>\n'
        f'<text class="remark" x="{MARGIN}" y="44">{escape(remark)}</text>\n'
        f"{placed}\n{_legend(legend, _HEAD + size[1] + 10)}\n</svg>\n"
    )


def _legend(items: Sequence[tuple[str, str]], y: int) -> str:
    parts = []
    x = float(MARGIN)
    for sample, meaning in items:
        parts.append(
            f'<g transform="translate({x:.0f} {y})">{sample}'
            f'<text x="33" y="10">{escape(meaning)}</text></g>'
        )
        x += 33 + 6.2 * len(meaning) + 26
    return "".join(parts)
