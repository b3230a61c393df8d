"""One row per stored run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import polars as pl

from rtinterp.store.errors import StoreError, UnregisteredError, UnregisteredRunWarning
from rtinterp.store.failures import Failure
from rtinterp.store.record import read_summary
from rtinterp.tasks import Task
from rtinterp.training.environment import Environment
from rtinterp.training.history import test_column
from rtinterp.training.losses import METRICS
from rtinterp.training.spec import RunSpec

TABLE_SCHEMA = {
    "run_id": pl.String,
    "task": pl.String,
    "task_parameters": pl.String,
    "body": pl.String,
    "d_model": pl.Int64,
    "n_layers": pl.Int64,
    "trainable": pl.String,
    "seed": pl.Int64,
    "n_steps": pl.Int64,
    "stopped_at_step": pl.Int64,
    "batch_size": pl.Int64,
    "learning_rate": pl.Float64,
    "test_loss": pl.Float64,
    **{test_column(metric): pl.Float64 for metric in METRICS},
    "device": pl.String,
    "duration_seconds": pl.Float64,
    "finished_at": pl.String,
}
Contents = TypeVar("Contents")

FAILURE_SCHEMA = {**TABLE_SCHEMA, "failed_at_step": pl.Int64, "failure": pl.String}


class DamagedRunWarning(UserWarning):
    """A run was left out because a file of it is not what was saved; the message names the file."""


def readable(
    run_ids: Iterable[str], read: Callable[[str], Contents], *, stacklevel: int
) -> Iterator[tuple[str, Contents]]:
    """What can be read of each run.

    A damaged run is left out with a warning that names the file, one whose task or body is not registered with another.
    """
    for run_id in run_ids:
        try:
            contents = read(run_id)
        except UnregisteredError as error:
            warnings.warn(f"left out a run: {error}", UnregisteredRunWarning, stacklevel=stacklevel)
        except StoreError as error:
            warnings.warn(f"left out a damaged run: {error}", DamagedRunWarning, stacklevel=stacklevel)
        else:
            yield run_id, contents


def runs_table(store: Path, run_ids: Iterable[str], *, stacklevel: int = 2) -> pl.DataFrame:
    """One row per run that is ``readable``; null under the metrics that its task does not have."""
    rows = []
    for run_id, summary in readable(run_ids, lambda run_id: read_summary(store / run_id), stacklevel=stacklevel + 1):
        spec, history, environment = summary
        measured = history.drop("step", "train_loss").row(-1, named=True)
        rows.append(_row(run_id, spec, history["step"][-1], environment) | measured)
    return pl.DataFrame(rows, schema=TABLE_SCHEMA)


def failures_table(failures: Iterable[Failure]) -> pl.DataFrame:
    """One row per failed run, with the same columns (no loss, no accuracy), the step and the reason."""
    rows = [
        _row(failure.run_id, failure.spec, None, failure.environment)
        | {"failed_at_step": failure.step, "failure": failure.reason}
        for failure in failures
    ]
    return pl.DataFrame(rows, schema=FAILURE_SCHEMA)


def task_parameters(task: Task) -> str:
    """What its printed form has between the brackets, such as "p=113"."""
    named, bracket, parameters = repr(task).partition("(")
    return parameters.removesuffix(")") if bracket and named == type(task).__qualname__ else repr(task)


def _row(run_id: str, spec: RunSpec, last_step: int | None, environment: Environment) -> dict[str, object]:
    """All columns but those that are measured, of which a run has those of its task, and a failed one none."""
    return {
        "run_id": run_id,
        "task": spec.task.name,
        "task_parameters": task_parameters(spec.task),
        "body": spec.model.label,
        "d_model": spec.model.d_model,
        "n_layers": spec.model.n_layers,
        "trainable": spec.trainable,
        "seed": spec.seed,
        "n_steps": spec.training.n_steps,
        "stopped_at_step": None if last_step == spec.training.n_steps else last_step,
        "batch_size": spec.training.batch_size,
        "learning_rate": spec.training.learning_rate,
        "device": environment.device,
        "duration_seconds": environment.duration_seconds,
        "finished_at": environment.finished_at,
    }
