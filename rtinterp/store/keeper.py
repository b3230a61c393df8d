"""What a stack in training leaves in a store: checkpoints, signs of life, failures."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, Sequence

import torch

from rtinterp.store.checkpoints import StackCheckpoints
from rtinterp.store.errors import StoreError, explain
from rtinterp.store.failures import Failure
from rtinterp.store.locks import Claim
from rtinterp.store.run_store import RunStore
from rtinterp.training.checkpoint import Checkpoint, Divergence
from rtinterp.training.environment import describe_environment
from rtinterp.training.run import Run, stopped_run_id
from rtinterp.training.spec import RunSpec


class StackKeeper:
    """Keeps what one stack leaves in the store while this process has the claim on it; see ``Keeper``."""

    def __init__(
        self, store: RunStore, specs: Sequence[RunSpec], device: torch.device, claim: Claim, *, progress: bool
    ) -> None:
        self.specs, self.device, self.claim = list(specs), device, claim
        self._store, self._progress = store, progress
        self._checkpoints = StackCheckpoints(store.unfinished_folder, specs)
        self._last_save = time.monotonic()
        self._disk_is_full = False
        self.failed: set[RunSpec] = set()
        self.stopped_runs: dict[RunSpec, Run] = {}

    def begin(self) -> None:
        """Write down which runs train together.

        Raises:
            StoreError: the store cannot be written.
        """
        try:
            self._checkpoints.begin()
        except OSError as error:
            raise StoreError(f"{self._checkpoints.path}: cannot be saved: {explain(error)}") from error

    def end(self) -> None:
        """All runs are stored, or recorded as failed."""
        self._checkpoints.remove()

    def saved(self) -> Iterator[Checkpoint]:
        return self._checkpoints.saved()

    def is_due(self) -> bool:
        return time.monotonic() - self._last_save >= self._store.checkpoint_seconds

    def save(self, checkpoint: Checkpoint) -> None:
        """A disk that is full ends no training that can go on: it is told once."""
        self.claim.verify()
        try:
            self._checkpoints.save(checkpoint)
        except OSError as error:
            self.claim.verify()
            if not self._disk_is_full:
                warnings.warn(
                    f"{self._checkpoints.path}: no checkpoint can be saved: {explain(error)}; training goes on",
                    stacklevel=2,
                )
            self._disk_is_full = True
        self._last_save = time.monotonic()

    def tell(self, step: int, train_loss: float | None) -> None:
        self.claim.tell(step, train_loss)

    def diverged(self, run_id: str, divergence: Divergence, seconds: float) -> None:
        self.claim.verify()
        spec = next(spec for spec in self.specs if spec.run_id == run_id)
        environment = describe_environment(self.device, self.specs, seconds)
        self._store.failures.record(Failure(spec, divergence.step, divergence.reason, environment))
        self.failed.add(spec)
        if self._progress:
            print(f"{run_id} failed: {divergence.reason}", file=sys.stderr)

    def stopped(self, run_id: str, step: int, run: Run | None) -> None:
        self.claim.verify()
        spec = next(spec for spec in self.specs if spec.run_id == run_id)
        if run is None:
            run = self._store.load(stopped_run_id(spec, step))
        else:
            self._store.save(run)
        self.stopped_runs[spec] = run
