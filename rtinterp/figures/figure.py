"""What a figure is: the runs it needs, a tidy table computed from them, and a plot of that table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure or table of the paper.

    Attributes:
        name: file name without ending, and what ``--only`` takes.
        caption: what to see in it; HTML.
        specs: the runs it needs, from a scale's name and a number of seeds.
        compute: those runs to a tidy table with a ``seed`` column.
        plot: that table to a plotly figure; reads nothing else.
    """

    name: str
    title: str
    caption: str
    specs: Callable[[str, int], list[RunSpec]]
    compute: Callable[[Sequence[Run]], pl.DataFrame]
    plot: Callable[[pl.DataFrame], go.Figure]


def run_columns(run: Run) -> dict[str, str | int]:
    """The columns that say where a row comes from; every table starts with them."""
    spec = run.spec
    return {
        "task": repr(spec.task),
        "d_model": spec.model.d_model,
        "trainable": spec.trainable,
        "seed": spec.seed,
        "n_steps": spec.training.n_steps,
        "batch_size": spec.training.batch_size,
        "device": run.environment.device,
    }


def with_run_columns(run: Run, table: pl.DataFrame) -> pl.DataFrame:
    """A table of one run, behind the columns that identify the run."""
    columns = [pl.lit(value).alias(name) for name, value in run_columns(run).items()]
    return table.select(*columns, *table.columns)
