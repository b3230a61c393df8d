"""``rtinterp list``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from rtinterp.store import RunStore

PROGRAM = "rtinterp list"


def list_runs(*, runs: Path = Path("runs")) -> None:
    """List the stored runs.

    Args:
        runs: the run store.
    """
    table = RunStore(runs).table()
    if table.is_empty():
        print(f"no runs in {runs}" + ("" if runs.is_dir() else ", which does not exist"))
        return
    shown = Table(box=None, header_style="bold")
    for column, justify in (("task", "left"), ("width", "right"), ("trainable", "left"), ("seed", "right")):
        shown.add_column(column, justify=justify)
    for column in ("steps", "test accuracy"):
        shown.add_column(column, justify="right")
    shown.add_column("run id", no_wrap=True, overflow="fold")
    for row in table.sort("task", "d_model", "trainable", "seed").iter_rows(named=True):
        cells = (row["task"], row["d_model"], row["trainable"], row["seed"], f"{row['n_steps']:,}")
        shown.add_row(*map(str, cells), f"{row['test_accuracy']:.4f}", row["run_id"])
    console = Console()
    # Redirected, a row stays one line.
    console.print(shown) if console.is_terminal else Console(width=400).print(shown)


def main(arguments: Sequence[str]) -> None:
    tyro.cli(list_runs, args=arguments, prog=PROGRAM)
