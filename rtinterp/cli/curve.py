"""A curve drawn with characters, for terminals and files alike."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 60
HEIGHT = 10
MARK = "*"


def text_curve(x: Sequence[float], y: Sequence[float], low: float, high: float, label: str) -> list[str]:
    """Lines of a plot of ``y`` over ``x`` between two values of ``y``: the label, the curve, an axis with its ends.

    Args:
        x: not falling.
        low: bottom of the plot.
        high: top of the plot, more than ``low``.
    """
    first, last = x[0], x[-1]
    rows = [[" "] * WIDTH for _ in range(HEIGHT)]
    for at, value in zip(x, y, strict=True):
        column = WIDTH - 1 if last == first else round((at - first) / (last - first) * (WIDTH - 1))
        height = min(max((value - low) / (high - low), 0.0), 1.0)
        rows[HEIGHT - 1 - round(height * (HEIGHT - 1))][column] = MARK
    ends = {0: f"{high:.4g}", HEIGHT - 1: f"{low:.4g}"}
    lines = [f"{ends.get(number, ''):>8} |{''.join(row).rstrip()}" for number, row in enumerate(rows)]
    axis = f"{first:,}{last:>{WIDTH - len(f'{first:,}')},}"
    return [label, *lines, f"{'':8} +{'-' * WIDTH}", f"{'':10}{axis}"]
