"""How far off the next term is, by position, beside what can be said of it without a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
import torch
from plotly.subplots import make_subplots

from rtinterp.analysis import next_term_estimates, squared_errors
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.papers.affine_recurrences.opened_models import N_ROWS
from rtinterp.plot.look import COLOURS, axes
from rtinterp.tasks import AffineRecurrence, Batch
from rtinterp.training.run import Run

MODELS = {"trained": "the model", "untrained": "the model before training"}
#: Laws of test sequences: that of the task, and one under which terms grow, as none does that was trained on.
LAWS = {"as trained": "sequences as trained on", "growing": "sequences that grow"}
#: |a| of growing recurrences is uniform between these.
GROWTH = (1.0, 1.2)
GROWING_SEED = 1
#: Of a logarithmic axis: three terms determine the next but for rounding, and lines at 1e-12 would hide the rest.
LEAST_SHOWN = 1e-6


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, law of sequences, estimator and position: the mean squared error of the next term.

    ``law`` is ``as trained``, the task's test sequences, or ``growing``, recurrences with |a| in (1, 1.2].
    ``position`` counts from 0 the terms that were read before the last one. Errors are null where an estimator has too
    few terms.
    """
    return pl.concat(with_run_columns(run, _errors(run)) for run in runs)


def _errors(run: Run) -> pl.DataFrame:
    task = run.spec.task
    if not isinstance(task, AffineRecurrence):
        raise TypeError(f"{run.spec.run_id} is not a run of AffineRecurrence")
    batches = {"as trained": task.test_set()[:N_ROWS], "growing": _growing(task)}
    return pl.concat(_on(run, law, batch) for law, batch in batches.items())


def _growing(task: AffineRecurrence) -> Batch:
    generator = torch.Generator().manual_seed(GROWING_SEED)
    drawn = task.recurrences(N_ROWS, generator)
    low, high = GROWTH
    size = low + (high - low) * drawn.matrix.abs()
    return task.batch(dataclasses.replace(drawn, matrix=size.copysign(drawn.matrix)).terms(task.n_terms))


def _on(run: Run, law: str, batch: Batch) -> pl.DataFrame:
    assert batch.targets is not None
    with torch.no_grad():
        estimates = {"trained": run.model(batch.tokens), "untrained": run.initial_model(batch.tokens)}
    estimates |= next_term_estimates(batch)
    parts = []
    for name, estimate in estimates.items():
        errors = squared_errors(estimate, batch.targets).tolist()
        parts.append(pl.DataFrame({"law": law, "estimator": name, "mse": errors}).with_row_index("position"))
    return pl.concat(parts).with_columns(pl.col("mse").fill_nan(None), n_test_rows=pl.lit(len(batch)))


def plot(table: pl.DataFrame) -> go.Figure:
    laws = table["law"].unique(maintain_order=True).to_list()
    figure = make_subplots(1, len(laws), subplot_titles=[LAWS[law] for law in laws], horizontal_spacing=0.09)
    for column, law in enumerate(laws, 1):
        _add_panel(figure, table.filter(pl.col("law") == law), {"row": 1, "col": column})
    axes(figure).update_yaxes(type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(title_text="mean squared error of the next term", col=1)
    figure.update_xaxes(title_text="position, from 0")
    return style.finish(figure, "How far off the next term is", table, width=1080, height=400)


def _add_panel(figure: go.Figure, table: pl.DataFrame, place: dict[str, Any]) -> None:
    medians = table.group_by("estimator", "position", maintain_order=True).agg(pl.col("mse").median())
    colours = iter(COLOURS)
    for name in table["estimator"].unique(maintain_order=True):
        colour = style.FLOOR_COLOUR if name == "untrained" else next(colours)
        shown = medians.filter(pl.col("estimator") == name, pl.col("mse") > LEAST_SHOWN)
        line = {"color": colour, "width": 3 if name in MODELS else 1.5, "dash": "solid" if name in MODELS else "dot"}
        figure.add_scatter(
            x=shown["position"].to_list(), y=shown["mse"].to_list(), name=MODELS.get(name, name), mode="lines",
            line=line, legendgroup=name, showlegend=place["col"] == 1, **place,
        )  # fmt: skip
    seeds = table.filter(pl.col("estimator") == "trained")
    marker = {"color": COLOURS[0], "size": 5, "opacity": 0.6}
    points = {"x": seeds["position"].to_list(), "y": seeds["mse"].to_list(), "mode": "markers", "marker": marker}
    figure.add_scatter(**points, showlegend=False, legendgroup="trained", **place)


FIGURE = Figure(
    name="figure_next_term_errors",
    title="How far off the next term is",
    caption=(
        "The mean squared error of every next term on test sequences: points are seeds, the line their median. Beside "
        "it what can be said without a model: the last term (copy), the mean of the last two, one gradient step of "
        "least squares, the formula of three terms and least squares, both of which are exact but for rounding and the "
        f"first positions (below {LEAST_SHOWN:g} they are not drawn). On the right, the same models on recurrences "
        "with |a| between 1 and 1.2, of which none was trained on; longer sequences have no positions. The law of the "
        "sequences, sizes and budgets are our design: of the paper only the abstract is public."
    ),
    experiment="opened",
    compute=compute,
    plot=plot,
)
