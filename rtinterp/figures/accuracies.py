"""Tables of test accuracy: a row for every task, a column for every kind of model, the floors beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import style
from rtinterp.figures.figure import run_columns
from rtinterp.tasks import Task
from rtinterp.training.run import Run

TABLE_WIDTH = 1080
#: Relative widths of the columns.
TASK_COLUMN, MODEL_COLUMN, FLOOR_COLUMN = 1.9, 1.0, 1.8


def accuracies(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, with the task's floors beside its accuracy; accuracies are in [0, 1]."""
    return pl.DataFrame(
        [{**run_columns(run), "test_accuracy": run.test_accuracy, **floor_columns(run.spec.task)} for run in runs]
    )


def floor_columns(task: Task) -> dict[str, str | float]:
    """Return the lowest floor, which is what guessing earns, and the best heuristic."""
    floors = task.floors()
    heuristic = max(floors, key=floors.__getitem__)
    guess = min(floors, key=floors.__getitem__)
    return {
        "floor": guess,
        "floor_accuracy": floors[guess],
        "heuristic": heuristic,
        "heuristic_accuracy": floors[heuristic],
    }


def accuracy_table(
    title: str, table: pl.DataFrame, columns: Mapping[str, pl.Expr], paper: str = "", note: str = ""
) -> go.Figure:
    """Draw a table of accuracies in %.

    Args:
        columns: header of each column of models, and which rows of the table belong to it.
        paper: column with what the paper says of the same cell, if there is one.
        note: last line of the subtitle.
    """
    rows = []
    for of_task in table.partition_by("task", maintain_order=True):
        rows.append(task_row(of_task, columns, paper))
        if "n_scored" in table.columns and of_task["n_scored"][0] > 1:
            rows.append(exact_match_row(of_task, columns))
    widths = [TASK_COLUMN, *[MODEL_COLUMN] * len(columns), FLOOR_COLUMN]
    figure = style.table_figure(["task", *columns, "guessing,<br>best heuristic"], rows, widths)
    subtitle = style.subtitle(table) + (f"<br>{note}" if note else "")
    return style.finish_table_with(figure, title, subtitle, width=TABLE_WIDTH, n_rows=len(rows))


def task_row(table: pl.DataFrame, columns: Mapping[str, pl.Expr], paper: str) -> list[str]:
    """Write the cells of one task."""
    models = [table.filter(rows) for rows in columns.values()]
    cells = [_accuracy_cell(runs["test_accuracy"]) + _paper_line(runs, paper) for runs in models]
    return [_task_cell(table), *cells, _floor_cell(table)]


def exact_match_row(table: pl.DataFrame, columns: Mapping[str, pl.Expr]) -> list[str]:
    """Write the cells of a task that scores several predictions of a sequence, if all of them are to be right."""
    label = style.task_title(table["task"][0]) + ", exact match"
    scored = style.small(f"all {table['n_scored'][0]} scored predictions right")
    return [label + scored, *(_accuracy_cell(table.filter(rows)["exact_match"]) for rows in columns.values()), ""]


def _accuracy_cell(accuracies: pl.Series) -> str:
    return "" if accuracies.is_empty() else style.median_and_range(accuracies)


def _task_cell(table: pl.DataFrame) -> str:
    task = table["task"][0]
    widths = " and ".join(map(str, table["d_model"].unique().sort(descending=True)))
    sizes = style.small(style.task_parameters(task)) + style.small(f"width {widths}")
    return style.task_title(task) + sizes + style.standing(table)


def _paper_line(runs: pl.DataFrame, paper: str) -> str:
    """What the paper says, if anything: a share as a percentage, or a word."""
    known = runs[paper].drop_nulls().to_list() if paper else []
    if not known:
        return ""
    said = known[0] if isinstance(known[0], str) else f"{known[0] * 100:g}"
    return style.small(f"paper: {said}")


def _floor_cell(table: pl.DataFrame) -> str:
    """Guessing, and below it the best heuristic where that is another. A cell of one line would print its markup."""
    floors = {table[kind][0]: table[f"{kind}_accuracy"][0] for kind in ("floor", "heuristic")}
    if len(floors) == 1:
        return f"{table['floor_accuracy'][0] * 100:.1f}" + style.small(table["floor"][0])
    return "<br>".join(f"{share * 100:.1f} {style.small_print(name)}" for name, share in floors.items())
