"""Runs on the screen: a row each where there is room, or where the output is no terminal, and otherwise some lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from rtinterp.store.unfinished import UnfinishedRun

#: Of a table that is not printed to a terminal.
MAX_WIDTH = 10_000
#: Characters of a number at the left.
LEFT = 10
RIGHT = ("width", "seed", "steps", "batch", "rate", "test loss", "test accuracy")


def print_runs(table: pl.DataFrame) -> None:
    """Print finished runs, and failed ones with their reason below."""
    console = Console(highlight=False)
    rows = list(table.iter_rows(named=True))
    whole = _table([{**_described(row), **_measured(row), "run id": row["run_id"]} for row in rows])
    width = console.measure(whole, options=console.options.update(max_width=MAX_WIDTH)).maximum
    if width <= console.width or not console.is_terminal:
        Console(width=width).print(whole)
    else:
        _print_lines(rows, console)
    for row in rows:
        if row["failure"]:
            print(f"failed at step {row['failed_at_step']:,}: {row['run_id']}: {row['failure']}")


def print_unfinished(runs: Iterable[UnfinishedRun]) -> None:
    """Print what is in training, and what waits for the command that began it."""
    for run in runs:
        step = f"step {run.step:,} of {run.n_steps:,}"
        if run.in_training is None:
            print(f"unfinished: {run.spec.run_id}: {step}; the command that began it goes on from there")
        else:
            loss = "" if run.train_loss is None else f", loss {run.train_loss:.3f}"
            where = f"on {run.in_training.host}, process {run.in_training.pid}"
            print(f"in training: {run.spec.run_id}: {step}{loss}, {where}")


def _table(rows: Sequence[Mapping[str, str]]) -> Table:
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in rows[0]:
        shown.add_column(column, justify="right" if column in RIGHT else "left")
    for row in rows:
        shown.add_row(*row.values())
    return shown


def _print_lines(rows: Iterable[Mapping[str, Any]], console: Console) -> None:
    """The id of each run alone in a line, to be copied, and below what it does not say."""
    console.print(f"{'accuracy':>{LEFT}}{'loss':>{LEFT}}", style="bold")
    for row in rows:
        console.print(row["run_id"], style="bold", soft_wrap=True, markup=False)
        measured = "".join(f"{value:>{LEFT}}" for value in _measured(row).values()) + "  "
        said = _described(row)
        task = f"{said['parameters']}; " if said["parameters"] else ""
        text = f"{task}{said['body']}; {said['steps']} steps × {said['batch']}, rate {said['rate']}"
        width = max(console.width, 2 * len(measured))
        print(textwrap.fill(text, width, initial_indent=measured, subsequent_indent=" " * len(measured)))


def _described(row: Mapping[str, Any]) -> dict[str, str]:
    """What a run is, by column."""
    stopped = "" if row["stopped_at_step"] is None else f"stopped at {row['stopped_at_step']:,} of "
    return {
        "task": row["task"],
        "parameters": row["task_parameters"],
        "body": row["body"],
        "width": str(row["d_model"]),
        "trainable": row["trainable"],
        "seed": str(row["seed"]),
        "steps": f"{stopped}{row['n_steps']:,}",
        "batch": f"{row['batch_size']:,}",
        "rate": f"{row['learning_rate']:g}",
    }


def _measured(row: Mapping[str, Any]) -> dict[str, str]:
    if row["failure"]:
        return {"test accuracy": "failed", "test loss": ""}
    accuracy = "" if row["test_accuracy"] is None else f"{row['test_accuracy']:.4f}"
    return {"test accuracy": accuracy, "test loss": f"{row['test_loss']:.4g}"}
