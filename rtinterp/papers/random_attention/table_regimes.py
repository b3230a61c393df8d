"""Which tasks are learnt by which regime: accuracies, and bits for each parameter that trains."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import certainty, style
from rtinterp.figures.accuracies import (
    LINE_OF_PARAMETERS,
    MODEL_COLUMN,
    TASK_COLUMN,
    Part,
    accuracies,
    part_row,
    task_row,
)
from rtinterp.figures.figure import TASK, Figure
from rtinterp.papers.random_attention import published
from rtinterp.papers.random_attention.figure_hops import hops_table
from rtinterp.papers.random_attention.regimes import DESCRIBED, REGIMES, regime_of
from rtinterp.tasks import KHopInduction, Memorization
from rtinterp.training.run import Run

WIDTH = 1340
#: The relative width of the last column, beside those of ``accuracies``.
HEURISTIC_COLUMN = 2.2
#: Columns that only one task has.
OF_ONE_TASK = ("defined_accuracy", "defined_floor", "bits_per_parameter")


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: test accuracy in [0, 1], test rows and floors, as ``accuracies`` has them.

    ``defined_accuracy`` is of the positions of k-hop induction from which hops lead somewhere, ``defined_floor`` the
    best guess there from hops, position and character, and ``bits_per_parameter`` of memorization: log2(number of
    labels) for every pair recalled, over ``n_trainable`` parameters. They are null elsewhere.
    """
    more = [{"regime": regime_of(run.spec), "n_trainable": n_trainable(run), **of_task(run)} for run in runs]
    return accuracies(runs).hstack(pl.DataFrame(more, schema_overrides=dict.fromkeys(OF_ONE_TASK, pl.Float64)))


def n_trainable(run: Run) -> int:
    """Count the parameters that train."""
    return sum(math.prod(parameter.shape) for parameter in run.spec.trained_parameters())


def of_task(run: Run) -> dict[str, float | None]:
    """Measure what only one task has."""
    task = run.spec.task
    measured: dict[str, float | None] = dict.fromkeys(OF_ONE_TASK)
    if isinstance(task, KHopInduction):
        by_hops = hops_table(run, task).filter(pl.col("n_defined") > 0)
        shares, counts = (by_hops[name].to_numpy() for name in ("defined_accuracy", "n_defined"))
        floors = by_hops["hops"].replace_strict(task.defined_floors(), return_dtype=pl.Float64).to_numpy()
        measured["defined_accuracy"] = float((shares * counts).sum() / counts.sum())
        measured["defined_floor"] = float((floors * counts).sum() / counts.sum())
    if isinstance(task, Memorization):
        recalled = run.test_metric("accuracy") * task.n_keys**2
        measured["bits_per_parameter"] = recalled * math.log2(task.n_keys) / n_trainable(run)
    return measured


def plot(table: pl.DataFrame) -> go.Figure:
    columns = {header(name): pl.col("regime") == name for name in REGIMES}
    rows = []
    for of_one in table.partition_by("task", maintain_order=True):
        rows.append(task_row(of_one, columns, None))
        if of_one["defined_accuracy"].count():
            rows.append(part_row(of_one, columns, _where_hops_lead(of_one)))
        if of_one["bits_per_parameter"].count():
            rows.append(_bits_row(of_one, columns))
    rows += [published_row(what, of_regime) for what, of_regime in published.TABLE.items()]
    widths = [TASK_COLUMN, *[MODEL_COLUMN] * len(columns), HEURISTIC_COLUMN]
    figure = style.table_figure(["task", *columns, "guessing,<br>best heuristic"], rows, widths)
    subtitle = "<br>".join([style.subtitle(table), certainty.note(table)])
    return style.finish_table_with(figure, TITLE, subtitle, width=WIDTH)


def header(regime: str) -> str:
    """Break a name of two words."""
    return regime.replace(" ", "<br>", 1)


def _where_hops_lead(table: pl.DataFrame) -> Part:
    floor = table["defined_floor"][0]
    described = "where hops lead somewhere"
    return Part("defined", described, "defined_accuracy", "n_effective_rows", floor, table["heuristic"][0])


def _bits_row(table: pl.DataFrame, columns: dict[str, pl.Expr]) -> list[str]:
    cells = []
    for rows in columns.values():
        runs = table.filter(rows)
        counted = style.small(f"of {runs['n_trainable'][0]:,}") if len(runs) else ""
        cells.append(style.median_and_range_of(runs["bits_per_parameter"], ".2f") + counted if len(runs) else "")
    return [f"{style.task_title(table['task'][0])}{style.small('bits per trainable parameter')}", *cells, ""]


def published_row(what: str, of_regime: dict[str, Any]) -> list[str]:
    """Write what the paper has, at its own sizes."""
    found = [of_regime.get(name) for name in REGIMES]
    cells = ["" if one is None or not one.printable else str(one.value) for one in found]
    lines = "".join(map(style.small, textwrap.wrap(what, LINE_OF_PARAMETERS)))
    return [f"<i>the paper, at its sizes</i>{lines}", *[cell and f"<i>{cell}</i>" for cell in cells], ""]


TITLE = "Which parts have to train: test accuracy, %"
FIGURE = Figure(
    name="table_regimes",
    title="Which parts have to train, task by task",
    caption=(
        "Test accuracy of models that differ in what trains, all at one size and budget a task: "
        + "; ".join(f"<i>{name}</i>, {described}" for name, described in DESCRIBED.items())
        + f". {certainty.CAPTION} A recalled pair of memorization counts log<sub>2</sub>(number of labels) bits, lucky "
        "guesses included. The last rows are the paper's own numbers, of its sizes and budgets: single runs, quoted "
        "from others."
    ),
    experiment="regimes",
    compute=compute,
    plot=plot,
    rows=(TASK,),
    more_columns={"regime": regime_of},
)
