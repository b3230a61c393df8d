"""A curve as inline SVG."""

from __future__ import annotations

import html
from collections.abc import Sequence

WIDTH, HEIGHT = 360, 90
#: Pixels of the drawing that the curve keeps away from its frame.
INSET = 3
#: Pixels below the drawing, for the ends of the axis.
FOOT = 16


def curve(
    x: Sequence[float], y: Sequence[float], low: float, high: float, label: str, level: float | None = None
) -> str:
    """Draw ``y`` over ``x`` between two values of ``y``; nothing where there is no line to draw.

    Args:
        level: a value of ``y`` to compare with, drawn as a dashed line.
    """
    if len(x) < 2 or high <= low or x[-1] <= x[0]:
        return ""

    def height(value: float) -> float:
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return INSET + (1 - share) * (HEIGHT - 2 * INSET)

    points = " ".join(
        f"{(at - x[0]) / (x[-1] - x[0]) * WIDTH:.1f},{height(value):.1f}" for at, value in zip(x, y, strict=True)
    )
    dashed = ""
    if level is not None:
        dashed = (
            f'<line x1="0" x2="{WIDTH}" y1="{height(level):.1f}" y2="{height(level):.1f}" '
            'stroke="currentColor" stroke-opacity="0.6" stroke-dasharray="4 4"/>'
        )
    words = f'fill="currentColor" font-size="11" y="{HEIGHT + FOOT - 4}"'
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT + FOOT}" style="display: block; margin: 4px 0" role="img">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="currentColor" stroke-opacity="0.35"/>{dashed}'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<text x="0" {words}>{x[0]:,}</text>'
        f'<text x="{WIDTH / 2}" text-anchor="middle" {words}>{html.escape(label)}, {low:.3g} to {high:.3g}</text>'
        f'<text x="{WIDTH}" text-anchor="end" {words}>{x[-1]:,} steps</text></svg>'
    )
