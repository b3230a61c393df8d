"""Pools of workers that joblib hands stacks to: loky on this machine, Dask and Ray on this one or a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from rtinterp.executors.hand_over import train_in_process
from rtinterp.executors.task import Outcome, StackTask, outcome_from_json, to_json

#: How often a worker asks whether its sweep is still there.
SECONDS_PER_LOOK = 1.0


class WorkersLostError(RuntimeError):
    """A pool of workers broke, so that it is not known what became of its stacks."""


class MissingExtraError(ImportError):
    """An executor's package is not installed."""

    def __init__(self, executor: str) -> None:
        super().__init__(f"--executor {executor} needs a package: pip install 'rtinterp[{executor}]'")


def loky(tasks: Iterable[StackTask], n_workers: int, meanwhile: Callable[[], None] = lambda: None) -> list[Outcome]:
    """Processes of this machine, without further packages.

    Args:
        meanwhile: called in this process when the workers have begun, and after every outcome, while they go on.

    Raises:
        WorkersLostError: a worker, not only the training process in it, was killed.
    """
    from joblib.externals.loky.process_executor import BrokenProcessPool

    with _pool_errors(BrokenProcessPool):
        begin = {"initializer": _begin_worker, "initargs": (os.getpid(),)}
        return _outcomes(tasks, n_workers, "loky", meanwhile, **begin)


def dask(tasks: Iterable[StackTask], n_workers: int, address: str | None = None) -> list[Outcome]:
    """A Dask cluster of processes of this machine, or the one whose scheduler has this address.

    Raises:
        MissingExtraError: the package is not there.
        OSError: nothing answers at the address.
        WorkersLostError: the cluster gave up a stack whose workers were killed again and again.
    """
    try:
        from distributed import Client, LocalCluster
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise MissingExtraError("dask") from error
    with contextlib.ExitStack() as stack:
        scheduler: str | LocalCluster | None = address
        if scheduler is None:
            with _born_deaf_to_interrupts():
                # One thread: a worker trains one stack at a time. The workers' names are 0, 1, ...
                scheduler = LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
            stack.enter_context(scheduler)
        client = stack.enter_context(Client(scheduler, set_as_default=False))
        stack.enter_context(_pool_errors(KilledWorker, FutureCancelledError))
        # Impure: the same stack handed out again is no repetition of a result.
        return _outcomes(tasks, n_workers, "dask", client=client, pure=False)


def ray(
    tasks: Iterable[StackTask], n_workers: int, address: str | None = None, gpus_per_worker: float = 0
) -> list[Outcome]:
    """Ray on this machine, or the cluster at an address such as ``auto``; it hands out GPUs by itself.

    Raises:
        MissingExtraError: the package is not there.
        OSError: nothing answers at the address.
        WorkersLostError: a worker, not only the training process in it, was killed.
    """
    # Nothing about this machine goes to Ray's makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray as ray_package
        from ray.exceptions import RayError
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise MissingExtraError("ray") from error
    started = not ray_package.is_initialized()
    if started:
        local = {"num_cpus": n_workers, "include_dashboard": False} if address is None else {}
        ray_package.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    try:
        register_ray()
        with _pool_errors(RayError):
            return _outcomes(tasks, n_workers, "ray", ray_remote_args={"num_cpus": 1, "num_gpus": gpus_per_worker})
    finally:
        if started:
            ray_package.shutdown()


def _outcomes(
    tasks: Iterable[StackTask],
    n_workers: int,
    backend: str,
    meanwhile: Callable[[], None] | None = None,
    **options: object,
) -> list[Outcome]:
    import joblib

    calls = (joblib.delayed(_train_numbered)(number, to_json(task)) for number, task in enumerate(tasks))
    with joblib.parallel_config(backend, n_jobs=n_workers, **options):
        # One stack at a time to a worker, and only as many as are at work: the others wait for whoever is free first.
        # Ray hands over no outcome before the last one.
        # The casts: joblib has no annotations, and what a checker guesses from its defaults is too narrow.
        parallel = joblib.Parallel(
            batch_size=cast(Any, 1),
            pre_dispatch="n_jobs",
            return_as=cast(Any, "list" if meanwhile is None else "generator_unordered"),
        )
        numbered = cast("Iterable[tuple[int, str]]", parallel(calls))
        if meanwhile is not None:
            meanwhile()
        answers: dict[int, str] = {}
        for number, answer in numbered:
            answers[number] = answer
            if meanwhile is not None:
                meanwhile()
    return [outcome_from_json(answers[number]) for number in sorted(answers)]


def _train_numbered(number: int, task_json: str) -> tuple[int, str]:
    return number, train_in_process(task_json)


@contextlib.contextmanager
def _pool_errors(*kinds: type[BaseException]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        raise WorkersLostError(" ".join(str(error).split()) or type(error).__name__) from error


@contextlib.contextmanager
def _born_deaf_to_interrupts() -> Iterator[None]:
    """Processes that begin within it inherit that SIGINT is ignored: at a terminal, Ctrl-C reaches them too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _begin_worker(sweep: int) -> None:
    """Leave Ctrl-C to the sweep's process, and end with it even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(sweep,), daemon=True).start()


def _end_with(sweep: int) -> None:
    """An orphan has another parent. What it was training sees its end of input, and writes a checkpoint."""
    while os.getppid() == sweep:
        time.sleep(SECONDS_PER_LOOK)
    os._exit(1)
