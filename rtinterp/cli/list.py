"""``rtinterp list``."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import polars as pl
import tyro
from rich.console import Console
from rich.table import Table

from rtinterp.cli import unknown
from rtinterp.cli.options import run_command
from rtinterp.models.bodies import BODIES
from rtinterp.models.regimes import canonical
from rtinterp.store import RunStore
from rtinterp.store.files import holds, write_file
from rtinterp.store.table import FAILURE_SCHEMA, failures_table
from rtinterp.tasks import TASKS

PROGRAM = "rtinterp list"
BODY_LABELS = ("transformer", "linearised transformer", "lstm", "rnn")
#: What the columns are called on the screen.
SHORT_NAMES = {"width": "d_model", "steps": "n_steps", "loss": "test_loss", "accuracy": "test_accuracy"}
COLUMNS = (*FAILURE_SCHEMA, *SHORT_NAMES)
DEFAULT_ORDER = ("task", "body", "d_model", "trainable", "seed")


def list_runs(
    *,
    task: str | None = None,
    width: Annotated[tuple[int, ...], tyro.conf.arg(metavar="WIDTH...")] = (),
    trainable: str | None = None,
    body: str | None = None,
    min_accuracy: float | None = None,
    max_accuracy: float | None = None,
    sort: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None,
    descending: bool = False,
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    force: bool = False,
    runs: Path = Path("runs"),
) -> None:
    """List the stored runs, and those that failed with the reason.

    Args:
        task: only runs of this task, such as modular_addition.
        width: only runs of these widths (d_model).
        trainable: only runs that train this set of parameters, such as embeddings, all or mlp+norms.
        body: only runs of this kind of model: transformer, linearised transformer, lstm or rnn.
        min_accuracy: only runs with at least this test accuracy, from 0 to 1; none whose task has no accuracy.
        max_accuracy: only runs with at most this test accuracy.
        sort: column to sort by, such as accuracy, loss, width, seed, duration_seconds or finished_at.
        descending: sort from the largest.
        out: write the table, all columns, to this .csv or .parquet file instead of printing it.
        force: write over a file that is already there.
        runs: the run store.
    """
    regimes = set() if trainable is None else _regimes(trainable)
    for kind, name, known in (("task", task, TASKS), ("body", body, BODY_LABELS)):
        if name is not None and name not in known:
            raise ValueError(unknown(kind, name, known))
    if sort is not None and sort not in COLUMNS:
        raise ValueError(unknown("column", sort, COLUMNS))
    store = RunStore(runs)
    table = pl.concat([store.table(), failures_table(store.failed())], how="diagonal").select(*FAILURE_SCHEMA)
    if table.is_empty():
        print(f"no runs in {runs}" + ("" if runs.is_dir() else ", which does not exist"))
        return
    conditions = [
        None if task is None else pl.col("run_id").str.starts_with(f"{task}-"),
        pl.col("d_model").is_in(list(width)) if width else None,
        None if trainable is None else pl.col("trainable").is_in(regimes),
        None if body is None else pl.col("body") == body,
        None if min_accuracy is None else pl.col("test_accuracy") >= min_accuracy,
        None if max_accuracy is None else pl.col("test_accuracy") <= max_accuracy,
    ]
    chosen = table.filter(*(condition for condition in conditions if condition is not None))
    order = DEFAULT_ORDER if sort is None else (SHORT_NAMES.get(sort, sort),)
    chosen = chosen.sort(order, descending=descending, nulls_last=True, maintain_order=True)
    if out is not None:
        _write(chosen, out, force)
    elif chosen.is_empty():
        print(f"none of the {len(table)} runs in {runs} is like that")
    else:
        _print(chosen)


def _regimes(trainable: str) -> set[str]:
    """The canonical forms of a set of component groups, of which some are a certain body's alone.

    Raises:
        ValueError: no body has such groups.
    """
    forms: set[str] = set()
    for body in BODIES.values():
        with contextlib.suppress(ValueError):
            forms.add(canonical(trainable, body.own_groups))
    return forms or {canonical(trainable)}


def _write(table: pl.DataFrame, out: Path, force: bool) -> None:
    buffer = io.BytesIO()
    writers = {".csv": table.write_csv, ".parquet": table.write_parquet}
    if out.suffix not in writers:
        raise ValueError(f"--out {out}: must end in .csv or .parquet")
    writers[out.suffix](buffer)
    if not holds(out, buffer.getvalue()):
        write_file(out, buffer.getvalue(), force=force)
    print(f"{len(table)} runs -> {out}")


def _print(table: pl.DataFrame) -> None:
    shown = Table(box=None, header_style="bold")
    for column in ("task", "parameters", "body", "width", "trainable", "seed", "steps", "test loss", "test accuracy"):
        shown.add_column(column, justify="left" if column in ("task", "parameters", "body", "trainable") else "right")
    shown.add_column("run id", no_wrap=True, overflow="fold")
    for row in table.iter_rows(named=True):
        stopped = "" if row["stopped_at_step"] is None else f"stopped at {row['stopped_at_step']:,} of "
        steps = f"{stopped}{row['n_steps']:,}"
        cells = (row["task"], row["task_parameters"], row["body"], row["d_model"], row["trainable"], row["seed"], steps)
        loss, accuracy = row["test_loss"], row["test_accuracy"]
        accuracy = "" if accuracy is None else f"{accuracy:.4f}"
        results = ("", "failed") if row["failure"] else (f"{loss:.4g}", accuracy)
        shown.add_row(*map(str, cells), *results, row["run_id"])
    console = Console()
    # Redirected, a row stays one line.
    console.print(shown) if console.is_terminal else Console(width=400).print(shown)
    failed = table.filter(pl.col("failure").is_not_null())
    for run_id, step, reason in failed.select("run_id", "failed_at_step", "failure").iter_rows():
        print(f"failed at step {step:,}: {run_id}: {reason}")


def main(arguments: Sequence[str]) -> None:
    run_command(list_runs, arguments, PROGRAM)
