"""Train the runs that a store lacks, here or through workers, and say what is left and what went wrong."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from rich.console import Console

from rtinterp.executors.display import SweepDisplay
from rtinterp.executors.life_sign import LifeSign
from rtinterp.executors.pools import WorkersLostError
from rtinterp.executors.task import Outcome, StackTask
from rtinterp.executors.training_process import describe
from rtinterp.executors.workers import Workers
from rtinterp.store import RunStore
from rtinterp.store.owner import this_process
from rtinterp.store.resumable import missing_stacks, train_stack_into
from rtinterp.training.environment import users_module
from rtinterp.training.interruption import Interruption
from rtinterp.training.spec import RunSpec, spec_to_json

#: Times that a stack is handed out whose pool of workers broke.
MAX_ROUNDS = 3
#: How long a stack may take to be let go by a worker that died.
SECONDS_TO_LET_GO = 150.0

Stack = Sequence[RunSpec]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What is to be trained, and within what.

    Attributes:
        deadline: when everything must have stopped, in seconds since the epoch; None for no limit.
        corpus: what ``open_corpus`` reads, for tasks on language.
        retry_failed: train again what diverged before.
    """

    store: RunStore
    specs: Sequence[RunSpec]
    device: torch.device
    deadline: float | None = None
    corpus: str | None = None
    retry_failed: bool = False


@dataclasses.dataclass(frozen=True)
class Report:
    """What came of a sweep.

    Attributes:
        n_trained: runs that are new in the store.
        left: runs that another sweep will begin or continue.
        errors: what went wrong, a line for every stack and every run.
    """

    n_trained: int
    left: list[RunSpec]
    errors: list[str]


def train(sweep: Sweep, workers: Workers, console: Console, meanwhile: Callable[[], None] = lambda: None) -> Report:
    """Train what the store lacks, in the order of the specs; an error in one stack does not stop the others.

    Args:
        meanwhile: with loky, called in this process when the workers have begun, and after every stack, while they go
            on with the next ones.

    Raises:
        KeyboardInterrupt: after SIGINT, when the workers have written their checkpoints and ended; at once after a
            second one.
        SystemExit: likewise after SIGTERM.
        ImportError: the executor's package is not installed.
        OSError: the store cannot be written, or there is no such cluster.
    """
    store = sweep.store
    wanted = store.missing(sweep.specs, retry_failed=sweep.retry_failed)
    stacks = missing_stacks(store, sweep.specs, sweep.device, retry_failed=sweep.retry_failed)
    if workers.executor == "local":
        errors = _train_here(sweep, stacks)
    elif stacks:
        with SweepDisplay(store, wanted, console):
            errors = _train_elsewhere(sweep, stacks, workers, console, meanwhile)
    else:
        errors = {}
    left = store.missing(wanted)
    failures = [failure for failure in store.failed() if failure.spec in set(wanted)]
    lines = [f"{name}: {message}" for name, message in errors.items()]
    lines += [f"{failure.run_id}: {failure.reason}" for failure in failures]
    return Report(len(wanted) - len(left) - len(failures), left, lines)


def _train_here(sweep: Sweep, stacks: Iterable[Stack]) -> dict[str, str]:
    errors = {}
    for stack in stacks:
        if sweep.deadline is not None and time.time() >= sweep.deadline:
            break
        try:
            train_stack_into(sweep.store, stack, sweep.device, deadline=sweep.deadline, retry_failed=sweep.retry_failed)
        except Exception as error:
            errors[name_of(stack)] = describe(error)
    return errors


def _train_elsewhere(
    sweep: Sweep, stacks: Sequence[Stack], workers: Workers, console: Console, meanwhile: Callable[[], None]
) -> dict[str, str]:
    """Hand out stacks until all have had their outcome; errors by name of the stack."""
    errors: dict[str, str] = {}
    todo, lost = list(stacks), ""
    # Named after its process, so that what tidies the store removes one whose sweep was killed.
    path = sweep.store.path.absolute() / f".sweep-{this_process().tag}"
    with Interruption() as interruption, LifeSign(path, lambda: interruption.requested) as life:
        tasks = _TaskMaker(sweep, workers, life)
        for n_rounds in range(MAX_ROUNDS):
            if n_rounds:
                _wait_until_let_go(sweep.store, todo)
            outcomes, lost = _hand_out(workers, tasks, todo, life, meanwhile)
            errors |= _told(zip(todo, outcomes, strict=False), console)
            todo = [stack for stack in todo if name_of(stack) not in errors and sweep.store.missing(stack)]
            if not todo or life.ended or (sweep.deadline is not None and time.time() >= sweep.deadline):
                return errors
            if lost:
                _print(console, f"workers lost ({lost}); handing out {len(todo)} stack(s) again")
    if lost:
        errors |= {name_of(stack): f"workers were lost {MAX_ROUNDS} times ({lost})" for stack in todo}
    return errors


def _told(outcomes: Iterable[tuple[Stack, Outcome]], console: Console) -> dict[str, str]:
    """The errors among outcomes; warnings are printed."""
    errors = {}
    for stack, outcome in outcomes:
        for warning in outcome.warnings:
            _print(console, f"{name_of(stack)}: {warning}")
        if outcome.ended in ("error", "killed"):
            errors[name_of(stack)] = outcome.message
    return errors


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _hand_out(
    workers: Workers, tasks: _TaskMaker, stacks: Sequence[Stack], life: LifeSign, meanwhile: Callable[[], None]
) -> tuple[list[Outcome], str]:
    """The outcomes of the first stacks or, if the pool broke, none and why."""
    wanted = itertools.takewhile(lambda _: not life.ended, (tasks.make(stack) for stack in stacks))
    try:
        return workers.hand_out(wanted, lambda: life.ended, meanwhile), ""
    except WorkersLostError as error:
        return [], str(error)


@dataclasses.dataclass(frozen=True)
class _TaskMaker:
    sweep: Sweep
    workers: Workers
    life: LifeSign

    def make(self, stack: Stack) -> StackTask:
        sweep = self.sweep
        return StackTask(
            name=name_of(stack),
            specs=tuple(spec_to_json(spec) for spec in stack),
            store=str(sweep.store.path.absolute()),
            device=str(sweep.device),
            life_sign=str(self.life.path),
            corpus=_absolute(sweep.corpus),
            deadline=sweep.deadline,
            n_threads=self.workers.n_threads,
            n_gpus=self.workers.n_gpus,
            retry_failed=sweep.retry_failed,
            command=tuple(sys.argv),
            modules=tuple(module for part in (stack[0].task, stack[0].model) if (module := users_module(part))),
        )


def _absolute(corpus: str | None) -> str | None:
    """Workers may have another working directory; the name of a data set on the hub is no path."""
    if corpus is None or not Path(corpus).expanduser().exists():
        return corpus
    return str(Path(corpus).expanduser().absolute())


def name_of(stack: Stack) -> str:
    """A stack's name, for people: the id of its first run, and how many there are."""
    return stack[0].run_id + (f" and {len(stack) - 1} more seeds" if len(stack) > 1 else "")


def _wait_until_let_go(store: RunStore, stacks: Iterable[Stack]) -> None:
    """Training processes whose worker died write a checkpoint and end."""
    run_ids = {spec.run_id for stack in stacks for spec in stack}
    end = time.monotonic() + SECONDS_TO_LET_GO
    while time.monotonic() < end and any(run_ids.intersection(one.run_ids) for one in store.in_progress()):
        time.sleep(0.2)
