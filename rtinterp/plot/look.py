"""One look for every drawing, in a notebook and on a page."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

FONT = "Helvetica, Arial, sans-serif"
INK = "#222222"
GRID = "#e6e6e6"
#: Colour-blind safe (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

#: Pixels that fit a notebook's cell.
CELL_WIDTH = 700
#: Pixels around a drawing in a cell.
MARGIN = {"l": 60, "r": 20, "t": 40, "b": 50}


def finish_cell(figure: go.Figure, height: int) -> go.Figure:
    """Give a figure the size and the look of a notebook's cell.

    Args:
        height: of the drawing, in pixels; the margins come on top of it.
    """
    figure.update_annotations(font_size=12)
    return figure.update_layout(
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        width=CELL_WIDTH,
        height=height + MARGIN["t"] + MARGIN["b"],
        margin=MARGIN,
    )


def axes(figure: go.Figure) -> go.Figure:
    """Give the axes a light grid and a dark frame."""
    look = {"showgrid": True, "gridcolor": GRID, "zeroline": False, "showline": True, "linecolor": INK, "mirror": True}
    return figure.update_xaxes(**look).update_yaxes(**look)


def colour_bar(title: str = "") -> dict[str, Any]:
    """Return a narrow bar with its title along it."""
    return {"title": {"text": title, "side": "right"}, "thickness": 14}
