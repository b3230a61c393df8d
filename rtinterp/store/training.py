"""Training into a store: locks, checkpoints, finished and failed runs."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from rtinterp.store.checkpoints import StackCheckpoints, unfinished_stacks
from rtinterp.store.errors import StoreError, explain
from rtinterp.store.failures import Failure
from rtinterp.store.locks import Claim, LockLostError
from rtinterp.store.owner import is_dead, owner_of_name
from rtinterp.store.sizes import check_size
from rtinterp.training.checkpoint import Checkpoint, Divergence
from rtinterp.training.environment import describe_environment
from rtinterp.training.interruption import Interruption
from rtinterp.training.loop import train_stack_kept
from rtinterp.training.spec import RunSpec

if TYPE_CHECKING:
    from rtinterp.store.run_store import RunStore


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
        """All runs are stored or recorded as failed."""
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


def train_into(
    store: RunStore,
    specs: Sequence[RunSpec],
    device: torch.device,
    *,
    progress: bool,
    deadline: float | None,
    retry_failed: bool,
) -> list[RunSpec]:
    """See ``RunStore.train_stack``."""
    for spec in specs:
        # Before any training: what could not be opened afterwards.
        check_size(spec)
    tidy(store, retry_failed=retry_failed)
    done: set[RunSpec] = set()
    busy: set[RunSpec] = set()
    with Interruption() as interruption:
        while wanted := [
            spec for spec in store.missing(specs, retry_failed=retry_failed) if spec not in done and spec not in busy
        ]:
            if interruption.requested or (deadline is not None and time.time() >= deadline):
                break
            stack = _choose(store, wanted)
            claim = store.locks.claim([spec.run_id for spec in stack], specs[0].training.n_steps)
            if not isinstance(claim, Claim):
                theirs = {spec for spec in wanted if spec.run_id in claim.run_ids}
                busy |= theirs or set(stack)
                continue
            with claim:
                # Before the claim another process may have done some of it, or begun it.
                if _choose(store, store.missing(wanted, retry_failed=retry_failed)) != stack:
                    continue
                keeper = StackKeeper(store, stack, device, claim, progress=progress)
                try:
                    if not _train(store, keeper, progress, deadline, interruption):
                        break
                except LockLostError as error:
                    warnings.warn(f"{error}; what this process had of it is left to that one", stacklevel=3)
                    busy.update(stack)
                done.update(spec for spec in stack if spec in store or spec in keeper.failed)
    return [spec for spec in store.missing(specs, retry_failed=retry_failed) if spec not in done]


def _train(
    store: RunStore, keeper: StackKeeper, progress: bool, deadline: float | None, interruption: Interruption
) -> bool:
    """Whether a claimed stack is now done; not if the deadline came first."""
    keeper.begin()
    runs = train_stack_kept(
        keeper.specs, keeper.device, keeper, progress=progress, deadline=deadline, interruption=interruption
    )
    if runs is None:
        return False
    for run in runs:
        keeper.claim.verify()
        store.save(run)
        store.failures.forget(run.spec)
    keeper.end()
    return True


def tidy(store: RunStore, *, retry_failed: bool) -> None:
    """Remove what processes left behind that died between the last save and the end, as far as it can be removed."""
    with contextlib.suppress(OSError, StoreError):
        for folder in (store.path, store.unfinished_folder, store.failures.folder, store.locks.claims_folder):
            for path in folder.iterdir() if folder.is_dir() else ():
                owner = owner_of_name(path.name) if path.name.startswith(".") else None
                if owner is not None and is_dead(owner):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        if store.locks.claims_folder.is_dir():
            store.locks.remove_stale()
        for stack in unfinished_stacks(store.unfinished_folder):
            if store.missing(stack, retry_failed=retry_failed):
                continue
            claim = store.locks.claim([spec.run_id for spec in stack], stack[0].training.n_steps)
            if isinstance(claim, Claim):
                with claim:
                    StackCheckpoints(store.unfinished_folder, stack).remove()


def _choose(store: RunStore, wanted: Sequence[RunSpec]) -> list[RunSpec]:
    """What to train next: a stack that was begun is continued as it is, else what is wanted makes a new one."""
    if not wanted:
        return []
    begun = unfinished_stacks(store.unfinished_folder, wanted[0])
    return next((stack for stack in begun if not set(wanted).isdisjoint(stack)), list(wanted))
