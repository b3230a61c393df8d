"""Which executor trains, with how many workers, threads and GPUs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch

from rtinterp.executors import pools
from rtinterp.executors.hand_over import THREADS_VARIABLE
from rtinterp.executors.slurm import SlurmOptions, slurm
from rtinterp.executors.task import Outcome, StackTask

Executor = Literal["local", "loky", "dask", "ray", "slurm"]


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who trains.

    Attributes:
        n_workers: stacks in training at a time.
        n_threads: of a training process; None where the worker's environment says.
        n_gpus: GPUs of this machine that workers take in turn; 0 where there are none or the executor assigns them.
        gpus_per_worker: what an executor that assigns GPUs is asked for; may be a fraction.
        address: of a Dask or Ray cluster; None for this machine.
    """

    executor: Executor
    n_workers: int = 1
    n_threads: int | None = None
    n_gpus: int = 0
    gpus_per_worker: float = 0
    address: str | None = None
    slurm: SlurmOptions = dataclasses.field(default_factory=SlurmOptions)

    def hand_out(
        self, tasks: Iterable[StackTask], stopped: Callable[[], bool], meanwhile: Callable[[], None]
    ) -> list[Outcome]:
        """Train every task's stack; the outcomes in their order. Raises what the executors raise.

        Args:
            meanwhile: called by loky when the workers have begun and after every outcome, and not by the others.
        """
        if self.executor == "loky":
            return pools.loky(tasks, self.n_workers, meanwhile)
        if self.executor == "dask":
            return pools.dask(tasks, self.n_workers, self.address)
        if self.executor == "ray":
            return pools.ray(tasks, self.n_workers, self.address, self.gpus_per_worker)
        return slurm(tasks, self.n_workers, self.slurm, stopped)


def plan_workers(
    executor: Executor,
    device: torch.device,
    n_workers: int | None,
    address: str | None,
    slurm: SlurmOptions,
    *,
    n_gpus: int,
    n_cores: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Workers:
    """Divide this machine, or say what each worker of a cluster gets.

    Workers of this machine share its cores evenly, unless OMP_NUM_THREADS says how many threads each has. GPUs are
    taken in turn: worker i gets GPU i mod the number of GPUs. On Slurm a job has the cores and GPUs that it asks for;
    on a Dask or Ray cluster, a worker has what its environment gives.

    Args:
        n_workers: None for one per GPU, or per core without one.
        n_gpus: of this machine.
        n_cores: of this machine; those that this process may use if None.

    Raises:
        ValueError: the options do not go together.
    """
    _check(executor, n_workers, address)
    if executor == "local":
        return Workers(executor)
    on_gpu, here = device.type == "cuda", executor != "slurm" and address is None
    n_cores = n_cores or _usable_cores()
    n = n_workers or (n_gpus if on_gpu else n_cores)
    n_threads = slurm.cpus if executor == "slurm" else max(1, n_cores // n) if here else None
    return Workers(
        executor,
        n,
        n_threads=None if THREADS_VARIABLE in environment else n_threads,
        # A device with a number is one that all share.
        n_gpus=n_gpus if here and on_gpu and device.index is None and executor != "ray" else 0,
        # Ray counts hundredths of a GPU.
        gpus_per_worker=(min(1.0, 100 * n_gpus // n / 100) if here else 1.0) if on_gpu else 0.0,
        address=address,
        slurm=slurm,
    )


def _check(executor: Executor, n_workers: int | None, address: str | None) -> None:
    if n_workers is not None and n_workers < 1:
        raise ValueError(f"--workers {n_workers}: at least 1 is needed")
    if executor == "local" and n_workers not in (None, 1):
        raise ValueError(f"--workers {n_workers}: the local executor is this process alone; add --executor loky")
    if address is not None and executor not in ("dask", "ray"):
        raise ValueError(f"--scheduler {address}: it belongs to --executor dask or ray, not {executor}")
    if n_workers is None and (executor == "slurm" or address is not None):
        raise ValueError(f"--executor {executor}: say with --workers N how many stacks to train at a time")


def _usable_cores() -> int:
    import joblib

    return joblib.cpu_count()
