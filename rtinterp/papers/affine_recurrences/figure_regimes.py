"""Which parts have to train: the error by width, for models that train more or less of themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl
import torch

from rtinterp.analysis import next_term_estimates, squared_errors
from rtinterp.figures import style
from rtinterp.figures.curves import FLOOR_LABEL, add_curve, log_axis
from rtinterp.figures.figure import Figure, run_columns
from rtinterp.figures.regime_style import regime_colour, regime_name
from rtinterp.models.transformer.spec import LABELS
from rtinterp.papers.affine_recurrences.opened_models import FIRST_POSITION, OUR_DESIGN
from rtinterp.plot.look import axes
from rtinterp.training.run import Run

#: Of curves by body: name, where the regime's is not enough, dash and symbol.
LOOKS = {
    LABELS["softmax"]: ("", "solid", "circle"),
    LABELS["random_mixing"]: ("random mixing, all else trained", "dash", "diamond"),
    LABELS["random_mixing_with_sink"]: ("MixiT, as published", "dot", "square"),
}
FLOORS = ("copy", "mean of two", "gradient step")


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: the mean squared error on the test set from the third term on, and what floors have."""
    return pl.DataFrame([{**run_columns(run), **_errors(run)} for run in runs])


def _errors(run: Run) -> dict[str, float]:
    batch = run.spec.task.test_set()
    assert batch.targets is not None
    with torch.no_grad():
        predicted = run.model(batch.tokens)
    estimates = next_term_estimates(batch)
    floors = {name: squared_errors(estimates[name], batch.targets) for name in FLOORS}
    of_all = {"mse": squared_errors(predicted, batch.targets), **floors}
    return {name: errors[FIRST_POSITION:].mean().item() for name, errors in of_all.items()} | {
        "n_test_rows": len(batch)
    }


def plot(table: pl.DataFrame) -> go.Figure:
    figure = go.Figure()
    for (body, trainable), of_kind in table.group_by("body", "trainable", maintain_order=True):
        name, colour = regime_name(str(trainable)), regime_colour(str(trainable))
        told, dash, symbol = LOOKS.get(str(body), (f"{name} {body}", "longdash", "x"))
        add_curve(
            figure, of_kind, "d_model", "mse", name=told or name, colour=colour, dash=dash, symbol=symbol,
        )  # fmt: skip
    for name in FLOORS:
        height = table[name][0]
        figure.add_hline(y=height, line={"color": style.FLOOR_COLOUR, "dash": "dot"})
        figure.add_annotation(
            x=1.01, xref="paper", y=math.log10(height), xanchor="left", text=name, showarrow=False,
            font=FLOOR_LABEL,
        )  # fmt: skip
    axes(figure).update_yaxes(
        type="log", dtick=1, title_text="mean squared error of the next term", exponentformat="power"
    )
    log_axis(figure, table["d_model"].unique().sort().to_list(), "width (d<sub>model</sub>)")
    style.finish(figure, "Which parts have to train", table, width=820, height=380)
    # Below the axis, since the labels of floors stand on the right.
    legend = {"orientation": "h", "x": 0, "y": -0.2}
    return figure.update_layout(margin_r=110, margin_b=110, legend=legend)


FIGURE = Figure(
    name="figure_regimes",
    title="Which parts have to train",
    caption=(
        "The mean squared error on test sequences, from the third term on, of models that train everything, everything "
        "but queries and keys, or their embeddings alone: is in-context regression in a random body? Broken lines: all "
        "else trains, but fixed random patterns stand in the place of attention, in a block that is otherwise the same "
        "or in that of MixiT (arXiv 2506.01115). Points are seeds, lines medians; dotted and grey: what can be said "
        "without a model." + OUR_DESIGN
    ),
    experiment="regimes",
    compute=compute,
    plot=plot,
)
