"""Figure 7: accuracy against width."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.figures import certainty, style
from rtinterp.figures.accuracies import accuracies
from rtinterp.figures.curves import FLOOR_LABEL
from rtinterp.figures.figure import Figure
from rtinterp.figures.regime_style import regime_colour, regime_name
from rtinterp.papers.random_transformers.grid import RANDOM_AND_NORMAL
from rtinterp.plot.look import axes

N_COLUMNS = 2
#: Pixels of the second line of a panel's title.
TITLE_LINE = 18
#: Fewer seeds are shown one by one: quantiles of them would say nothing.
MIN_SEEDS_OF_A_BOX = 5
#: Ends of the whiskers: 80 % of the seeds lie between them.
LOW, HIGH = 0.1, 0.9
#: A floor above which the narrow models of a task lie below it.
HIGH_FLOOR = 0.75
#: Of the boxes, in doublings of the width, and how far they stand from their width.
BOX_WIDTH, SHIFT = 0.22, 0.14


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    n_rows = -(-len(tasks) // N_COLUMNS)
    figure = make_subplots(
        n_rows,
        N_COLUMNS,
        subplot_titles=[_panel_title(task, table.filter(pl.col("task") == task)) for task in tasks],
        horizontal_spacing=0.09,
        vertical_spacing=0.16,
    )
    for index, task in enumerate(tasks):
        place = {"row": index // N_COLUMNS + 1, "col": index % N_COLUMNS + 1}
        _add_task(figure, table.filter(pl.col("task") == task), place, first=index == 0)
    axes(figure).update_yaxes(range=[-0.03, 1.05], tickformat=".0%", title_text="test accuracy")
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.09})
    text = "<br>".join(filter(None, [style.subtitle(table), _note(table)]))
    style.finish_with(figure, "Figure 7: accuracy against width", text, width=1000, height=330 * n_rows)
    layout = figure.to_dict()["layout"]
    height, top = layout["height"] + TITLE_LINE, layout["margin"]["t"] + TITLE_LINE
    return figure.update_layout(margin_b=90, margin_t=top, height=height)


def _add_task(figure: go.Figure, table: pl.DataFrame, place: dict[str, Any], first: bool) -> None:
    for trainable, side in zip(RANDOM_AND_NORMAL, (-1, 1), strict=True):
        at_width = at_widths(table.filter(pl.col("trainable") == trainable), side)
        name, colour = regime_name(trainable), regime_colour(trainable)
        look = {"name": name, "legendgroup": name, **place}
        figure.add_scatter(
            x=at_width["x"].to_list(), y=at_width["median"].to_list(), mode="lines",
            line={"color": colour, "width": 2}, showlegend=first, **look,
        )  # fmt: skip
        _add_intervals(figure, at_width.drop_nulls("interval_low"), colour, look)
        _add_boxes(figure, at_width.filter(pl.col("n_seeds") >= MIN_SEEDS_OF_A_BOX), colour, look)
        _add_points(figure, at_width.filter(pl.col("n_seeds") < MIN_SEEDS_OF_A_BOX), colour, look)
    _add_floors(figure, table, place)
    widths = table["d_model"].unique().sort().to_list()
    ticks = {"tickvals": [math.log2(width) for width in widths], "ticktext": [str(width) for width in widths]}
    figure.update_xaxes({"title_text": "width (d<sub>model</sub>), logarithmic", **ticks}, **place)


def _note(table: pl.DataFrame) -> str:
    counted = table["n_effective_rows"] if "n_effective_rows" in table.columns else pl.Series([None])
    return "" if not counted.null_count() else "without error bars: drawn before test rows were counted"


def _panel_title(task: str, table: pl.DataFrame) -> str:
    return f"{style.task_title(task)} ({style.task_parameters(task)})" + style.small(certainty.rows_of(table))


def _add_intervals(figure: go.Figure, at_width: pl.DataFrame, colour: str, look: dict[str, str | int]) -> None:
    """Error bars of medians, on a line that does not show."""
    if at_width.is_empty():
        return
    above, below = (
        at_width.select(reach.clip(0)).to_series().to_list()
        for reach in (pl.col("interval_high") - pl.col("median"), pl.col("median") - pl.col("interval_low"))
    )
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": colour, "width": 5}
    points = {"x": at_width["x"].to_list(), "y": at_width["median"].to_list(), "error_y": {**bars, "thickness": 1.2}}
    figure.add_scatter(**points, mode="lines", line={"width": 0, "color": colour}, showlegend=False, **look)


def _add_floors(figure: go.Figure, table: pl.DataFrame, place: dict[str, Any]) -> None:
    """Dotted lines. Curves rise, so the label of a high one stands on the left, of a low one on the right."""
    floors = {table[kind][0]: table[f"{kind}_accuracy"][0] for kind in ("floor", "heuristic")}
    for label, height in floors.items():
        side = {"x": 0, "xanchor": "left"} if height > HIGH_FLOOR else {"x": 1, "xanchor": "right"}
        figure.add_hline(y=height, line={"color": style.FLOOR_COLOUR, "dash": "dot"}, **place)
        figure.add_annotation(
            y=height, yanchor="bottom", xref="x domain", text=label, showarrow=False, font=FLOOR_LABEL, **side, **place
        )


def at_widths(runs: pl.DataFrame, side: int) -> pl.DataFrame:
    """Make one row per width: where it stands, its accuracies, their median, quartiles and 80 % range.

    ``interval_low`` and ``interval_high`` are of the median, null where test rows were not counted. Boxes of one
    size need a linear axis, so ``x`` is log2(d_model) on a linear one, a little to one ``side``.
    """
    accuracy = pl.col("test_accuracy")
    at = {"low": LOW, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "high": HIGH}
    quantiles = {name: accuracy.quantile(share, "linear") for name, share in at.items()}
    runs = runs.sort("d_model", "seed")
    intervals = map(certainty.interval_of, runs.partition_by("d_model", maintain_order=True))
    ends = [(None, None) if interval is None else interval[:2] for interval in intervals]
    return (
        runs.group_by("d_model", maintain_order=True)
        .agg(accuracy.alias("accuracies"), n_seeds=pl.len(), **quantiles)
        .with_columns(x=pl.col("d_model").log(2) + side * SHIFT)
        .hstack(pl.DataFrame(ends, schema={"interval_low": pl.Float64, "interval_high": pl.Float64}, orient="row"))
    )


def _add_boxes(figure: go.Figure, at_width: pl.DataFrame, colour: str, look: dict[str, str | int]) -> None:
    if at_width.is_empty():
        return
    figure.add_box(
        x=at_width["x"].to_list(),
        median=at_width["median"].to_list(),
        q1=at_width["lower_quartile"].to_list(),
        q3=at_width["upper_quartile"].to_list(),
        lowerfence=at_width["low"].to_list(),
        upperfence=at_width["high"].to_list(),
        width=BOX_WIDTH,
        line={"color": colour, "width": 1.2},
        fillcolor=style.rgba(colour, 0.3),
        showlegend=False,
        **look,
    )


def _add_points(figure: go.Figure, at_width: pl.DataFrame, colour: str, look: dict[str, str | int]) -> None:
    runs = at_width.explode("accuracies")
    if runs.is_empty():
        return
    marker = {"color": colour, "size": 8, "opacity": 0.65}
    points = {"x": runs["x"].to_list(), "y": runs["accuracies"].to_list(), "customdata": runs["d_model"].to_list()}
    figure.add_scatter(**points, mode="markers", marker=marker, showlegend=False, **look)


FIGURE = Figure(
    name="figure7_width",
    title="Figure 7: accuracy against width",
    caption=(
        "Random transformers need width. Lines join the medians. With "
        f"{MIN_SEEDS_OF_A_BOX} seeds or more, boxes span the quartiles and whiskers the 10th to the 90th percentile, "
        "which is 80 % of the seeds; with fewer, each point is a seed. The two kinds of model stand a little to the "
        "left and to the right of their width. Error bars: the median's 95 % interval over test rows and seeds, as in "
        "table 1. Dotted: guessing, and the best simple heuristic; models whose error bar reaches down to a line are "
        "not surely above it. Every width of a curve had the same budget."
    ),
    experiment="figure7",
    compute=accuracies,
    plot=plot,
)
