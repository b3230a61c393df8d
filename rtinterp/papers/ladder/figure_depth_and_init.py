"""Depth: what random transformers of growing depth do, by what they start with, and how far tokens keep apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.analysis import propagation_table
from rtinterp.figures import style
from rtinterp.figures.curves import add_curve
from rtinterp.figures.figure import Figure
from rtinterp.papers.ladder.initial_values import INITIAL_VALUES, name_of
from rtinterp.papers.ladder.looks import budgets, rung_title
from rtinterp.papers.ladder.tables import runs_table
from rtinterp.plot.look import COLOURS, axes
from rtinterp.training.run import Run

#: Test sequences whose tokens are followed through the layers.
N_ROWS = 256
PANEL_HEIGHT, LEAST_WIDTH = 210, 620
COLOUR_OF = dict(zip(INITIAL_VALUES, COLOURS, strict=False))


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: what ``runs_table`` has, and the initial model's tokens after the last layer.

    ``cosine`` is the mean between two positions of a sequence, ``cosine_before`` that before the first layer, and
    ``mean_square`` is of the residual stream after the last.
    """
    return runs_table(runs).hstack(pl.DataFrame([_propagation(run) for run in runs]))


def _propagation(run: Run) -> dict[str, str | float]:
    table = propagation_table(run.initial_model, run.spec.task.test_set().tokens[:N_ROWS])
    return {
        "initial_values": name_of(run.spec),
        "cosine_before": table["cosine"][0],
        "cosine": table["cosine"][-1],
        "mean_square": table["mean_square"][-1],
    }


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    titles = [rung_title(table.filter(pl.col("task") == task)) for task in tasks]
    figure = make_subplots(
        2, len(tasks), subplot_titles=titles, horizontal_spacing=0.2 / (len(tasks) + 1), vertical_spacing=0.13
    )
    for column, task in enumerate(tasks, start=1):
        of_task = table.filter(pl.col("task") == task)
        for name, colour in COLOUR_OF.items():
            runs = of_task.filter(pl.col("initial_values") == name)
            for row, measured in ((1, "accuracy"), (2, "cosine")):
                look: dict[str, Any] = {"name": name, "colour": colour, "in_legend": column == row == 1}
                add_curve(figure, runs, "n_layers", measured, **look, row=row, col=column)
        for kind in ("floor", "heuristic"):
            floor: dict[str, Any] = {"line": {"color": style.FLOOR_COLOUR, "dash": "dot"}, "row": 1, "col": column}
            figure.add_hline(y=of_task[f"{kind}_accuracy"][0], **floor)
    depths = table["n_layers"].unique().sort().to_list()
    axes(figure).update_yaxes(range=[-0.03, 1.05])
    figure.update_xaxes(type="log", tickvals=depths, ticktext=list(map(str, depths)))
    figure.update_xaxes(title_text="layers", row=2)
    figure.update_yaxes(tickformat=".0%", row=1)
    figure.update_yaxes(title_text="accuracy", row=1, col=1)
    figure.update_yaxes(title_text="cosine of tokens, untrained", row=2, col=1)
    width = max(LEAST_WIDTH, 120 + 245 * len(tasks))
    style.finish_with(figure, "Depth and initial values", budgets(table), width=width, height=2 * PANEL_HEIGHT)
    return figure.update_layout(margin_b=100, legend={"orientation": "h", "x": 0, "y": -0.14, "yanchor": "top"})


FIGURE = Figure(
    name="figure_depth_and_init",
    title="Depth and initial values",
    caption=(
        "Random transformers of 2 to 16 layers, of which the embeddings train. They start as GPT-2 does, which divides "
        "what writes to the residual stream by the root of twice the layers; without that; or with queries and keys "
        "of standard deviation 1/sqrt(d<sub>model</sub>) in place of 0.02. Above: accuracy after training; dotted: "
        "guessing and the best simple heuristic. Below: the mean cosine of two positions of a sequence after the last "
        "layer, before training, of which 1 means that tokens have become alike. Points are seeds, lines medians; "
        "widths are half of the least one that suffices with two layers and GPT-2's initial values, budgets those of "
        "two layers."
    ),
    experiment="depths",
    compute=compute,
    plot=plot,
    rows=("task",),
    n_bodies=3,
    hyper_parameters=("learning_rate",),
    more_columns={"initial_values": name_of},
)
