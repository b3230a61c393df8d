"""Training stacks into a store: locks, checkpoints, finished and failed runs; it goes on wherever it was cut off."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Iterable, Sequence

import torch

from rtinterp.store.checkpoints import unfinished_stacks
from rtinterp.store.keeper import StackKeeper
from rtinterp.store.locks import Claim, LockLostError
from rtinterp.store.run_store import RunStore
from rtinterp.store.sizes import check_size
from rtinterp.store.tidy import tidy
from rtinterp.store.waiting import wait_for
from rtinterp.training.interruption import Interruption
from rtinterp.training.loop import DivergenceError, stacks, train_stack_kept
from rtinterp.training.run import Run
from rtinterp.training.snapshot import OnEvaluation
from rtinterp.training.spec import RunSpec


def train_stack_into(
    store: RunStore,
    specs: Sequence[RunSpec],
    device: torch.device,
    *,
    progress: bool = True,
    deadline: float | None = None,
    retry_failed: bool = False,
) -> list[RunSpec]:
    """Train specs that differ in their seed alone into a store, without waiting for other processes.

    Runs that are there are not trained again, nor those that failed unless they are to be retried. A stack that was
    begun is continued from its last checkpoint, and with the seeds it was begun with, whatever is asked for now.
    Runs that diverge are recorded as failed; the others go on.

    Args:
        deadline: seconds as of ``time.time()``; when it is about to pass, a checkpoint is written.

    Returns:
        The specs that are still unfinished: the deadline came first, or another live process trains them.

    Raises:
        StoreError: the store cannot be written, or is gone.
        KeyboardInterrupt: SIGINT, after a checkpoint; a second one at once.
        SystemExit: SIGTERM, after a checkpoint.
    """
    return StoreTraining(store, device, progress, deadline, retry_failed).train_stack(specs)


def missing_stacks(
    store: RunStore, specs: Iterable[RunSpec], device: torch.device, *, retry_failed: bool = False
) -> list[list[RunSpec]]:
    """What the store lacks, in stacks for ``train_stack_into``.

    Which runs share a stack depends on what is asked for and not on what is there already, so that the same request
    ends in the same bits wherever it was interrupted.
    """
    specs = list(specs)
    missing = set(store.missing(specs, retry_failed=retry_failed))
    parts = ([spec for spec in stack if spec in missing] for stack in stacks(specs, device))
    return [part for part in parts if part]


@dataclasses.dataclass
class StoreTraining:
    """One call's training into a store.

    Attributes:
        deadline: seconds as of ``time.time()``.
        on_evaluation: what is called at every evaluation.
        runs: what this call has trained so far.
    """

    store: RunStore
    device: torch.device
    progress: bool = True
    deadline: float | None = None
    retry_failed: bool = False
    on_evaluation: OnEvaluation | None = None
    runs: dict[RunSpec, Run] = dataclasses.field(default_factory=dict)

    def train(self, specs: Sequence[RunSpec]) -> dict[RunSpec, Run]:
        """The runs of all specs, of which those are trained that the store lacks; see ``train``."""
        tidy(self.store, retry_failed=self.retry_failed)
        while todo := self._to_train(specs):
            left = [spec for stack in todo for spec in self.train_stack(stack)]
            wait_for(self.store, left, shown=self.progress)
            # What failed again is not retried again.
            self.retry_failed = False
        self._refuse_failed(set(specs).difference(self.runs))
        return {spec: self.runs[spec] if spec in self.runs else self.store.load(spec) for spec in dict.fromkeys(specs)}

    def train_stack(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Train specs that differ in their seed alone; see ``train_stack_into``."""
        for spec in specs:
            # Before any training: what could not be opened afterwards.
            check_size(spec)
        store = self.store
        tidy(store, retry_failed=self.retry_failed)
        done: set[RunSpec] = set()
        busy: set[RunSpec] = set()
        with Interruption() as interruption:
            while wanted := [spec for spec in self._missing(specs) if spec not in done and spec not in busy]:
                if interruption.requested or (self.deadline is not None and time.time() >= self.deadline):
                    break
                stack = self._choose(wanted)
                claim = store.locks.claim([spec.run_id for spec in stack], specs[0].training.n_steps)
                if not isinstance(claim, Claim):
                    theirs = {spec for spec in wanted if spec.run_id in claim.run_ids}
                    busy |= theirs or set(stack)
                    continue
                with claim:
                    # Before the claim another process may have done some of it, or begun it.
                    if self._choose(self._missing(wanted)) != stack:
                        continue
                    keeper = StackKeeper(store, stack, self.device, claim, progress=self.progress)
                    try:
                        if not self._train_claimed(keeper, interruption):
                            break
                    except LockLostError as error:
                        warnings.warn(f"{error}; what this process had of it is left to that one", stacklevel=3)
                        busy.update(stack)
                    self.runs |= keeper.stopped_runs
                    done.update(spec for spec in stack if spec in store or spec in self.runs or spec in keeper.failed)
        return [spec for spec in self._missing(specs) if spec not in done]

    def _train_claimed(self, keeper: StackKeeper, interruption: Interruption) -> bool:
        """Whether a claimed stack is now done; not if the deadline came first."""
        keeper.begin()
        runs = train_stack_kept(
            keeper.specs,
            keeper.device,
            keeper,
            progress=self.progress,
            deadline=self.deadline,
            interruption=interruption,
            on_evaluation=self.on_evaluation,
        )
        if runs is None:
            return False
        for run in runs:
            keeper.claim.verify()
            self.store.save(run)
            self.store.failures.forget(run.spec)
            self.runs[run.spec] = run
        keeper.end()
        return True

    def _to_train(self, specs: Sequence[RunSpec]) -> list[list[RunSpec]]:
        """Stacks of what is missing, and has not been stopped by this call."""
        missing = missing_stacks(self.store, specs, self.device, retry_failed=self.retry_failed)
        parts = ([spec for spec in stack if spec not in self.runs] for stack in missing)
        return [part for part in parts if part]

    def _missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        return self.store.missing(specs, retry_failed=self.retry_failed)

    def _choose(self, wanted: Sequence[RunSpec]) -> list[RunSpec]:
        """What to train next: a stack that was begun is continued as it is, else what is wanted makes a new one."""
        if not wanted:
            return []
        begun = unfinished_stacks(self.store.unfinished_folder, wanted[0])
        return next((stack for stack in begun if not set(wanted).isdisjoint(stack)), list(wanted))

    def _refuse_failed(self, specs: set[RunSpec]) -> None:
        failures = [failure for failure in self.store.failed() if failure.spec in specs]
        if failures:
            first, *others = failures
            more = f"; so did {', '.join(failure.run_id for failure in others)}" if others else ""
            raise DivergenceError(
                f"{self.store.path}: {first.run_id} failed: {first.reason}{more}; retry_failed=True (--retry-failed) "
                "trains again what failed"
            )
