"""Negative similarity heads, by both readings of the words, for every head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.analysis import head_table
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.papers.affine_recurrences.opened_models import FIRST_POSITION, N_ROWS, OUR_DESIGN
from rtinterp.papers.affine_recurrences.readings import LOOKS_AT, LOOKS_AWAY
from rtinterp.plot.look import COLOURS, axes
from rtinterp.training.run import Run

STATES = {"trained": "after training", "untrained": "before training"}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, state (trained or not) and head, as ``head_table`` measures them on test sequences."""
    return pl.concat(with_run_columns(run, _heads(run)) for run in runs)


def _heads(run: Run) -> pl.DataFrame:
    terms = run.spec.task.test_set().tokens[:N_ROWS]
    parts = []
    for state, model in (("trained", run.model), ("untrained", run.initial_model)):
        table = head_table(model, terms, FIRST_POSITION)
        parts.append(table.select(pl.lit(state).alias("state"), *table.columns))
    return pl.concat(parts).with_columns(n_test_rows=pl.lit(N_ROWS))


def plot(table: pl.DataFrame) -> go.Figure:
    states = table["state"].unique(maintain_order=True).to_list()
    figure = make_subplots(1, len(states), subplot_titles=[STATES[state] for state in states], horizontal_spacing=0.1)
    for column, state in enumerate(states, 1):
        place: dict[str, Any] = {"row": 1, "col": column}
        for (layer,), heads in table.filter(pl.col("state") == state).group_by("layer", maintain_order=True):
            names = [f"L{layer}H{head}, seed {seed}" for head, seed in heads.select("head", "seed").iter_rows()]
            figure.add_scatter(
                x=heads["similarity_correlation"].to_list(), y=heads["gain"].to_list(), mode="markers", hovertext=names,
                name=f"layer {layer}", legendgroup=f"layer {layer}", showlegend=column == 1,
                marker={"color": COLOURS[layer % len(COLOURS)], "size": 9, "opacity": 0.75}, **place,
            )  # fmt: skip
        for correlation in (LOOKS_AWAY, LOOKS_AT):
            figure.add_vline(x=correlation, line={"color": style.FLOOR_COLOUR, "dash": "dot"}, **place)
        figure.add_hline(y=0, line={"color": style.FLOOR_COLOUR}, **place)
    axes(figure).update_xaxes(title_text="attention score against similarity of terms (correlation)", range=[-1, 1])
    figure.update_yaxes(title_text="gain on what it gathers", col=1)
    return style.finish(figure, "Heads that compare terms", table, width=1000, height=380)


FIGURE = Figure(
    name="figure_comparing_heads",
    title="Heads that compare terms",
    caption=(
        "Negative similarity heads, which the abstract finds in layer 2, read in two ways. A head that looks away from "
        f"similar terms lies to the left of the first dotted line (correlation of scores and similarity below "
        f"{LOOKS_AWAY}, the effect of positions taken out). A head that looks at similar terms and writes the opposite "
        f"of what it gathers lies to the right of the second ({LOOKS_AT}) and below 0: its gain is the slope of what "
        "it adds to the prediction, directly, against the terms that it gathers. Points are heads of all seeds."
        + OUR_DESIGN
    ),
    experiment="opened",
    compute=compute,
    plot=plot,
)
