"""Runs that were begun and are not finished: those in training now, and those of which a checkpoint waits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from rtinterp.store.checkpoints import StackCheckpoints, unfinished_stacks
from rtinterp.store.progress import Progress
from rtinterp.training.spec import RunSpec


@dataclasses.dataclass(frozen=True)
class UnfinishedRun:
    """A run that is in training now, or goes on from a checkpoint when it is asked for again.

    Attributes:
        checkpoint_step: finished optimiser steps in its newest checkpoint; None if it has none.
        in_training: what the process that trains it now last said of it; None if none does.
    """

    spec: RunSpec
    checkpoint_step: int | None
    in_training: Progress | None

    @property
    def step(self) -> int:
        """Finished optimiser steps, as far as is known."""
        return max(self.checkpoint_step or 0, 0 if self.in_training is None else self.in_training.step)

    @property
    def n_steps(self) -> int:
        return self.spec.training.n_steps

    @property
    def train_loss(self) -> float | None:
        """Of the last step, in nats or squared units, mean over the models that train with it; None if not known."""
        return None if self.in_training is None else self.in_training.train_loss


class Missing(Protocol):
    """``RunStore.missing``."""

    def __call__(self, specs: Iterable[RunSpec], *, retry_failed: bool = False) -> list[RunSpec]: ...


def unfinished_runs(folder: Path, in_progress: Iterable[Progress], missing: Missing) -> list[UnfinishedRun]:
    """The unfinished runs of a store, by run id; see ``RunStore.unfinished``.

    Args:
        folder: that of the unfinished stacks.
    """
    in_training = {run_id: progress for progress in in_progress for run_id in progress.run_ids}
    found = []
    for stack in unfinished_stacks(folder):
        step = StackCheckpoints(folder, stack).newest_step()
        is_retried = not missing(stack) and any(spec.run_id in in_training for spec in stack)
        for spec in missing(stack, retry_failed=is_retried):
            progress = in_training.get(spec.run_id)
            if step is not None or progress is not None:
                found.append(UnfinishedRun(spec, step, progress))
    return sorted(found, key=lambda run: run.spec.run_id)
