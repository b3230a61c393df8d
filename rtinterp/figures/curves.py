"""Curves over runs: a point for every seed, a line through the medians, and dotted floors to compare them with."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import style

FLOOR_LABEL = {"size": 10, "color": "#666666"}


def add_curve(
    figure: go.Figure,
    runs: pl.DataFrame,
    x: str,
    y: str,
    *,
    name: str,
    colour: str,
    dash: str = "solid",
    symbol: str = "circle",
    in_legend: bool = True,
    **place: int,
) -> None:
    """Plot column ``y`` of runs over column ``x``.

    Args:
        place: ``row`` and ``col`` of the panel, where there are several.
    """
    runs = runs.sort(x, "seed")
    medians = runs.group_by(x, maintain_order=True).agg(pl.col(y).median())
    line = {"mode": "lines", "line": {"color": colour, "width": 2, "dash": dash}, "showlegend": in_legend}
    marker = {"color": colour, "size": 8, "opacity": 0.65, "symbol": symbol}
    points = {"mode": "markers", "marker": marker, "showlegend": False}
    for table, look in ((medians, line), (runs, points)):
        figure.add_scatter(x=table[x].to_list(), y=table[y].to_list(), name=name, legendgroup=name, **look, **place)


def add_floor(figure: go.Figure, height: float, label: str) -> None:
    """Add a dotted line over the whole drawing, with its label to the right of it, where no point can lie."""
    figure.add_hline(y=height, line={"color": style.FLOOR_COLOUR, "dash": "dot"})
    figure.add_annotation(
        x=1.01, xref="paper", y=height, xanchor="left", text=label, align="left", showarrow=False, font=FLOOR_LABEL
    )


def log_axis(figure: go.Figure, values: list[int], title: str, row: int | None = None, col: int | None = None) -> None:
    """Make the x axis logarithmic, with ticks at the values that occur."""
    ticks = {"tickvals": values, "ticktext": [str(value) for value in values]}
    figure.update_xaxes({"type": "log", "title_text": title, **ticks}, row=row, col=col)
