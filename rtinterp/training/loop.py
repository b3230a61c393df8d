"""Training stacks of specs that differ in their seed alone and share their forward passes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Sequence

import torch

from rtinterp.training.capacity import models_per_stack
from rtinterp.training.checkpoint import Keeper
from rtinterp.training.interruption import Interruption
from rtinterp.training.progress import TrainingProgress
from rtinterp.training.run import Run
from rtinterp.training.snapshot import OnEvaluation
from rtinterp.training.spec import RunSpec, spec_to_json
from rtinterp.training.stack import StackTraining


class DivergenceError(ArithmeticError):
    """The loss of a run is no longer finite, or its gradient has exploded."""


def stacks(specs: Iterable[RunSpec], device: torch.device) -> list[list[RunSpec]]:
    """Distinct specs that differ in their seed alone and are watched alike, in order of first appearance.

    A stack has as many as train best together.
    """
    grouped: dict[str, list[RunSpec]] = {}
    for spec in dict.fromkeys(specs):
        grouped.setdefault(spec_to_json(spec.with_seed(0)), []).append(spec)
    found = []
    for group in grouped.values():
        size = models_per_stack(group[0], device)
        found += [group[start : start + size] for start in range(0, len(group), size)]
    return found


def train_stack(
    specs: Sequence[RunSpec], device: torch.device, progress: bool, on_evaluation: OnEvaluation | None = None
) -> list[Run]:
    """Train specs that differ in their seed alone in one stack; first come those that the callback stops.

    Raises:
        DivergenceError: one of them diverged.
    """
    training, stopped = StackTraining(specs, device), []
    with TrainingProgress(training.specs[0], len(training.specs), shown=progress) as bar:
        while not training.finished:
            _, diverged = training.advance(bar)
            for model, divergence in diverged.items():
                raise DivergenceError(f"{divergence.reason}. Spec: {training.specs[model]}")
            stopped.extend(training.watch(on_evaluation))
    return [*stopped, *training.runs()]


def train_stack_kept(
    specs: Sequence[RunSpec],
    device: torch.device,
    keeper: Keeper,
    *,
    progress: bool = True,
    deadline: float | None = None,
    interruption: Interruption | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> list[Run] | None:
    """Train a stack that may be cut off: it goes on from the newest checkpoint and leaves new ones.

    Args:
        deadline: seconds as of ``time.time()``; when it is about to pass, a checkpoint is written. At least one step is
            taken before.
        interruption: when it is requested, a checkpoint is written and the interrupt raised.
        on_evaluation: called for every model at every evaluation; an exception of it is raised after a checkpoint.

    Returns:
        The finished runs without those that diverged or were stopped; None if the deadline came first.
    """
    training = _continued(specs, device, keeper, on_evaluation)
    slowest = slowest_save = 0.0
    with TrainingProgress(training.specs[0], len(training.specs), shown=progress) as bar:
        while not training.finished:
            start = time.perf_counter()
            train_loss, diverged = training.advance(bar)
            for model, divergence in diverged.items():
                keeper.diverged(training.specs[model].run_id, divergence, training.seconds)
            _show(training, on_evaluation, keeper)
            keeper.tell(training.step, train_loss)
            saved = time.perf_counter()
            slowest = max(slowest, saved - start)
            out_of_time = deadline is not None and time.time() + slowest + slowest_save >= deadline
            interrupted = interruption is not None and interruption.requested
            if training.finished or not (keeper.is_due() or out_of_time or interrupted):
                continue
            keeper.save(training.checkpoint())
            slowest_save = max(slowest_save, time.perf_counter() - saved)
            if interruption is not None:
                interruption.obey()
            if out_of_time:
                return None
    return training.runs()


def _show(training: StackTraining, on_evaluation: OnEvaluation | None, keeper: Keeper) -> None:
    try:
        for run in training.watch(on_evaluation):
            keeper.stopped(run.spec.run_id, run.last_step, run)
    except Exception:
        keeper.save(training.checkpoint())
        raise


def _continued(
    specs: Sequence[RunSpec], device: torch.device, keeper: Keeper, on_evaluation: OnEvaluation | None
) -> StackTraining:
    for checkpoint in keeper.saved():
        training = StackTraining(specs, device)
        try:
            training.restore(checkpoint)
        except ValueError as error:
            warnings.warn(f"left out a checkpoint of {specs[0].run_id}: {error}", stacklevel=2)
            continue
        if on_evaluation is None:
            # Nobody stops anything now: what was stopped has gone on in its stack, and is finished with the others.
            training.stopped.clear()
        for model, step in training.stopped.items():
            keeper.stopped(specs[model].run_id, step, None)
        return training
    return StackTraining(specs, device)
