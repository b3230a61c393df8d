"""The map: the least width that suffices, of random transformers against fully trained ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.figures.figure import Figure
from rtinterp.figures.regime_style import regime_colour
from rtinterp.figures.style import finish_with
from rtinterp.papers.ladder.grid import RANDOM_AND_TRAINED
from rtinterp.papers.ladder.looks import budgets, family, rung_name
from rtinterp.papers.ladder.tables import SEARCH, runs_table, threshold_table
from rtinterp.plot.look import COLOURS, GRID, axes

ROW_HEIGHT, LEAST_HEIGHT = 19, 420
#: One after the other where there are more families than colours.
SYMBOLS = ("circle", "square", "diamond")
#: How far families stand apart in the map, all together, in doublings of the width.
SPREAD = 0.5
#: What stands for widths that none of those tried reaches, in doublings behind the widest.
BEYOND = 1.0
NAMES = {"embeddings": "W*, random transformer", "all": "w*, fully trained"}


def plot(table: pl.DataFrame) -> go.Figure:
    widths = table["d_model"].unique().sort().to_list()
    known = thresholds(table)
    rungs = known.select("task", "dial", "value").unique(maintain_order=True)
    figure = make_subplots(1, 2, column_widths=[0.42, 0.58], horizontal_spacing=0.26)
    _add_map(figure, known, widths)
    _add_rungs(figure, known, rungs, widths)
    axes(figure)
    ticks = [*(math.log2(width) for width in widths), math.log2(widths[-1]) + BEYOND]
    look = {"tickvals": ticks, "ticktext": [*map(str, widths), f"> {widths[-1]}"]}
    figure.update_xaxes(**look, range=[ticks[0] - 0.6, ticks[-1] + 0.6])
    figure.update_yaxes(**look, range=[ticks[0] - 0.6, ticks[-1] + 0.6], title_text=NAMES["embeddings"], col=1)
    figure.update_xaxes(title_text=NAMES["all"], col=1)
    figure.update_xaxes(title_text="least width that reaches 99 %", col=2)
    height = max(LEAST_HEIGHT, ROW_HEIGHT * len(rungs))
    finish_with(figure, "How much width a random network needs", budgets(table), width=1180, height=height)
    return figure.update_layout(margin_b=130, legend={"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"})


def thresholds(table: pl.DataFrame) -> pl.DataFrame:
    """Make the table of least widths, at each scale among the widths that it has runs of."""
    parts = table.partition_by("scale", maintain_order=True) if "scale" in table.columns else [table]
    return pl.concat(threshold_table(part, part["d_model"].unique().sort().to_list()) for part in parts)


def place_of(row: dict[str, Any]) -> float | None:
    """Tell where a row of ``thresholds`` stands, as log2 of a width; None where it is open."""
    if row["status"] == "open":
        return None
    return math.log2(row["width"]) if row["status"] == "reached" else math.log2(row["widest"]) + BEYOND


def _add_map(figure: go.Figure, known: pl.DataFrame, widths: Sequence[int]) -> None:
    ends = [math.log2(widths[0]) - 0.6, math.log2(widths[-1]) + 0.6 + BEYOND]
    diagonal = {"color": GRID, "width": 2}
    figure.add_scatter(x=ends, y=ends, mode="lines", line=diagonal, showlegend=False, hoverinfo="skip", row=1, col=1)
    families: dict[str, list[tuple[int, float, float]]] = {}
    for of_rung in known.partition_by([name for name in SEARCH if name != "trainable"], maintain_order=True):
        places = {row["trainable"]: place_of(row) for row in of_rung.iter_rows(named=True)}
        random, trained = (places.get(trainable) for trainable in RANDOM_AND_TRAINED)
        if random is not None and trained is not None:
            families.setdefault(family(of_rung["task"][0]), []).append((of_rung["value"][0], trained, random))
    for number, (name, points) in enumerate(families.items()):
        shift = SPREAD * (number / max(1, len(families) - 1) - 0.5)
        values, x, y = zip(*points, strict=True)
        marker = {"size": 9, "symbol": SYMBOLS[number // len(COLOURS) % len(SYMBOLS)]}
        look = {"line": {"color": COLOURS[number % len(COLOURS)], "width": 1.5}, "marker": marker, "name": name}
        figure.add_scatter(
            x=[at + shift for at in x], y=[at - shift for at in y], text=list(map(str, values)),
            mode="lines+markers+text", textposition="top center", textfont={"size": 9}, row=1, col=1, **look,
        )  # fmt: skip


def _add_rungs(figure: go.Figure, known: pl.DataFrame, rungs: pl.DataFrame, widths: Sequence[int]) -> None:
    """One line for each rung, from the least width of fully trained models to that of random ones."""
    names = [rung_name(*rung) for rung in rungs.iter_rows()]
    for trainable in RANDOM_AND_TRAINED:
        colour = regime_colour(trainable)
        found = known.filter(pl.col("trainable") == trainable)
        rows = [(names.index(rung_name(row["task"], row["dial"], row["value"])), row) for row in found.rows(named=True)]
        for status, symbol in (("reached", "circle"), ("not reached", "triangle-right-open"), ("open", "line-ew-open")):
            points = [(_bracketed(row), place) for place, row in rows if row["status"] == status]
            if points:
                x, y = zip(*points, strict=True)
                marker = {"color": colour, "size": 10, "symbol": symbol, "line": {"width": 2}, "opacity": 0.8}
                told = NAMES[trainable] if status == "reached" else f"{NAMES[trainable]}: {status}"
                figure.add_scatter(x=x, y=y, mode="markers", marker=marker, name=told, row=1, col=2)
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5], row=1, col=2)


def _bracketed(row: dict[str, Any]) -> float:
    """Where a row is drawn in the list: an open one in the middle of what is left."""
    place = place_of(row)
    if place is not None:
        return place
    low = math.log2(row["below"] or row["narrowest"])
    high = math.log2(row["width"]) if row["width"] else math.log2(row["widest"]) + BEYOND
    return (low + high) / 2


FIGURE = Figure(
    name="figure_map",
    title="How much width a random network needs",
    caption=(
        "The least width at which the median seed reaches 99 % on test rows: W* of a transformer whose embeddings "
        "alone train, w* of the same one when everything does, both of two layers. Left, a line for each task, along "
        "its dial, whose values are written at the points; on the grey diagonal random networks would need no more "
        "width. Right, every rung. Widths are powers of two, found by bisection: a wider model is taken to do no "
        "worse, and the width found and the one below it were trained. What no width reaches within the budget stands "
        "at the edge, which is no claim that wider ones would not, nor that longer training would not; horizontal "
        "strokes are searches that time cut off. Points of different tasks are moved apart a little. In k-hop "
        "induction, positions count that at least one hop leads to a character from."
    ),
    experiment="least_widths",
    compute=runs_table,
    plot=plot,
    rows=("task",),
    n_bodies=3,
    hyper_parameters=("learning_rate",),
)
