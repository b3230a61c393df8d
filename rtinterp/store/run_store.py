"""A folder of finished runs."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from rtinterp.store.card import store_card
from rtinterp.store.checkpoints import minutes_per_checkpoint
from rtinterp.store.durable import aside_name, flush_files, flush_folder
from rtinterp.store.errors import StoreError, explain, one_line
from rtinterp.store.failures import Failure, Failures
from rtinterp.store.finding import matching
from rtinterp.store.former_ids import stored_id
from rtinterp.store.locks import Locks
from rtinterp.store.names import find_run, runs_called
from rtinterp.store.progress import Progress
from rtinterp.store.record import StoredRun, read_run, write_run
from rtinterp.store.table import readable, runs_table
from rtinterp.store.unfinished import UnfinishedRun, unfinished_runs
from rtinterp.training.kept_steps import kept_until
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

UNFINISHED_PREFIX = ".saving-"
TRAINING_FOLDER = ".training"
FAILED_FOLDER = ".failed"


class RunStore:
    """Finished runs, one folder each, named by run id.

    A run is written to the side and renamed, so it exists if and only if it is complete. Nothing that is in the store
    is ever overwritten. The folder is made by the first save. What is in training lies under ``.training``, which may
    be removed when nothing is, at the cost of the checkpoints in it; runs that failed lie under ``.failed``.

    Args:
        checkpoint_minutes: how much training a crash may cost; by default ``RTINTERP_CHECKPOINT_MINUTES`` of the
            process environment, or else 5.

    Raises:
        StoreError: the path is a file.
        ValueError: the minutes are not a number, or less than 0.
    """

    def __init__(self, path: str | os.PathLike[str], *, checkpoint_minutes: float | None = None) -> None:
        self.path = Path(path)
        self.checkpoint_seconds = 60 * minutes_per_checkpoint(checkpoint_minutes)
        self.locks = Locks(self.path / TRAINING_FOLDER)
        self.unfinished_folder = self.path / TRAINING_FOLDER / "unfinished"
        self.failures = Failures(self.path / FAILED_FOLDER)
        self._read_specs: dict[str, RunSpec] = {}
        try:
            is_file = self.path.exists() and not self.path.is_dir()
        except (OSError, ValueError) as error:
            raise StoreError(f"{one_line(path)}: cannot be a run store: {explain(error)}") from error
        if is_file:
            raise StoreError(f"{self.path}: is a file; a run store is a folder")

    def __contains__(self, run: RunSpec | str) -> bool:
        """Whether a run is stored: that of a spec, or the only one of an id or of the beginning of one."""
        return self.id_of(run) is not None if isinstance(run, RunSpec) else len(runs_called(run, self.run_ids())) == 1

    def __len__(self) -> int:
        return len(self.run_ids())

    def __repr__(self) -> str:
        holds = f"{len(self)} run{'s' * (len(self) != 1)}" if self.path.is_dir() else "no such folder"
        return f"RunStore({str(self.path)!r}: {holds})"

    def _repr_html_(self) -> str:
        return store_card(repr(self), self.path, self.run_ids(), self.unfinished())

    def id_of(self, spec: RunSpec) -> str | None:
        """The id under which the run of a spec is stored, which may be one of the former rule; None if it is not."""
        return stored_id(spec, self.run_ids(), self._read_spec)

    def run_ids(self) -> list[str]:
        """Ids of the runs in the store, sorted."""
        try:
            entries = list(self.path.iterdir()) if self.path.is_dir() else []
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read: {explain(error)}") from error

    def save(self, run: Run) -> Path:
        """Store a run and return its folder; a run that is already there stays as it is.

        Raises:
            StoreError: the folder cannot be written.
        """
        stored_as = self.id_of(run.spec) if run.stopped_at_step is None else None
        final = self.path / (stored_as or run.run_id)
        if final.is_dir():
            return final
        unfinished = self.path / aside_name(f"{UNFINISHED_PREFIX}{final.name}-")
        try:
            unfinished.mkdir(parents=True)
            write_run(run, unfinished)
            flush_files(unfinished)
            _publish(unfinished, final)
            flush_folder(self.path)
        except OSError as error:
            raise StoreError(f"{final}: cannot be saved: {error.strerror or error}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return final

    def load(self, run: RunSpec | str) -> Run:
        """Load a run, rebuild its body from the seed and verify its fingerprint.

        Args:
            run: its spec or its id, or how its id alone begins; see ``named``. Steps that the spec keeps and the run
                has not kept are told in a warning: the spec is the same without them.

        Raises:
            UnregisteredError: its task or body is not registered in this process.
            StoreError: there is no such run, or it failed, or a file of it is missing, truncated, edited or malformed.
        """
        if isinstance(run, RunSpec):
            stored = self.load(self.id_of(run) or self.failures.id_of(run) or run.run_id)
            _tell_of_steps_not_kept(run, stored)
            return stored
        run_id = self.named(run)
        if run_id not in self.run_ids():
            reason = self.failures.read(run_id).reason
            raise StoreError(f"{self.path}: {run_id} failed: {reason}; --retry-failed trains it again")
        return read_run(self.path / run_id)

    def named(self, name: str) -> str:
        """The id of the run, finished or failed, of which this is the id, or which alone has an id that begins so.

        A beginning may end anywhere but within a number, unless that is the hash, or before a further group that
        trains: ...-seed5 is not ...-seed50, and ...-qk not ...-qk-and-mlp.

        Raises:
            StoreError: there is no such run, or there are several, which are listed.
        """
        return find_run(name, sorted({*self.run_ids(), *self.failures.run_ids()}), self.path)

    def spec_of(self, name: str) -> RunSpec:
        """The spec of a finished run, by its id or the beginning of one; no tensors are read.

        Raises:
            UnregisteredError: its task or body is not registered in this process.
            StoreError: there is no such run, or its spec is not what was saved.
        """
        return self._read_spec(find_run(name, self.run_ids(), self.path))

    def find(
        self,
        *,
        task: object = None,
        d_model: object = None,
        trainable: object = None,
        seed: object = None,
        body: object = None,
        **fields: object,
    ) -> list[str]:
        """The ids of the runs that are as described, sorted; ``load`` opens one, ``spec_of`` tells its spec.

        Everything is a value or a collection of values, of which a run has one; None for any. A run that was stopped
        is among them, with an id that says so. A damaged run is left out with a warning, as in ``table``::

            for run_id in store.find(task="modular_addition", p=113, seed=range(3)):
                run = store.load(run_id)

        Args:
            task: a name, a class, or a Task with all its parameters.
            trainable: a set of component groups, in any order and form: names joined by "+".
            body: a name, a class, or a Body with all its sizes: ``"transformer"``, ``"linearised transformer"``,
                ``"lstm"``, ``"rnn"`` or what a body of one's own is called.
            fields: any field of the task, the body or the ``TrainSpec``, such as ``n_steps`` or a task's ``p``.

        Raises:
            ValueError: no run could have such a field, or nothing is called like that; says what is nearest.
            TypeError: a value could not be that of any run.
        """
        named = {"task": task, "d_model": d_model, "trainable": trainable, "seed": seed, "body": body}
        wanted = {name: value for name, value in named.items() if value is not None} | fields
        return matching(dict(readable(self.run_ids(), self._read_spec, stacklevel=3)), wanted)

    def missing(self, specs: Iterable[RunSpec], *, retry_failed: bool = False) -> list[RunSpec]:
        """The distinct specs that have no run in the store, in their order; those that failed only to be retried."""
        there, failed = set(self.run_ids()), set() if retry_failed else self.failures.run_ids()
        return [
            spec
            for spec in dict.fromkeys(specs)
            if stored_id(spec, there, self._read_spec) is None
            and stored_id(spec, failed, self.failures.read_spec) is None
        ]

    def failed(self) -> list[Failure]:
        """Runs that diverged, with the reason, by run id; those that were finished after all are not among them."""
        return [failure for failure in self.failures.all() if failure.spec not in self]

    def in_progress(self) -> list[Progress]:
        """What every live process is training into this store right now, as of its last heartbeat."""
        return self.locks.in_progress()

    def unfinished(self) -> list[UnfinishedRun]:
        """The runs that are in training now, or of which a checkpoint waits, by run id.

        A checkpoint is gone on from when the run is asked for again. One that failed is not among them, unless it is
        being trained again.
        """
        return unfinished_runs(self.unfinished_folder, self.in_progress(), self.missing)

    def table(self) -> pl.DataFrame:
        """One row per run; one that is damaged, or not registered in this process, is left out with a warning."""
        return runs_table(self.path, self.run_ids(), stacklevel=3)

    def _read_spec(self, run_id: str) -> RunSpec:
        """A spec is what its id says, so it is read once."""
        if run_id not in self._read_specs:
            self._read_specs[run_id] = StoredRun(self.path / run_id).spec
        return self._read_specs[run_id]


def _tell_of_steps_not_kept(spec: RunSpec, stored: Run) -> None:
    wanted = kept_until(spec.training.kept_steps, spec.training.n_steps, stored.last_step - 1)
    lacking = sorted(set(wanted).difference(stored.kept_steps))
    if lacking:
        warnings.warn(
            f"{stored.run_id} is stored without {len(lacking)} of the steps that its spec keeps, such as {lacking[0]}; "
            "to keep them, train it without this store, or into another one",
            stacklevel=3,
        )


def _publish(unfinished: Path, final: Path) -> None:
    """Rename, unless another process was first."""
    try:
        unfinished.rename(final)
    except OSError:
        if not final.is_dir():
            raise
