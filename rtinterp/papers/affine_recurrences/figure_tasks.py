"""More dimensions, and polynomials: how far off the next term is, for fully trained and for random transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import extrapolations, next_term_estimates, squared_errors
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.figures.regime_style import regime_colour, regime_name
from rtinterp.papers.affine_recurrences.grid import FULLY_TRAINED_AND_RANDOM
from rtinterp.papers.affine_recurrences.opened_models import N_ROWS, OUR_DESIGN
from rtinterp.plot.look import COLOURS, axes
from rtinterp.tasks import Batch, PolynomialSequence
from rtinterp.training.run import Run

THE_MODEL, UNTRAINED = "the model", "the model before training"
#: What an affine recurrence is estimated by. The last is exact once there are as many pairs as coefficients.
OF_RECURRENCES = ("copy", "mean of two", "gradient step", "least squares")
#: What a polynomial is estimated by, by degree; its own is exact.
OF_POLYNOMIALS = {0: "copy", 1: "line through two"}
ITS_OWN = "polynomial through the last ones"
#: Of a logarithmic axis: exact estimates are off by rounding, and lines at 1e-12 would hide the rest.
LEAST_SHOWN = 1e-6


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, estimator and position: the mean squared error of the next term, over test sequences.

    ``position`` counts from 0 the terms that were read before the last one. Errors are null where an estimator has too
    few terms.
    """
    return pl.concat(with_run_columns(run, _errors(run)) for run in runs)


def _errors(run: Run) -> pl.DataFrame:
    task = run.spec.task
    batch = task.test_set()[:N_ROWS]
    assert batch.targets is not None
    with torch.no_grad():
        estimates = {THE_MODEL: run.model(batch.tokens), UNTRAINED: run.initial_model(batch.tokens)}
    estimates |= _of_polynomials(batch, task.degree) if isinstance(task, PolynomialSequence) else _of_recurrences(batch)
    parts = []
    for name, estimate in estimates.items():
        errors = squared_errors(estimate, batch.targets).tolist()
        parts.append(pl.DataFrame({"estimator": name, "mse": errors}).with_row_index("position"))
    return pl.concat(parts).with_columns(pl.col("mse").fill_nan(None), n_test_rows=pl.lit(len(batch)))


def _of_recurrences(batch: Batch) -> dict[str, Float[Tensor, "batch pos dimension"]]:
    estimates = next_term_estimates(batch)
    return {name: estimates[name] for name in OF_RECURRENCES}


def _of_polynomials(batch: Batch, degree: int) -> dict[str, Float[Tensor, "batch pos dimension"]]:
    names = {known: name for known, name in OF_POLYNOMIALS.items() if known < degree} | {degree: ITS_OWN}
    return {name: extrapolations(batch.tokens, known) for known, name in names.items()}


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    titles = [f"{style.task_title(task)}{style.small(_dial(task))}" for task in tasks]
    figure = make_subplots(1, len(tasks), subplot_titles=titles, horizontal_spacing=0.05, shared_yaxes=True)
    shown: set[str] = set()
    for column, task in enumerate(tasks, 1):
        _add_panel(figure, table.filter(pl.col("task") == task), shown, {"row": 1, "col": column})
    axes(figure).update_yaxes(type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(title_text="mean squared error of the next term", col=1)
    figure.update_xaxes(title_text="position, from 0")
    style.finish(figure, "More dimensions, and polynomials", table, width=1180, height=430)
    return figure.update_layout(margin_b=120, legend={"orientation": "h", "x": 0, "y": -0.22})


def _dial(task: str) -> str:
    """What tells tasks of a kind apart: ``"degree = 2"``, ``"dimension = 4"``."""
    parameters = style.task_parameters(task).split(", ")
    return next(told for dial in ("degree", "dimension") for told in parameters if told.startswith(dial))


def _add_panel(figure: go.Figure, table: pl.DataFrame, shown: set[str], place: dict[str, Any]) -> None:
    for trainable in FULLY_TRAINED_AND_RANDOM:
        of_kind = table.filter(pl.col("trainable") == trainable, pl.col("estimator") == THE_MODEL)
        if len(of_kind):
            colour = regime_colour(trainable)
            points = {"mode": "markers", "marker": {"color": colour, "size": 5, "opacity": 0.6}, "showlegend": False}
            x, y = of_kind["position"].to_list(), of_kind["mse"].to_list()
            figure.add_scatter(x=x, y=y, legendgroup=trainable, **points, **place)
            line = {"color": colour, "width": 3}
            _add_line(figure, of_kind, regime_name(trainable), trainable, line, shown, place)
    without = [name for name in table["estimator"].unique(maintain_order=True) if name not in (THE_MODEL, UNTRAINED)]
    colours = dict(zip((*OF_RECURRENCES, OF_POLYNOMIALS[1], ITS_OWN), (*COLOURS[2:], *COLOURS), strict=False))
    for name in without:
        line = {"color": colours[name], "width": 1.5, "dash": "dot"}
        _add_line(figure, table.filter(pl.col("estimator") == name), name, name, line, shown, place)


def _add_line(
    figure: go.Figure,
    rows: pl.DataFrame,
    name: str,
    group: str,
    line: dict[str, Any],
    shown: set[str],
    place: dict[str, Any],
) -> None:
    """Draw medians over seeds."""
    medians = rows.group_by("position", maintain_order=True).agg(pl.col("mse").median())
    medians = medians.filter(pl.col("mse") > LEAST_SHOWN)
    figure.add_scatter(
        x=medians["position"].to_list(), y=medians["mse"].to_list(), name=name, mode="lines", line=line,
        legendgroup=group, showlegend=group not in shown, **place,
    )  # fmt: skip
    shown.add(group)


FIGURE = Figure(
    name="figure_tasks",
    title="More dimensions, and polynomials",
    caption=(
        "The mean squared error of every next term on test sequences, for affine recurrences of more dimensions and "
        "for the values of polynomials in equal steps, which the abstract names as future work: fully trained and "
        "random transformers of the same width, points are seeds, lines medians. Dotted: what can be said without a "
        "model. Of n dimensions, least squares are exact from n + 2 terms on, and so is a polynomial through as many "
        f"terms as it has coefficients (below {LEAST_SHOWN:g} nothing is drawn)." + OUR_DESIGN
    ),
    experiment="tasks",
    compute=compute,
    plot=plot,
)
