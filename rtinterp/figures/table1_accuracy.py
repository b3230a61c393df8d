"""Table 1: which models solve which tasks."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.experiments import SCALES
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, run_columns
from rtinterp.tasks import Task
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

REGIMES = ("embeddings", "all")


def specs(scale: str, n_seeds: int) -> list[RunSpec]:
    return [
        run
        for experiment in SCALES[scale]
        for d_model in (experiment.wide, experiment.narrow)
        for trainable in REGIMES
        for run in experiment.runs(d_model, trainable, n_seeds)
    ]


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """One row per run, with the task's floors beside its accuracy; accuracies in [0, 1]."""
    return pl.DataFrame(
        [{**run_columns(run), "test_accuracy": run.test_accuracy, **floor_columns(run.spec.task)} for run in runs]
    )


def floor_columns(task: Task) -> dict[str, str | float]:
    """The lowest floor, which is what guessing earns, and the best heuristic."""
    floors = task.floors()
    heuristic = max(floors, key=floors.__getitem__)
    guess = min(floors, key=floors.__getitem__)
    return {
        "floor": guess,
        "floor_accuracy": floors[guess],
        "heuristic": heuristic,
        "heuristic_accuracy": floors[heuristic],
    }


def plot(table: pl.DataFrame) -> go.Figure:
    rows = [_row(of_task) for _, of_task in table.group_by("task", maintain_order=True)]
    header = ["task", *(f"{name}<br>{size}" for size in ("wide", "narrow") for name in ("random", "normal"))]
    figure = style.table_figure([*header, "guessing", "best heuristic"], rows, [2.8, *[1.0] * 5, 1.7])
    return style.finish_table(figure, "Table 1: test accuracy, %", table, width=1080, n_rows=len(rows))


def _row(table: pl.DataFrame) -> list[str]:
    task = table["task"][0]
    narrow, wide = table["d_model"].min(), table["d_model"].max()
    accuracies = [
        style.median_and_range(
            table.filter(pl.col("d_model") == d_model, pl.col("trainable") == trainable)["test_accuracy"]
        )
        for d_model in (wide, narrow)
        for trainable in REGIMES
    ]
    floors = [
        f"{table[f'{kind}_accuracy'][0] * 100:.1f}" + style.small(table[kind][0]) for kind in ("floor", "heuristic")
    ]
    size = f"{style.task_parameters(task)}; width {wide} and {narrow}"
    return [style.task_title(task) + style.small(size), *accuracies, *floors]


FIGURE = Figure(
    name="table1_accuracy",
    title="Table 1: test accuracy",
    caption=(
        "Wide random transformers, of which only the embeddings are trained, solve the tasks that fully trained "
        "(normal) ones solve; narrow random ones do not. Median over seeds, minimum to maximum below; accuracy per "
        "scored token, beside what guessing and the best simple heuristic reach."
    ),
    specs=specs,
    compute=compute,
    plot=plot,
)
