"""Training, with a store or without: what the store has is loaded, the rest is trained, kept and handed over."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import overload

from rtinterp.store.resumable import StoreTraining
from rtinterp.store.run_store import RunStore
from rtinterp.training.environment import resolve_device
from rtinterp.training.interruption import TrainingInterrupted
from rtinterp.training.loop import stacks, train_stack
from rtinterp.training.run import Run
from rtinterp.training.snapshot import OnEvaluation
from rtinterp.training.spec import RunSpec

StoreOrPath = RunStore | str | os.PathLike[str]

NOTHING_KEPT = 'nothing was kept; train(specs, store="runs") keeps finished runs and checkpoints, and goes on from them'


class WarmupWarning(UserWarning):
    """A training ends before its warmup does."""


@overload
def train(
    specs: RunSpec,
    *,
    store: StoreOrPath | None = None,
    device: str | None = None,
    progress: bool = True,
    retry_failed: bool = False,
    on_evaluation: OnEvaluation | None = None,
) -> Run: ...
@overload
def train(
    specs: Iterable[RunSpec],
    *,
    store: StoreOrPath | None = None,
    device: str | None = None,
    progress: bool = True,
    retry_failed: bool = False,
    on_evaluation: OnEvaluation | None = None,
) -> list[Run]: ...
def train(
    specs: RunSpec | Iterable[RunSpec],
    *,
    store: StoreOrPath | None = None,
    device: str | None = None,
    progress: bool = True,
    retry_failed: bool = False,
    on_evaluation: OnEvaluation | None = None,
) -> Run | list[Run]:
    """Train one run or several; the runs come back in the order of their specs.

    With a store, the runs that it has are loaded, and the others are trained and saved there. A training that was cut
    off goes on from its last checkpoint, in this process or another one. What other processes train is waited for.

    Args:
        store: a run store, or the path of one. Without it all runs are trained, and none is kept.
        device: ``"cpu"`` or ``"cuda"``; CUDA where there is one if None.
        progress: show a progress bar on stderr.
        retry_failed: train runs again that diverged before.
        on_evaluation: called with a ``Snapshot`` of every model at every evaluation: step, metrics, trained tensors.
            Its ``stop()`` ends the run there, which is stored and handed over as a run that was stopped at that step;
            the spec still counts as missing. It changes nothing else. An exception of it leaves a checkpoint, from
            which the same call goes on at the next step. It sees no evaluations of runs that are loaded, nor those
            before the checkpoint that a training goes on from.

    Raises:
        TypeError: what is given is no spec, or no store.
        ValueError: the device is not there.
        DivergenceError: a loss is not finite, or a gradient has exploded. With a store, the other runs are finished and
            saved first.
        StoreError: the store cannot be read or written, or a run in it is damaged.
        TrainingInterrupted: a KeyboardInterrupt; the message says what was kept.
    """
    if isinstance(specs, RunSpec):
        return train(
            [specs],
            store=store,
            device=device,
            progress=progress,
            retry_failed=retry_failed,
            on_evaluation=on_evaluation,
        )[0]
    wanted, opened, resolved = _checked_specs(specs), _opened(store), resolve_device(device)
    _tell_of_long_warmups(wanted)
    try:
        if opened is None:
            trained = [train_stack(stack, resolved, progress, on_evaluation) for stack in stacks(wanted, resolved)]
            runs = {run.spec: run for stack in trained for run in stack}
        else:
            training = StoreTraining(opened, resolved, progress, None, retry_failed, on_evaluation)
            runs = training.train(wanted)
    except KeyboardInterrupt:
        # Its many lines of traceback say nothing, this one says how to go on.
        raise TrainingInterrupted(NOTHING_KEPT if opened is None else _what_was_kept(opened, wanted)) from None
    return [runs[spec] for spec in wanted]


def _checked_specs(specs: object) -> list[RunSpec]:
    checked: list[RunSpec] = []
    for spec in specs if isinstance(specs, Iterable) else [specs]:
        if not isinstance(spec, RunSpec):
            raise TypeError(f"train() takes a RunSpec or several of them, not {spec!r:.100} ({type(spec).__name__})")
        checked.append(spec)
    return checked


def _tell_of_long_warmups(specs: Iterable[RunSpec]) -> None:
    """A training that ends within its warmup may be meant, and stored runs have it; more often it is the default."""
    for training in dict.fromkeys(spec.training for spec in specs):
        if training.n_warmup_steps > training.n_steps:
            highest = training.learning_rate * training.n_steps / training.n_warmup_steps
            warnings.warn(
                f"n_warmup_steps={training.n_warmup_steps} is more than n_steps={training.n_steps}: the learning rate "
                f"rises to {highest:.2g} at most, not to {training.learning_rate:g}; pass a smaller n_warmup_steps",
                WarmupWarning,
                stacklevel=3,
            )


def _opened(store: object) -> RunStore | None:
    if store is None or isinstance(store, RunStore):
        return store
    if not isinstance(store, str | os.PathLike):
        raise TypeError(f"store={store!r:.100}: pass a RunStore or the path of one, not {type(store).__name__}")
    return RunStore(store)


def _what_was_kept(store: RunStore, specs: Sequence[RunSpec]) -> str:
    distinct = set(specs)
    missing = set(store.missing(distinct, retry_failed=True))
    begun = missing.intersection(run.spec for run in store.unfinished() if run.checkpoint_step is not None)
    have = "has" if len(begun) == 1 else "have"
    checkpoints = f" and {len(begun)} {have} a checkpoint there" if begun else ""
    stored = f"{len(distinct) - len(missing)} of {len(distinct)} runs are stored in {store.path}"
    return f"{stored}{checkpoints}; the same call or the same command goes on from there"
