"""What a notebook shows of a run store."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from rtinterp.cards import card, percent, table, text
from rtinterp.store.table import runs_table
from rtinterp.store.unfinished import UnfinishedRun

#: Rows of each table.
MAX_ROWS = 12
COLUMNS = ("run", "task", "test accuracy", "test loss", "steps", "finished")


def store_card(title: str, path: Path, run_ids: Sequence[str], unfinished: Sequence[UnfinishedRun]) -> str:
    """Show the newest runs, of which the summaries alone are read, and those that are not finished.

    Args:
        run_ids: of the finished ones.
    """
    newest = sorted(run_ids, key=lambda run_id: (path / run_id).stat().st_mtime, reverse=True)[:MAX_ROWS]
    with warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always")
        runs = runs_table(path, newest)
    rows = [
        (
            run["run_id"],
            run["task_parameters"],
            "" if run["test_accuracy"] is None else percent(run["test_accuracy"]),
            f"{run['test_loss']:.4g}",
            f"{run['stopped_at_step'] or run['n_steps']:,}",
            run["finished_at"][:16].replace("T", " "),
        )
        for run in runs.iter_rows(named=True)
    ]
    return card(
        title,
        table(COLUMNS, rows) if rows else "",
        text(f"and {len(run_ids) - MAX_ROWS:,} older runs; find() and table() have all")
        if len(run_ids) > MAX_ROWS
        else "",
        *(text(str(warning.message)) for warning in left_out),
        _unfinished(unfinished),
    )


def _unfinished(runs: Sequence[UnfinishedRun]) -> str:
    rows = [
        (
            run.spec.run_id,
            f"{run.step:,} of {run.n_steps:,}",
            "a checkpoint waits" if run.in_training is None else "in training",
        )
        for run in runs[:MAX_ROWS]
    ]
    more = text(f"and {len(runs) - MAX_ROWS:,} more") if len(runs) > MAX_ROWS else ""
    return table(("unfinished", "step", ""), rows) + more if rows else ""
