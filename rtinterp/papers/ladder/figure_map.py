"""The map: the least width that suffices, of random transformers against fully trained ones."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.figures.figure import Figure
from rtinterp.figures.regime_style import regime_colour
from rtinterp.figures.style import finish_with, small
from rtinterp.papers.ladder.grid import RANDOM_AND_TRAINED
from rtinterp.papers.ladder.looks import budgets, family, rung_name
from rtinterp.papers.ladder.order import agreement
from rtinterp.papers.ladder.tables import runs_table, threshold_table
from rtinterp.plot.look import COLOURS, GRID, axes

ROW_HEIGHT, LEAST_HEIGHT = 19, 500
#: How far points stand apart that would lie on each other in the map, in doublings of the width.
APART = 0.24
#: Around the widths of an axis, in doublings.
MARGIN = 0.6
NAMES = {"embeddings": "W*, random transformer", "all": "w*, fully trained"}
#: What is known of a least width, and how it is drawn in the list.
MARKS = {
    "exactly": "circle",
    "at most": "triangle-left-open",
    "more than": "triangle-right-open",
    "open": "line-ew-open",
}
#: In the map, by what is known of w* and of W*.
SYMBOL_OF = {
    ("exactly", "exactly"): "circle",
    ("at most", "exactly"): "triangle-left-open",
    ("exactly", "more than"): "triangle-up-open",
    ("more than", "exactly"): "triangle-right-open",
    ("more than", "more than"): "triangle-ne-open",
    ("at most", "more than"): "triangle-nw-open",
}


def plot(table: pl.DataFrame) -> go.Figure:
    known = thresholds(table)
    rungs = known.select("task", "dial", "value").unique(maintain_order=True)
    titles = [_order_title(known), "Every rung"]
    figure = make_subplots(1, 2, column_widths=[0.42, 0.58], horizontal_spacing=0.26, subplot_titles=titles)
    powers = [math.log2(width) for width in table["d_model"].unique().sort() if _is_power_of_two(width)]
    ends = [powers[0] - MARGIN, powers[-1] + MARGIN]
    _add_map(figure, known, ends)
    _add_rungs(figure, known, rungs)
    axes(figure)
    look = {"tickvals": powers, "ticktext": [f"{2**power:.0f}" for power in powers], "range": ends}
    figure.update_xaxes(**look)
    figure.update_yaxes(**look, title_text=NAMES["embeddings"], col=1)
    figure.update_xaxes(title_text=NAMES["all"], col=1)
    figure.update_xaxes(title_text="least width that reaches 99 %", col=2)
    height = max(LEAST_HEIGHT, ROW_HEIGHT * len(rungs))
    subtitle = (
        f"{budgets(table)}<br>left: numbers are values of the dial, triangles point to where a width must lie, and "
        "points of one place stand side by side"
    )
    finish_with(figure, "How much width a random network needs", subtitle, width=1180, height=height)
    return figure.update_layout(margin_b=170, legend={"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"})


def thresholds(table: pl.DataFrame) -> pl.DataFrame:
    """Make the table of least widths, each among those trained for it and the table's powers of two between them.

    ``known`` says what is known of it: ``width`` "exactly"; "at most" where it is the narrowest that was trained;
    "more than" where ``widest`` does not suffice; or "open" between ``below`` and ``width``.
    """
    powers = list(filter(_is_power_of_two, table["d_model"].unique()))
    searches = table.partition_by("task", "kind", "trainable", maintain_order=True)
    own = [sorted(set(one["d_model"])) for one in searches]
    tried = (sorted({*widths, *(n for n in powers if widths[0] < n < widths[-1])}) for widths in own)
    is_exact = pl.col("below").is_not_null()
    known = (
        pl.when(pl.col("status") == "open").then(pl.lit("open"))
        .when(pl.col("status") == "not reached").then(pl.lit("more than"))
        .when(is_exact).then(pl.lit("exactly")).otherwise(pl.lit("at most"))
    )  # fmt: skip
    return pl.concat(map(threshold_table, searches, tried), how="diagonal_relaxed").with_columns(known=known)


def _order_title(known: pl.DataFrame) -> str:
    alike, opposed = agreement(known)
    return "W* against w*" + small(f"pairs of rungs whose order is certain: {alike} alike, {opposed} opposed")


def _is_power_of_two(width: int) -> bool:
    return width.bit_count() == 1


def place_of(row: dict[str, Any]) -> float:
    """Tell where a row of ``thresholds`` stands, as log2 of a width.

    What no width reaches stands at the widest that was trained, and an open one in the middle of what is left.
    """
    if row["status"] == "reached":
        return math.log2(row["width"])
    if row["status"] == "not reached":
        return math.log2(row["widest"])
    return (math.log2(row["below"]) + math.log2(row["width"])) / 2


class Spot(NamedTuple):
    """Where a rung stands in the map: log2 of w* and of W*, and what is known of both."""

    x: float
    y: float
    symbol: str


def _add_map(figure: go.Figure, known: pl.DataFrame, ends: list[float]) -> None:
    """One line for each task, along its dial; open symbols where one of the two is not known exactly."""
    diagonal = {"color": GRID, "width": 2}
    figure.add_scatter(x=ends, y=ends, mode="lines", line=diagonal, showlegend=False, hoverinfo="skip", row=1, col=1)
    families: dict[str, dict[Spot, list[str]]] = {}
    for of_rung in known.partition_by("task", "kind", maintain_order=True):
        rows = {row["trainable"]: row for row in of_rung.iter_rows(named=True)}
        if set(rows) == set(RANDOM_AND_TRAINED):
            of_family = families.setdefault(family(of_rung["task"][0]), {})
            of_family.setdefault(_spot(rows["all"], rows["embeddings"]), []).append(str(of_rung["value"][0]))
    at_place: dict[tuple[float, float], list[tuple[str, Spot]]] = {}
    for name, spots in families.items():
        for spot in spots:
            at_place.setdefault((spot.x, spot.y), []).append((name, spot))
    for number, (name, spots) in enumerate(families.items()):
        # Across the diagonal's direction, so that which of the two is more stays in sight.
        shifts = [APART * _from_the_middle(at_place[spot.x, spot.y], (name, spot)) for spot in spots]
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(
            x=[spot.x + shift for spot, shift in zip(spots, shifts, strict=True)],
            y=[spot.y - shift for spot, shift in zip(spots, shifts, strict=True)],
            text=list(map(", ".join, spots.values())), name=name,
            marker={"size": 9, "symbol": [spot.symbol for spot in spots], "color": colour, "line": {"width": 2}},
            line={"color": colour, "width": 1.5}, mode="lines+markers+text",
            textposition="middle right", textfont={"size": 9}, row=1, col=1,
        )  # fmt: skip


def _spot(trained: dict[str, Any], random: dict[str, Any]) -> Spot:
    symbol = SYMBOL_OF.get((trained["known"], random["known"]), "circle-open")
    return Spot(place_of(trained), place_of(random), symbol)


def _from_the_middle(of_place: list[tuple[str, Spot]], one: tuple[str, Spot]) -> float:
    return of_place.index(one) - (len(of_place) - 1) / 2


def _add_rungs(figure: go.Figure, known: pl.DataFrame, rungs: pl.DataFrame) -> None:
    """One line for each rung, with the least width of fully trained models and that of random ones."""
    names = [rung_name(*rung) for rung in rungs.iter_rows()]
    for trainable in RANDOM_AND_TRAINED:
        for status, symbol in MARKS.items():
            found = known.filter(pl.col("trainable") == trainable, pl.col("known") == status).rows(named=True)
            if found:
                y = [names.index(rung_name(row["task"], row["dial"], row["value"])) for row in found]
                look = {"color": regime_colour(trainable), "size": 10, "symbol": symbol, "opacity": 0.8}
                told = NAMES[trainable] if status == "exactly" else f"{NAMES[trainable].split(',')[0]}: {status}"
                figure.add_scatter(
                    x=list(map(place_of, found)), y=y, mode="markers", marker=look | {"line": {"width": 2}},
                    name=told, row=1, col=2,
                )  # fmt: skip
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5], row=1, col=2)


FIGURE = Figure(
    name="figure_map",
    title="How much width a random network needs",
    caption=(
        "The least width at which the median seed reaches 99 % on test rows: W* of a transformer whose embeddings "
        "alone train, w* of the same one when everything does, both of two layers that start as GPT-2 does. Left, a "
        "line for each task, along its dial, whose values are written at the points; on the grey diagonal random "
        "networks would need no more width. Points that would lie on each other stand side by side, and triangles "
        "point to where a width must lie that is not known exactly. Above, how many pairs of rungs both widths put in "
        "one order, and in opposite ones, of those whose two orders are certain. Right, every rung. Widths are powers "
        "of two, and 384 for needles, found by bisection: a wider model is taken to do no worse. Filled symbols: this "
        "width was trained, and the one below it, which falls short. Open triangles point to the right at the widest "
        "that was trained where that falls short, to the left at the narrowest where that suffices; what no width "
        "reaches in these few steps may be reached by wider ones, or with more of them. In k-hop induction, positions "
        "count that at least one hop leads to a character from."
    ),
    experiment="least_widths",
    compute=runs_table,
    plot=plot,
    rows=("task",),
    n_bodies=3,
    hyper_parameters=("learning_rate",),
)
