"""Whether a subspace holds a variable of the task: interchange accuracy by variable, site, basis and rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.figures import style
from rtinterp.figures.curves import FLOOR_LABEL, log_axis
from rtinterp.figures.figure import TASK, Figure, with_run_columns
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.papers.mechanism.interchange_measurements import (
    AFTER_FIRST,
    AFTER_LAST,
    ANSWER,
    CONTROL_RANK,
    RANKS,
    SEARCH,
    WORTH_SEARCHING,
    interchanged,
)
from rtinterp.plot.look import COLOURS, axes
from rtinterp.training.run import Run

#: What a basis is called.
BASES = {
    "learned": "learned (DAS)",
    "principal": "largest variance",
    "sensitive": "read most",
    "random": "random",
    "placebo": "learned from shuffled answers",
    "untrained": "learned in the untrained model",
}
CURVES = ("learned", "principal", "sensitive", "random")
#: The axis of ranks, which is the same where nothing is searched.
RANK_AXIS = [math.log10(RANKS[0]) - 0.1, math.log10(RANKS[-1]) + 0.1]
#: Pixels of a row of panels, and above the first, whose titles have three lines.
ROW_HEIGHT, TITLES_HEIGHT = 280, 25


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, variable, site, place, basis, draw and rank: the interchange accuracy, in [0, 1].

    Bases are those of ``BASES``; ``whole``, where all of the site changes; and ``seen`` and ``unseen``, the parts of
    the learned one that the unembedding reads and does not. ``share_seen`` is how much of its directions lies in the
    first. ``intact`` is how often the answer of the source is given without any interchange.
    """
    return pl.concat(with_run_columns(run, interchanged(run)) for run in runs)


def plot(table: pl.DataFrame) -> go.Figure:
    models = table.select("task", "trainable").unique(maintain_order=True).rows()
    of_task = table.select("task", "variable").unique(maintain_order=True).group_by("task").len()["len"]
    sites = [AFTER_FIRST, AFTER_LAST]
    n_columns = len(sites) * int(of_task.max())  # pyright: ignore[reportArgumentType]
    panels: list[tuple[int, int, pl.DataFrame, str]] = []
    for row, (task, trainable) in enumerate(models, 1):
        of_model = table.filter(pl.col("task") == task, pl.col("trainable") == trainable)
        for number, variable in enumerate(of_model["variable"].unique(maintain_order=True)):
            for column, site in enumerate(sites, 1 + len(sites) * number):
                rows = of_model.filter(pl.col("variable") == variable, pl.col("site") == site)
                title = f"{style.task_title(task)},<br>{regime_name(trainable)}{style.small(f'{variable}, {site}')}"
                panels.append((row, column, rows, title))
    titles = {(row, column): title for row, column, _, title in panels}
    places = [(row, column) for row in range(1, len(models) + 1) for column in range(1, n_columns + 1)]
    figure = make_subplots(
        len(models), n_columns, subplot_titles=[titles.get(place, " ") for place in places],
        horizontal_spacing=0.035, vertical_spacing=0.42 / len(models),
    )  # fmt: skip
    figure.update_annotations(font_size=12)
    for row, column, rows, _ in panels:
        _add_panel(figure, rows, row, column)
        _add_searched(figure, rows, row, column)
    axes(figure).update_yaxes(range=[-0.03, 1.05], tickformat=".0%").update_xaxes(range=RANK_AXIS)
    figure.update_xaxes(title_font_size=11, title_standoff=4)
    figure.update_yaxes(title_text="interchange accuracy", title_font_size=11, col=1)
    for row, column in set(places) - set(titles):
        figure.update_xaxes(visible=False, row=row, col=column).update_yaxes(visible=False, row=row, col=column)
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.3 / len(models)})
    text = f"{style.subtitle(table)}<br>at the position that predicts; line: the whole site; by number of directions"
    height = ROW_HEIGHT * len(models) + TITLES_HEIGHT
    style.finish_with(figure, "Which variables a subspace holds, where", text, width=1180, height=height)
    above = figure.to_dict()["layout"]["margin"]["t"]
    return figure.update_layout(margin_t=above + TITLES_HEIGHT, margin_b=110)


def _add_panel(figure: go.Figure, table: pl.DataFrame, row: int, column: int) -> None:
    place: dict[str, Any] = {"row": row, "col": column}
    at_answer = table.filter(pl.col("place") == ANSWER)
    for (basis, name), colour in zip(BASES.items(), COLOURS, strict=False):
        rows = at_answer.filter(pl.col("basis") == basis)
        medians = rows.group_by("rank", maintain_order=True).agg(pl.col("accuracy").median()).sort("rank")
        figure.add_scatter(
            x=medians["rank"].to_list(), y=medians["accuracy"].to_list(), name=name, legendgroup=name,
            showlegend=(row, column) == (1, 2), mode="lines+markers" if basis in CURVES else "markers",
            line={"color": colour, "width": 1.8}, marker={"size": 5 if basis in CURVES else 9}, **place,
        )  # fmt: skip
    for basis, symbol in (("seen", "triangle-up"), ("unseen", "triangle-down")):
        rows = at_answer.filter(pl.col("basis") == basis)
        figure.add_scatter(
            x=[CONTROL_RANK] * len(rows), y=rows["accuracy"].to_list(), name=f"learned, part {basis}", mode="markers",
            legendgroup=basis, showlegend=(row, column) == (1, 2),
            marker={"symbol": symbol, "size": 8, "color": "#555"}, **place,
        )  # fmt: skip
    whole = at_answer.filter(pl.col("basis") == "whole")["accuracy"].median()
    figure.add_hline(y=whole, line={"color": style.FLOOR_COLOUR, "dash": "dash", "width": 1}, **place)
    log_axis(figure, list(RANKS), "directions", **place)


def _add_searched(figure: go.Figure, table: pl.DataFrame, row: int, column: int) -> None:
    """Say in how many seeds directions were looked for, where that was not in all."""
    at_answer = table.filter(pl.col("place") == ANSWER)
    n_seeds, n_searched = (of["seed"].n_unique() for of in (at_answer, at_answer.filter(pl.col("basis") == "learned")))
    if n_searched < n_seeds:
        text = f"searched in {n_searched} of {n_seeds} seeds" if n_searched else "not searched"
        figure.add_annotation(
            x=0.5, xref="x domain", y=0.5 if n_searched == 0 else 0.14, yref="y domain", text=text, showarrow=False,
            font=FLOOR_LABEL, row=row, col=column,
        )  # fmt: skip


FIGURE = Figure(
    name="figure_interchange",
    title="Which variables a subspace holds, where",
    caption=(
        "Claim tested: a variable of the task lies in few directions of the residual stream at the position that "
        "predicts. Pairs of sequences differ in one variable; what lies in k directions of the source's "
        "activations is put in the place of the base's, and counts if the model then says what the base calls for "
        "with the source's value. Directions are those of largest variance, those read most, random ones, and "
        "learned ones (distributed alignment search), all from other pairs than are shown. Controls: the search with "
        "shuffled answers, and in the same body with untrained embeddings. All these searches had "
        f"{SEARCH['n_steps']} steps of {SEARCH['pairs_per_step']} pairs, so that what the learned ones and what their "
        "controls reach are lower bounds, both: longer ones may find more. Dashed: the whole site; in seeds where it "
        f"is below {WORTH_SEARCHING:.0%}, as for the queried value of needle after the first layer, nothing is "
        "searched. Triangles: the parts of learned directions that the unembedding reads (up) and does "
        "not (down). Median over seeds. Found: yes, but for parentheses. After the last "
        "layer, 32 directions of any fitted basis hold each variable, and random ones none; of the learned ones "
        "the part that is read does it, the other nothing. The value asked for by needle arrives at the position "
        "that predicts in the last layer only. For parentheses the controls succeed, too: with two possible answers, "
        "interchange there proves little."
    ),
    experiment="subspaces",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK, "trainable"),
)
