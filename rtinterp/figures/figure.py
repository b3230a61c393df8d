"""What a figure is: the runs it needs, a tidy table computed from them, and a plot of that table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import plotly.graph_objects as go
import polars as pl

from rtinterp.tasks import Task
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

#: What a table says of a spec, by column.
SPEC_COLUMNS: Mapping[str, Callable[[RunSpec], str | int]] = {
    "task": lambda spec: repr(spec.task),
    "body": lambda spec: spec.model.label,
    "n_layers": lambda spec: spec.model.n_layers,
    "d_model": lambda spec: spec.model.d_model,
    "trainable": lambda spec: spec.trainable,
    "seed": lambda spec: spec.seed,
    "n_steps": lambda spec: spec.training.n_steps,
    "batch_size": lambda spec: spec.training.batch_size,
}
#: Those of them that say how long a model trained.
BUDGET_COLUMNS = ("n_steps", "batch_size")
_TEST_ROWS = r", test_rows='\w+'"
TASK_WHATEVER_ITS_ROWS = pl.col("task").str.replace_all(_TEST_ROWS, "")
#: A task whatever its size and its test rows: its class and its switches, without its numbers.
TASK = pl.col("task").str.replace_all(rf"\w+=\d+\b|{_TEST_ROWS}", "").alias("task of any size")


@dataclasses.dataclass(frozen=True, eq=False)
class Figure:
    """One figure or table of a paper.

    Attributes:
        name: the name of its files without their ending, and what ``--only`` takes; no two papers share one.
        caption: what to see in it; HTML.
        experiment: the name of the paper's experiment whose runs it needs; None where it needs none.
        compute: those runs to a tidy table whose rows start with ``run_columns``, and come from one run each.
        plot: that table, and in front of it the columns of ``with_provenance``, to a plotly figure; reads nothing else.
        rows: columns among ``key`` that tell the rows of what is drawn apart, whatever their scale. What stands in one
            row is compared, and stands at one scale, each row at the best that is stored for it. Without any, the whole
            figure does.
        n_bodies: seeds from which on a row tells something; a larger scale does not take the place of a smaller one
            with so many, as long as it has fewer.
        keeps_all_seeds: whether a model stands with each of its seeds, also with those that others in its row lack; it
            is for figures that tell the number of seeds beside every model, and compare no seed with itself.
        hyper_parameters: names of fields of ``TrainSpec``, and columns of the table, in which its runs differ beside
            those of ``run_columns``.
        more_columns: further columns of the table in which its runs differ, and how they follow from a spec.
        measurement: what several figures show, each a part of it, and a process measures once; "" if it is this one's.
    """

    name: str
    title: str
    caption: str
    experiment: str | None
    compute: Callable[[Sequence[Run]], pl.DataFrame]
    plot: Callable[[pl.DataFrame], go.Figure]
    rows: tuple[str | pl.Expr, ...] = ()
    hyper_parameters: tuple[str, ...] = ()
    n_bodies: int = 1
    keeps_all_seeds: bool = False
    more_columns: Mapping[str, Callable[[RunSpec], str | int]] = dataclasses.field(default_factory=dict)
    measurement: str = ""

    @property
    def key(self) -> list[str]:
        """The columns that tell the rows of a run from those of the figure's others."""
        return [*SPEC_COLUMNS, *self.hyper_parameters, *self.more_columns]

    def key_of(self, spec: RunSpec) -> dict[str, Any]:
        """Return what ``key`` is in the rows of a run."""
        columns = {name: read(spec) for name, read in SPEC_COLUMNS.items()}
        columns |= {name: getattr(spec.training, name) for name in self.hyper_parameters}
        return columns | {name: read(spec) for name, read in self.more_columns.items()}


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
    return {**{name: read(run.spec) for name, read in SPEC_COLUMNS.items()}, "device": run.environment.device}


def with_run_columns(run: Run, table: pl.DataFrame) -> pl.DataFrame:
    """Put the columns that identify a run in front of a table of that run."""
    columns = [pl.lit(value).alias(name) for name, value in run_columns(run).items()]
    return table.select(*columns, *table.columns)
