"""Pools of workers that joblib hands work to: loky on this machine, Dask and Ray on this one or a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar, cast

from rtinterp.executors.hand_over import train_in_process
from rtinterp.executors.task import Outcome, StackTask, outcome_from_json, to_json

Answer = TypeVar("Answer")

#: What joblib calls it.
AS_THEY_COME = "generator_unordered"

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
        return _outcomes(tasks, n_workers, "loky", meanwhile, **_beginning())


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


def in_processes(
    function: Callable[[str], Answer], arguments: Iterable[str], n_workers: int
) -> Generator[tuple[int, Answer], None, None]:
    """Call a function in processes of this machine that have one thread each and stay from one call to the next.

    Args:
        function: of a module that any process can import.
        arguments: taken one by one, whenever a process is free.

    Yields:
        the number of an argument and the answer to it, whichever is there first.

    Raises:
        WorkersLostError: a process was killed.
        Exception: whatever the function raises; then, and where the answers are closed early, the processes end.
    """
    from joblib.externals.loky.process_executor import BrokenProcessPool

    with _pool_errors(BrokenProcessPool):
        answers = _answers(
            function, arguments, n_workers, "loky", AS_THEY_COME, inner_max_num_threads=1, **_beginning()
        )
        try:
            for number, answer in answers:  # noqa: UP028 (which would close them itself)
                yield number, answer
        finally:
            with warnings.catch_warnings():
                # Whoever closes it knows that answers are lost, of which joblib warns.
                warnings.simplefilter("ignore")
                answers.close()


def _outcomes(
    tasks: Iterable[StackTask],
    n_workers: int,
    backend: str,
    meanwhile: Callable[[], None] | None = None,
    **options: object,
) -> list[Outcome]:
    # Ray hands over no outcome before the last one.
    order = "list" if meanwhile is None else AS_THEY_COME
    numbered = _answers(train_in_process, map(to_json, tasks), n_workers, backend, order, **options)
    if meanwhile is not None:
        meanwhile()
    answers: dict[int, str] = {}
    for number, answer in numbered:
        answers[number] = answer
        if meanwhile is not None:
            meanwhile()
    return [outcome_from_json(answers[number]) for number in sorted(answers)]


def _answers(
    function: Callable[[str], Answer],
    arguments: Iterable[str],
    n_workers: int,
    backend: str,
    order: str,
    **options: object,
) -> Generator[tuple[int, Answer], None, None]:
    """Begin to call the function on every argument; its answers, with the numbers of their arguments.

    Args:
        order: in which the answers come: ``return_as`` of joblib; ``"list"`` gives a list.
    """
    import joblib

    calls = (joblib.delayed(_numbered)(function, number, argument) for number, argument in enumerate(arguments))
    with joblib.parallel_config(backend, n_jobs=n_workers, **options):
        # One argument at a time to a worker, and only as many as are at work: the others wait for whoever is free
        # first. The casts: joblib has no annotations, and what a checker guesses from its defaults is too narrow.
        parallel = joblib.Parallel(batch_size=cast(Any, 1), pre_dispatch="n_jobs", return_as=cast(Any, order))
        return cast("Generator[tuple[int, Answer], None, None]", parallel(calls))


def _numbered(function: Callable[[str], Answer], number: int, argument: str) -> tuple[int, Answer]:
    return number, function(argument)


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


def _beginning() -> dict[str, object]:
    """How a worker of loky begins."""
    return {"initializer": _begin_worker, "initargs": (os.getpid(),)}


def _begin_worker(sweep: int) -> None:
    """Leave Ctrl-C to the sweep's process, and end with it even if it is killed."""
    from joblib.externals.loky import process_executor

    # A worker that has grown by 300 MB counts as leaking: loky ends it and warns, and where warnings are errors, the
    # pool hangs. What a large table takes is no leak.
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize  # pyright: ignore[reportPrivateUsage]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(sweep,), daemon=True).start()


def _end_with(sweep: int) -> None:
    """An orphan has another parent. What it was training sees its end of input, and writes a checkpoint."""
    while os.getppid() == sweep:
        time.sleep(SECONDS_PER_LOOK)
    os._exit(1)
