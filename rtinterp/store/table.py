"""One row per stored run."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from rtinterp.store.errors import StoreError, UnregisteredError, UnregisteredRunWarning
from rtinterp.store.failures import Failure
from rtinterp.store.record import read_summary
from rtinterp.training.environment import Environment
from rtinterp.training.spec import RunSpec

TABLE_SCHEMA = {
    "run_id": pl.String,
    "task": pl.String,
    "body": pl.String,
    "d_model": pl.Int64,
    "n_layers": pl.Int64,
    "trainable": pl.String,
    "seed": pl.Int64,
    "n_steps": pl.Int64,
    "stopped_at_step": pl.Int64,
    "batch_size": pl.Int64,
    "test_loss": pl.Float64,
    "test_accuracy": pl.Float64,
    "device": pl.String,
    "duration_seconds": pl.Float64,
    "finished_at": pl.String,
}
FAILURE_SCHEMA = {**TABLE_SCHEMA, "failed_at_step": pl.Int64, "failure": pl.String}


class DamagedRunWarning(UserWarning):
    """A run was left out because a file of it is not what was saved; the message names the file."""


def runs_table(folders: Iterable[Path], *, stacklevel: int = 2) -> pl.DataFrame:
    """One row per run folder.

    A damaged run is left out with a warning that names the file, one whose task or body is not registered with another.
    """
    rows = []
    for folder in folders:
        try:
            spec, history, environment = read_summary(folder)
        except UnregisteredError as error:
            warnings.warn(f"left out a run: {error}", UnregisteredRunWarning, stacklevel=stacklevel)
            continue
        except StoreError as error:
            warnings.warn(f"left out a damaged run: {error}", DamagedRunWarning, stacklevel=stacklevel)
            continue
        last = history.row(-1, named=True)
        rows.append(_row(folder.name, spec, last["step"], last["test_loss"], last["test_accuracy"], environment))
    return pl.DataFrame(rows, schema=TABLE_SCHEMA, orient="row")


def failures_table(failures: Iterable[Failure]) -> pl.DataFrame:
    """One row per failed run, with the same columns (no loss, no accuracy), the step and the reason."""
    rows = [(*_row(f.run_id, f.spec, None, None, None, f.environment), f.step, f.reason) for f in failures]
    return pl.DataFrame(rows, schema=FAILURE_SCHEMA, orient="row")


def _row(
    run_id: str,
    spec: RunSpec,
    last_step: int | None,
    loss: float | None,
    accuracy: float | None,
    environment: Environment,
) -> tuple[object, ...]:
    return (
        run_id,
        repr(spec.task),
        spec.model.label,
        spec.model.d_model,
        spec.model.n_layers,
        spec.trainable,
        spec.seed,
        spec.training.n_steps,
        None if last_step == spec.training.n_steps else last_step,
        spec.training.batch_size,
        loss,
        accuracy,
        environment.device,
        environment.duration_seconds,
        environment.finished_at,
    )
