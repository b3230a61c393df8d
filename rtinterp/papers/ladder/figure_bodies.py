"""Other bodies: which tasks are solved by their embeddings alone, and which when everything trains."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.figures import style
from rtinterp.figures.figure import Figure
from rtinterp.figures.regime_style import regime_colour
from rtinterp.papers.ladder.bodies import TOLD, kind_of
from rtinterp.papers.ladder.grid import RANDOM_AND_TRAINED
from rtinterp.papers.ladder.looks import budgets, rung_title
from rtinterp.papers.ladder.tables import BAR, runs_table
from rtinterp.plot.look import axes

MOST_COLUMNS, COLUMN_WIDTH = 2, 530
PANEL_HEIGHT = 250
#: What trains, of whatever body.
NAME_OF = {"embeddings": "embeddings alone", "all": "fully trained"}
#: How far random and fully trained models stand to the left and right of their body's place.
SHIFT = 0.15
#: Of the line at the median.
HALF_LINE = 0.12


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    n_columns = min(MOST_COLUMNS, len(tasks))
    n_rows = -(-len(tasks) // n_columns)
    titles = [rung_title(table.filter(pl.col("task") == task)) for task in tasks]
    figure = make_subplots(
        n_rows, n_columns, subplot_titles=titles, horizontal_spacing=0.07, vertical_spacing=0.36 / n_rows
    )
    bodies = [name for name in TOLD if name in set(table["kind"])]
    for index, task in enumerate(tasks):
        place = {"row": index // n_columns + 1, "col": index % n_columns + 1}
        _add_panel(figure, table.filter(pl.col("task") == task), bodies, place, first=index == 0)
    axes(figure).update_yaxes(range=[-0.03, 1.06], tickformat=".0%", dtick=0.25)
    names = [TOLD[name].replace(" ", "<br>", 1) for name in bodies]
    figure.update_xaxes(
        tickangle=0,
        tickfont_size=10,
        tickvals=list(range(len(bodies))),
        ticktext=names,
        range=[-0.5, len(bodies) - 0.5],
    )
    style.finish_with(
        figure, "Other bodies", budgets(table), width=120 + COLUMN_WIDTH * n_columns, height=PANEL_HEIGHT * n_rows
    )
    return figure.update_layout(margin_b=80, legend={"orientation": "h", "x": 0, "y": -0.24 / n_rows, "yanchor": "top"})


def _add_panel(figure: go.Figure, table: pl.DataFrame, bodies: list[str], place: dict[str, Any], first: bool) -> None:
    for trainable, side in zip(RANDOM_AND_TRAINED, (-1, 1), strict=True):
        colour, name = regime_colour(trainable), NAME_OF[trainable]
        of_kind = table.filter(pl.col("trainable") == trainable)
        look = {"name": name, "legendgroup": name, **place}
        marker = {"color": colour, "size": 8, "opacity": 0.65}
        middles = {body: number + side * SHIFT for number, body in enumerate(bodies)}
        points = [(middles[body], value) for body, value in of_kind.select("kind", "accuracy").iter_rows()]
        x, y = zip(*points, strict=True) if points else ((), ())
        figure.add_scatter(x=x, y=y, mode="markers", marker=marker, showlegend=first, **look)
        for body, median in of_kind.group_by("kind").agg(pl.col("accuracy").fill_null(0).median()).iter_rows():
            ends = [middles[body] - HALF_LINE, middles[body] + HALF_LINE]
            line = {"color": colour, "width": 2.5}
            figure.add_scatter(x=ends, y=[median] * 2, mode="lines", line=line, showlegend=False, **look)
    for kind in ("floor", "heuristic"):
        height = table[f"{kind}_accuracy"][0]
        figure.add_hline(y=height, line={"color": style.FLOOR_COLOUR, "dash": "dot"}, **place)
    figure.add_hline(y=BAR, line={"color": style.FLOOR_COLOUR, "width": 0.8}, **place)


FIGURE = Figure(
    name="figure_bodies",
    title="Other bodies",
    caption=(
        "Two layers of other kinds in the place of the transformer's: queries and keys that start with a standard "
        "deviation of 1/sqrt(d<sub>model</sub>), attention without softmax, retention, gated linear attention, an "
        "LSTM, Mamba and S4D. Of all, either the embeddings train alone in a frozen random body, or everything does, "
        "with one budget for all bodies of a task (an LSTM that trains has its own rate). Points are seeds, lines "
        "their medians; dotted: guessing and the best simple heuristic; thin: 99 %. Mamba, S4D and LSTM have no "
        "positional embedding, and models of one width differ in how many parameters they have."
    ),
    experiment="bodies",
    compute=runs_table,
    plot=plot,
    rows=("task",),
    n_bodies=3,
    hyper_parameters=("learning_rate",),
    more_columns={"kind": lambda spec: kind_of(spec.model)},
)
