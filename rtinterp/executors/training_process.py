"""``python -m rtinterp.executors.training_process``: train the stack that stands on stdin, answer on stdout."""

from __future__ import annotations

import importlib
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtinterp.executors.life_sign import wait_for_the_end
from rtinterp.executors.task import Outcome, StackTask, task_from_json, to_json

if TYPE_CHECKING:
    from rtinterp.training.spec import RunSpec


def main() -> None:
    # Whatever else is printed is no answer.
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    task = task_from_json(sys.stdin.readline())
    for wait in (_wait_for_end_of_input, lambda: wait_for_the_end(task.life_sign)):
        threading.Thread(target=_stop_after, args=(wait,), daemon=True).start()
    if hasattr(signal, "SIGUSR2"):
        # Slurm warns of the end of a job with it; the job's own limit of time is earlier.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    sys.argv[:] = task.command
    os.write(answer, to_json(train(task)).encode())


def train(task: StackTask) -> Outcome:
    """Train a stack into its store, or say why not."""
    end_of_job = math.inf if task.seconds is None else time.time() + task.seconds
    deadline = min(end_of_job, math.inf if task.deadline is None else task.deadline)
    if time.time() >= deadline:
        return Outcome("unfinished")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            unfinished = _train(task, None if deadline == math.inf else deadline)
    except Exception as error:
        # Whatever is wrong with this stack must not stop the others.
        return Outcome("error", describe(error))
    told = tuple(dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UserWarning)))
    if not unfinished:
        return Outcome("finished", warnings=told)
    return Outcome("paused" if deadline == end_of_job < math.inf else "unfinished", warnings=told)


def describe(error: Exception) -> str:
    """What an error says, in one line."""
    told = " ".join(str(error).split())
    return told if isinstance(error, ValueError | ArithmeticError | MemoryError) and told else repr(error)


def _train(task: StackTask, deadline: float | None) -> list[RunSpec]:
    # The slow imports: torch.
    from rtinterp.store import RunStore
    from rtinterp.store.resumable import train_stack_into
    from rtinterp.tasks import open_corpus
    from rtinterp.training.environment import resolve_device
    from rtinterp.training.spec import spec_from_json

    for module in task.modules:
        if module == "__main__":
            raise ValueError(
                "its task or body was defined in a notebook or script, which no other process can import; move it to a "
                "module, or train without an executor"
            )
        importlib.import_module(module)
    if task.corpus is not None:
        open_corpus(task.corpus)
    specs = [spec_from_json(text) for text in task.specs]
    store, device = RunStore(task.store), resolve_device(task.device)
    return train_stack_into(store, specs, device, progress=False, deadline=deadline, retry_failed=task.retry_failed)


def _stop_after(wait: Callable[[], None]) -> None:
    """Stop this process, when the wait is over, as a time limit or an operator would: a checkpoint is written first."""
    wait()
    os.kill(os.getpid(), signal.SIGTERM)


def _wait_for_end_of_input() -> None:
    """The worker that holds the other end closes it, or dies."""
    # Not sys.stdin.read, whose lock would be held when the interpreter ends.
    while os.read(sys.stdin.fileno(), 1):
        pass


if __name__ == "__main__":
    main()
