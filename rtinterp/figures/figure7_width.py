"""Figure 7: accuracy against width."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.experiments import SCALES
from rtinterp.figures import style
from rtinterp.figures.figure import Figure
from rtinterp.figures.table1_accuracy import REGIMES, compute
from rtinterp.training.spec import RunSpec

N_COLUMNS = 2


def specs(scale: str, n_seeds: int) -> list[RunSpec]:
    return [
        run
        for experiment in SCALES[scale]
        for d_model in reversed(experiment.widths)
        for trainable in REGIMES
        for run in experiment.runs(d_model, trainable, n_seeds)
    ]


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    n_rows = -(-len(tasks) // N_COLUMNS)
    figure = make_subplots(
        n_rows,
        N_COLUMNS,
        subplot_titles=[f"{style.task_title(task)} ({style.task_parameters(task)})" for task in tasks],
        horizontal_spacing=0.09,
        vertical_spacing=0.16,
    )
    for index, task in enumerate(tasks):
        place = {"row": index // N_COLUMNS + 1, "col": index % N_COLUMNS + 1}
        _add_task(figure, table.filter(pl.col("task") == task), place, first=index == 0)
    style.axes(figure).update_yaxes(range=[-0.03, 1.05], tickformat=".0%", title_text="test accuracy")
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.09})
    style.finish(figure, "Figure 7: accuracy against width", table, width=1000, height=330 * n_rows)
    return figure.update_layout(margin_b=90)


def _add_task(figure: go.Figure, table: pl.DataFrame, place: dict[str, int], first: bool) -> None:
    widths = table["d_model"].unique().sort().to_list()
    for trainable in REGIMES:
        runs = table.filter(pl.col("trainable") == trainable).sort("d_model", "seed")
        medians = runs.group_by("d_model", maintain_order=True).agg(pl.col("test_accuracy").median())
        colour, name = style.REGIME_COLOURS[trainable], style.REGIME_NAMES[trainable]
        line = {"mode": "lines", "line": {"color": colour, "width": 2}, "showlegend": first}
        points = {"mode": "markers", "marker": {"color": colour, "size": 8, "opacity": 0.65}, "showlegend": False}
        for x, y, look in (
            (medians["d_model"], medians["test_accuracy"], line),
            (runs["d_model"], runs["test_accuracy"], points),
        ):
            figure.add_scatter(x=x.to_list(), y=y.to_list(), name=name, legendgroup=name, **look, **place)
    for kind in ("floor", "heuristic"):
        label, height = table[kind][0], table[f"{kind}_accuracy"][0]
        figure.add_hline(y=height, line={"color": style.FLOOR_COLOUR, "dash": "dot"}, **place)
        figure.add_annotation(
            x=1, xref="x domain", y=height, xanchor="right", yanchor="bottom", text=label, showarrow=False,
            font={"size": 10, "color": "#666666"}, **place,
        )  # fmt: skip
    ticks = {"tickvals": widths, "ticktext": [str(width) for width in widths]}
    figure.update_xaxes(type="log", title_text="width (d<sub>model</sub>)", **ticks, **place)


FIGURE = Figure(
    name="figure7_width",
    title="Figure 7: accuracy against width",
    caption=(
        "Random transformers need width: each point is a seed, lines join the medians. Dotted: guessing, and the best "
        "simple heuristic. Every width of a curve had the same budget."
    ),
    specs=specs,
    compute=compute,
    plot=plot,
)
