"""Slurm through submitit: every stack is a job."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rtinterp.executors.hand_over import train_in_process
from rtinterp.executors.pools import MissingExtraError
from rtinterp.executors.task import Outcome, StackTask, outcome_from_json, to_json

if TYPE_CHECKING:
    import submitit

SECONDS_PER_LOOK = 1.0
#: Times that a job is submitted again after it died.
MAX_DEATHS = 2
#: Jobs in which a stack is trained piece by piece; so many are the sign of jobs too short to get anywhere.
MAX_JOBS = 100
#: Of a job's time, what is left for its start, the last checkpoint and its end.
RESERVE = 0.1


@dataclasses.dataclass(frozen=True)
class SlurmOptions:
    """What every job asks for.

    Attributes:
        partition: the cluster's default if not given.
        job_minutes: a job's limit of time; a stack that takes longer goes on in another job, from its checkpoint.
        gpus: per job.
        cpus: per job; also the threads that it trains with.
        memory_gb: per job; the partition's default if not given.
        account: the cluster's default if not given.
        folder: for scripts, logs and what submitit pickles; on a file system that the nodes see, and not in the store.
        cluster: slurm; local runs the jobs as processes here, and debug in this one, to try things out.
    """

    partition: str | None = None
    job_minutes: int = 240
    gpus: int = 0
    cpus: int = 4
    memory_gb: float | None = None
    account: str | None = None
    folder: Path = Path("slurm-jobs")
    cluster: Literal["slurm", "local", "debug"] = "slurm"


def slurm(
    tasks: Iterable[StackTask], n_workers: int, options: SlurmOptions, stopped: Callable[[], bool] = lambda: False
) -> list[Outcome]:
    """Submit jobs, ``n_workers`` at a time, until every stack had its outcome.

    Args:
        stopped: whether the sweep was; jobs that have not begun are cancelled then, the others end by themselves.

    Raises:
        MissingExtraError: the package is not there.
        OSError: there is no Slurm here.
    """
    try:
        import submitit
    except ImportError as error:
        raise MissingExtraError("slurm") from error
    jobs = _Jobs(_executor(submitit, options), list(tasks), options, submitit)
    try:
        while jobs.waiting or jobs.running:
            if stopped():
                jobs.drop_waiting()
            jobs.submit(n_workers)
            jobs.collect()
            time.sleep(SECONDS_PER_LOOK)
    finally:
        jobs.cancel()
    return [jobs.outcomes[index] for index in range(len(jobs.tasks))]


def _executor(submitit, options: SlurmOptions) -> submitit.AutoExecutor:
    try:
        executor = submitit.AutoExecutor(folder=options.folder, cluster=options.cluster)
    except RuntimeError as error:
        raise OSError(f"--executor slurm: there is no Slurm here, to judge by its commands ({error})") from error
    specific = {"partition": options.partition, "account": options.account}
    executor.update_parameters(
        name="rtinterp",
        timeout_min=options.job_minutes,
        cpus_per_task=options.cpus,
        gpus_per_node=options.gpus or None,
        mem_gb=options.memory_gb,
        **{f"slurm_{name}": value for name, value in specific.items()},
    )
    return executor


class _Jobs:
    """Which stacks wait, which are with Slurm, and what became of the others."""

    def __init__(self, executor, tasks: list[StackTask], options: SlurmOptions, submitit) -> None:
        self.tasks = [dataclasses.replace(task, seconds=60 * options.job_minutes * (1 - RESERVE)) for task in tasks]
        self.waiting = collections.deque(range(len(tasks)))
        self.running: dict[int, submitit.Job] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._deaths: collections.Counter[int] = collections.Counter()
        self._n_pauses: collections.Counter[int] = collections.Counter()
        self._executor, self._died = (
            executor,
            (submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError),
        )

    def submit(self, n_workers: int) -> None:
        while self.waiting and len(self.running) < n_workers:
            index = self.waiting.popleft()
            self.running[index] = self._executor.submit(train_in_process, to_json(self.tasks[index]))

    def collect(self) -> None:
        for index, job in list(self.running.items()):
            if job.done():
                del self.running[index]
                self._take(index, job)

    def _take(self, index: int, job: submitit.Job) -> None:
        try:
            outcome = outcome_from_json(job.result())
            self._n_pauses[index] += outcome.ended == "paused"
            if outcome.ended == "paused" and self._n_pauses[index] < MAX_JOBS:
                self.waiting.appendleft(index)
            else:
                self.outcomes[index] = outcome
        except self._died as error:
            self._deaths[index] += 1
            if self._deaths[index] <= MAX_DEATHS:
                self.waiting.append(index)
            else:
                how = " ".join(str(error).split())
                self.outcomes[index] = Outcome("killed", f"its job died {self._deaths[index]} times, at last: {how}")

    def drop_waiting(self) -> None:
        """What has not begun does not begin."""
        for index, job in list(self.running.items()):
            if job.state == "PENDING":
                job.cancel()
                del self.running[index]
                self.waiting.append(index)
        self.outcomes.update((index, Outcome("stopped")) for index in self.waiting)
        self.waiting.clear()

    def cancel(self) -> None:
        """Leave no job behind, however this ends."""
        for job in self.running.values():
            job.cancel(check=False)
