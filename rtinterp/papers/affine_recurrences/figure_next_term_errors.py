"""How far off the next term is, by position, beside what can be said of it without a model."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.analysis import next_term_estimates, squared_errors
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.papers.affine_recurrences.opened_models import N_ROWS
from rtinterp.plot.look import COLOURS, axes
from rtinterp.training.run import Run

MODELS = {"trained": "the model", "untrained": "the model before training"}
#: Of a logarithmic axis: three terms determine the next but for rounding, and lines at 1e-12 would hide the rest.
LEAST_SHOWN = 1e-6


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, estimator and position: the mean squared error of the next term on test sequences.

    ``position`` counts from 0 the terms that were read before the last one. Errors are null where an estimator has too
    few terms.
    """
    return pl.concat(with_run_columns(run, _errors(run)) for run in runs)


def _errors(run: Run) -> pl.DataFrame:
    batch = run.spec.task.test_set()[:N_ROWS]
    assert batch.targets is not None
    with torch.no_grad():
        estimates = {"trained": run.model(batch.tokens), "untrained": run.initial_model(batch.tokens)}
    estimates |= next_term_estimates(batch)
    return pl.concat(_of_estimator(name, squared_errors(one, batch.targets)) for name, one in estimates.items())


def _of_estimator(name: str, errors: Float[Tensor, " pos"]) -> pl.DataFrame:
    table = pl.DataFrame({"estimator": name, "mse": errors.tolist()}).with_row_index("position")
    return table.with_columns(pl.col("mse").fill_nan(None), n_test_rows=pl.lit(N_ROWS))


def plot(table: pl.DataFrame) -> go.Figure:
    figure = go.Figure()
    medians = table.group_by("estimator", "position", maintain_order=True).agg(pl.col("mse").median())
    names = table["estimator"].unique(maintain_order=True).to_list()
    colours = iter(COLOURS)
    for name in names:
        is_model = name in MODELS
        colour = next(colours) if name != "untrained" else style.FLOOR_COLOUR
        of_name = medians.filter(pl.col("estimator") == name, pl.col("mse") > LEAST_SHOWN)
        look = {"color": colour, "width": 3 if is_model else 1.5, "dash": "solid" if is_model else "dot"}
        figure.add_scatter(
            x=of_name["position"].to_list(), y=of_name["mse"].to_list(), name=MODELS.get(name, name), mode="lines",
            line=look,
        )  # fmt: skip
        if name == "trained":
            seeds = table.filter(pl.col("estimator") == name)
            figure.add_scatter(
                x=seeds["position"].to_list(), y=seeds["mse"].to_list(), mode="markers", showlegend=False,
                marker={"color": colour, "size": 5, "opacity": 0.6},
            )  # fmt: skip
    axes(figure).update_yaxes(type="log", title_text="mean squared error of the next term", exponentformat="power")
    figure.update_xaxes(title_text="position, from 0")
    return style.finish(figure, "How far off the next term is", table, width=820, height=420)


FIGURE = Figure(
    name="figure_next_term_errors",
    title="How far off the next term is",
    caption=(
        "The mean squared error of every next term on test sequences: points are seeds, the line their median. Beside "
        "it what can be said without a model: the last term (copy), the mean of the last two, one gradient step of "
        "least squares, the formula of three terms and least squares, both of which are exact but for rounding and the "
        f"first positions (below {LEAST_SHOWN:g} they are not drawn). The law of the sequences, sizes and budgets are "
        "our design: of the paper only the abstract is public."
    ),
    experiment="opened",
    compute=compute,
    plot=plot,
)
