"""The columns of a run's history, which depend on the metrics of its task."""

from __future__ import annotations

import polars as pl

from rtinterp.tasks import Task


def history_schema(task: Task) -> dict[str, type[pl.DataType]]:
    """``step``, ``train_loss``, ``test_loss``, and ``test_METRIC`` for each metric of the task."""
    return {"step": pl.Int64, **dict.fromkeys(("train_loss", "test_loss", *map(test_column, task.metrics)), pl.Float64)}


def test_column(metric: str) -> str:
    return f"test_{metric}"
