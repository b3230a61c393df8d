"""Tables of test accuracy: a row for every task, a column for every kind of model, the floors beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import certainty, provenance, style
from rtinterp.figures.figure import run_columns
from rtinterp.tasks import Task
from rtinterp.training.run import Run

TABLE_WIDTH = 1160
#: Relative widths of the columns.
TASK_COLUMN, MODEL_COLUMN, FLOOR_COLUMN = 1.9, 1.05, 1.8
#: Letters of small print that fit into the column of tasks.
LINE_OF_PARAMETERS = 32
#: The floor that is guessing where a task has it; of others, the lowest floor is.
CHANCE = "chance"

#: What a paper says of a model of its own size, told by the columns of a run; None where it says nothing of it.
Said: TypeAlias = Callable[[Mapping[str, Any]], "float | str | None"]


class Part(NamedTuple):
    """A second row of a task: a share of other trials than its scored predictions.

    Attributes:
        title: what is counted, after the name of the task.
        described: what that is, in a smaller line.
        column: the share of them that are right; null where a task has none.
        n_rows: the column that has the number of independent rows.
        floor: what guessing, or another heuristic, earns, in [0, 1], if that is known.
        floor_name: the heuristic's name.
    """

    title: str
    described: str
    column: str
    n_rows: str
    floor: float | None = None
    floor_name: str = CHANCE


def accuracies(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: accuracy, test rows and the task's floors; accuracies are in [0, 1].

    ``n_test_rows`` counts distinct test sequences, ``n_effective_rows`` as how many equally frequent ones they count.
    """
    return pl.DataFrame(
        [{**run_columns(run), "test_accuracy": run.test_accuracy, **columns_of(run.spec.task)} for run in runs]
    )


def columns_of(task: Task) -> dict[str, str | int | float]:
    """Return what an accuracy on a task is judged by: test rows and floors."""
    return {**certainty.row_columns(task), **floor_columns(task)}


def floor_columns(task: Task) -> dict[str, str | float]:
    """Return what guessing earns, and the best heuristic."""
    floors = task.floors()
    heuristic = max(floors, key=floors.__getitem__)
    guess = CHANCE if CHANCE in floors else min(floors, key=floors.__getitem__)
    return {
        "floor": guess,
        "floor_accuracy": floors[guess],
        "heuristic": heuristic,
        "heuristic_accuracy": floors[heuristic],
    }


def accuracy_table(
    title: str,
    table: pl.DataFrame,
    columns: Mapping[str, pl.Expr],
    *,
    said: Said | None = None,
    parts_of: Callable[[pl.DataFrame], Sequence[Part]] = lambda of_task: (),
    note: str = "",
) -> go.Figure:
    """Draw a table of accuracies in %.

    Args:
        columns: header of each column of models, and which rows of the table belong to it.
        said: what the paper says of the models of a cell, which are all of one kind.
        parts_of: further rows of a task, by the rows of the table that are of it.
        note: last line of the subtitle.
    """
    rows = []
    for of_task in table.partition_by("task", maintain_order=True):
        rows.append(task_row(of_task, columns, said))
        rows += (part_row(of_task, columns, part) for part in parts_of(of_task))
    widths = [TASK_COLUMN, *[MODEL_COLUMN] * len(columns), FLOOR_COLUMN]
    figure = style.table_figure(["task", *columns, "guessing,<br>best heuristic"], rows, widths)
    subtitle = "<br>".join(filter(None, [style.subtitle(table), certainty.note(table), note]))
    return style.finish_table_with(figure, title, subtitle, width=TABLE_WIDTH)


def task_row(table: pl.DataFrame, columns: Mapping[str, pl.Expr], said: Said | None) -> list[str]:
    """Write the cells of one task."""
    models = [table.filter(rows) for rows in columns.values()]
    differ = len({runs["seed"].n_unique() for runs in models if len(runs)}) > 1
    cells = [
        certainty.cell(runs, mark=certainty.mark(runs, certainty.interval_of(runs)))
        + (style.small(provenance.seeds_of(runs)) if differ and len(runs) else "")
        + _paper_line(runs, said)
        for runs in models
    ]
    return [_task_cell(table), *cells, _floor_cell(table)]


def part_row(table: pl.DataFrame, columns: Mapping[str, pl.Expr], part: Part) -> list[str]:
    """Write the cells of a part of a task."""
    cells = []
    for rows in columns.values():
        runs = table.filter(rows, pl.col(part.column).is_not_null())
        interval = certainty.interval_of(runs, part.column, part.n_rows)
        is_low = part.floor is not None and interval is not None and interval.low <= part.floor
        mark = certainty.NOT_ABOVE_GUESSING if part.floor_name == CHANCE else certainty.NOT_ABOVE_HEURISTIC
        cells.append(certainty.cell(runs, part.column, part.n_rows, mark if is_low else ""))
    floor = "" if part.floor is None else f"{part.floor * 100:.1f}" + style.small(part.floor_name)
    return [f"{style.task_title(table['task'][0])}, {part.title}{style.small(part.described)}", *cells, floor]


def _task_cell(table: pl.DataFrame) -> str:
    task = table["task"][0]
    widths = " and ".join(map(str, table["d_model"].unique().sort(descending=True)))
    parameters = textwrap.wrap(style.task_parameters(task), LINE_OF_PARAMETERS)
    sizes = "".join(map(style.small, (*parameters, f"width {widths}", certainty.rows_of(table))))
    return style.task_title(task) + sizes + style.standing(table)


def _paper_line(runs: pl.DataFrame, said: Said | None) -> str:
    """What the paper says, if anything: a share as a percentage, or a word."""
    known = None if said is None or runs.is_empty() else said(runs.row(0, named=True))
    if known is None:
        return ""
    return style.small(f"paper: {known if isinstance(known, str) else f'{known * 100:g}'}")


def _floor_cell(table: pl.DataFrame) -> str:
    """Guessing, and below it the best heuristic where that is another. A cell of one line would print its markup."""
    floors = {table[kind][0]: table[f"{kind}_accuracy"][0] for kind in ("floor", "heuristic")}
    if len(floors) == 1:
        return f"{table['floor_accuracy'][0] * 100:.1f}" + style.small(table["floor"][0])
    return "<br>".join(f"{share * 100:.1f} {style.small_print(name)}" for name, share in floors.items())
