"""A folder of finished runs."""

from __future__ import annotations

import difflib
import os
import shutil
import uuid
import warnings
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from rtinterp.store.record import StoreError, read_run, read_summary, write_run
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec
from rtinterp.training.train import train_in_stacks

UNFINISHED_PREFIX = ".saving-"

TABLE_SCHEMA = {
    "run_id": pl.String,
    "task": pl.String,
    "d_model": pl.Int64,
    "n_layers": pl.Int64,
    "trainable": pl.String,
    "seed": pl.Int64,
    "n_steps": pl.Int64,
    "batch_size": pl.Int64,
    "test_accuracy": pl.Float64,
    "device": pl.String,
    "duration_seconds": pl.Float64,
    "finished_at": pl.String,
}


class RunStore:
    """Finished runs, one folder each, named by run id.

    A run is written to the side and renamed, so it exists if and only if it is complete. Nothing that is in the store
    is ever overwritten. The folder is made by the first save.

    Raises:
        StoreError: the path is a file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path}: is a file; a run store is a folder")

    def __contains__(self, run: RunSpec | str) -> bool:
        return _run_id(run) in self.run_ids()

    def run_ids(self) -> list[str]:
        """Ids of the runs in the store, sorted."""
        if not self.path.is_dir():
            return []
        return sorted(entry.name for entry in self.path.iterdir() if entry.is_dir() and not entry.name.startswith("."))

    def save(self, run: Run) -> Path:
        """Store a run and return its folder; a run that is already there stays as it is.

        Raises:
            StoreError: the folder cannot be written.
        """
        final = self.path / run.spec.run_id
        if final.is_dir():
            return final
        unfinished = self.path / f"{UNFINISHED_PREFIX}{run.spec.run_id}-{uuid.uuid4().hex}"
        try:
            unfinished.mkdir(parents=True)
            write_run(run, unfinished)
            _flush_to_disk(unfinished)
            _publish(unfinished, final)
            _flush_folder(self.path)
        except OSError as error:
            raise StoreError(f"{final}: cannot be saved: {error.strerror or error}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return final

    def load(self, run: RunSpec | str) -> Run:
        """Load a run, rebuild its body from the seed and verify its fingerprint.

        Args:
            run: its spec or its id.

        Raises:
            StoreError: there is no such run, or a file of it is missing, truncated, edited or malformed.
        """
        run_id = _run_id(run)
        if run_id not in self.run_ids():
            near = difflib.get_close_matches(run_id, self.run_ids(), n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise StoreError(f"{self.path}: no run {run_id!r} among {len(self.run_ids())}{hint}")
        return read_run(self.path / run_id)

    def missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        """The distinct specs that have no run in the store, in their order."""
        there = set(self.run_ids())
        return [spec for spec in dict.fromkeys(specs) if spec.run_id not in there]

    def train_missing(self, specs: Iterable[RunSpec], *, device: str | None = None, progress: bool = True) -> None:
        """Train what the store lacks and save every stack as soon as it is done."""
        for stack in train_in_stacks(self.missing(specs), device=device, progress=progress):
            for run in stack:
                self.save(run)

    def table(self) -> pl.DataFrame:
        """One row per run. A damaged run is left out with a warning that names the file."""
        rows = []
        for run_id in self.run_ids():
            try:
                rows.append(self._row(run_id))
            except StoreError as error:
                warnings.warn(f"left out a damaged run: {error}", stacklevel=2)
        return pl.DataFrame(rows, schema=TABLE_SCHEMA, orient="row")

    def _row(self, run_id: str) -> tuple[object, ...]:
        spec, history, environment = read_summary(self.path / run_id)
        return (
            run_id,
            repr(spec.task),
            spec.model.d_model,
            spec.model.n_layers,
            spec.trainable,
            spec.seed,
            spec.training.n_steps,
            spec.training.batch_size,
            history["test_accuracy"][-1],
            environment.device,
            environment.duration_seconds,
            environment.finished_at,
        )


def _run_id(run: RunSpec | str) -> str:
    return run.run_id if isinstance(run, RunSpec) else run


def _publish(unfinished: Path, final: Path) -> None:
    """Rename, unless another process was first."""
    try:
        unfinished.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def _flush_to_disk(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    """Make names in a folder durable, where the system can open folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
