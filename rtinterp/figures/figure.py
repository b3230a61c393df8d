"""What a figure is: the runs it needs, a tidy table computed from them, and a plot of that table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import plotly.graph_objects as go
import polars as pl

from rtinterp.tasks import Task
from rtinterp.training.run import Run


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure or table of a paper.

    Attributes:
        name: the name of its files without their ending, and what ``--only`` takes; no two papers share one.
        caption: what to see in it; HTML.
        experiment: the name of the paper's experiment whose runs it needs; None where it needs none.
        compute: those runs to a tidy table with a ``seed`` column.
        plot: that table to a plotly figure; reads nothing else.
        opens_models: each row comes from one model alone, by running it, not from what its training recorded.
    """

    name: str
    title: str
    caption: str
    experiment: str | None
    compute: Callable[[Sequence[Run]], pl.DataFrame]
    plot: Callable[[pl.DataFrame], go.Figure]
    opens_models: bool = False


TaskT = TypeVar("TaskT", bound=Task)


def task_of(run: Run, kind: type[TaskT]) -> TaskT:
    """Return the task of a run, which a figure needs to be of some kind.

    Raises:
        TypeError: the task is of another kind.
    """
    task = run.spec.task
    if not isinstance(task, kind):
        raise TypeError(f"{run.spec.run_id} is not a run of {kind.__name__}")
    return task


def run_columns(run: Run) -> dict[str, str | int]:
    """Return the columns that say where a row comes from; every table starts with them."""
    spec = run.spec
    return {
        "task": repr(spec.task),
        "body": spec.model.label,
        "n_layers": spec.model.n_layers,
        "d_model": spec.model.d_model,
        "trainable": spec.trainable,
        "seed": spec.seed,
        "n_steps": spec.training.n_steps,
        "batch_size": spec.training.batch_size,
        "device": run.environment.device,
    }


def with_run_columns(run: Run, table: pl.DataFrame) -> pl.DataFrame:
    """Put the columns that identify a run in front of a table of that run."""
    columns = [pl.lit(value).alias(name) for name, value in run_columns(run).items()]
    return table.select(*columns, *table.columns)


def with_scale(table: pl.DataFrame, scale: str) -> pl.DataFrame:
    """Mark a table with the scale of its runs."""
    return table.select(pl.lit(scale).alias("scale"), *table.columns)
