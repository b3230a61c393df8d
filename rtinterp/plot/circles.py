"""The circles on which modular arithmetic puts the residues."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import residue_circles
from rtinterp.plot.look import GRID, axes, colour_bar, finish_cell

HEIGHT = 165


def circles(W_E: Float[Tensor, "residue d_model"], n_circles: int = 3) -> go.Figure:
    """Draw the rows of an embedding matrix in the pairs of principal components that hold the best circles.

    Row n is residue n: cut other tokens off first. Residues are coloured by their angle on a circle of the frequency in
    the title, so that a circle shows as a wheel of colours; grey lines join its neighbours. Components count from 0.

    Raises:
        ValueError: as ``residue_circles``.
    """
    panels = residue_circles(W_E, n_circles).partition_by("circle", maintain_order=True)
    titles = [circle_title(panel) for panel in panels]
    figure = make_subplots(1, len(panels), subplot_titles=titles, horizontal_spacing=0.11)
    for column, panel in enumerate(panels, start=1):
        add_circle(figure, panel, shows_scale=column == 1, row=1, col=column)
    return finish_cell(axes(figure), HEIGHT).update_layout(margin_r=80)


def add_circle(figure: go.Figure, panel: pl.DataFrame, *, shows_scale: bool, row: int, col: int) -> None:
    """Add one circle of ``residue_circles``.

    Args:
        shows_scale: put the scale of colours, which all circles share, beside the drawing.
    """
    p, frequency = len(panel), panel["frequency"][0]
    panel = panel.with_columns(turn=(pl.col("residue") * frequency) % p / p).sort("turn")
    closed = pl.concat([panel, panel[:1]])
    figure.add_scatter(
        x=closed["x"].to_list(),
        y=closed["y"].to_list(),
        mode="lines",
        line={"color": GRID, "width": 1},
        hoverinfo="skip",
        showlegend=False,
        row=row,
        col=col,
    )
    marker = {"color": panel["turn"].to_list(), "colorscale": "Phase", "cmin": 0, "cmax": 1, "size": 8}
    if shows_scale:
        marker |= {"showscale": True, "colorbar": colour_bar("k · residue mod p, / p")}
    figure.add_scatter(
        x=panel["x"].to_list(),
        y=panel["y"].to_list(),
        text=panel["residue"].to_list(),
        hovertemplate="residue %{text}<extra></extra>",
        mode="markers",
        marker=marker,
        showlegend=False,
        row=row,
        col=col,
    )
    figure.update_xaxes(title_text=f"component {panel['component_x'][0]}", title_standoff=4, row=row, col=col)
    figure.update_yaxes(title_text=f"component {panel['component_y'][0]}", title_standoff=2, row=row, col=col)


def circle_title(panel: pl.DataFrame) -> str:
    """Say which circle it is, how well it fits, and how much of the variance its two components have."""
    frequency, r_squared, share = panel.select("frequency", "r_squared", "share_of_variance").row(0)
    return f"frequency {frequency} · R² {r_squared:.2f}<br>{share:.0%} of the variance"
