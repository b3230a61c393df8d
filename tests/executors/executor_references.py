"""Small stacks, what a serial sweep makes of them, and ways to disturb the others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import torch
from rich.console import Console

from rtinterp.executors.slurm import SlurmOptions
from rtinterp.executors.sweep import Report, Sweep, train
from rtinterp.executors.workers import Executor, plan_workers
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import RunStore
from rtinterp.tasks import DecimalAddition, ModularAddition
from rtinterp.training.spec import RunSpec, TrainSpec

CPU = torch.device("cpu")
#: What must not depend on who trains; the rest of a run tells where and when it was made.
FILES = ("spec.json", "trained.safetensors", "history.csv")
EXECUTORS: tuple[Executor, ...] = ("loky", "dask", "ray", "slurm")
KILL = signal.SIGKILL


def stack(seeds: Iterable[int] = (0,), trainable: str = "embeddings", n_steps: int = 4, digits: bool = False) -> list:
    """Specs that train together."""
    task = DecimalAddition(n_digits=2) if digits else ModularAddition(p=11)
    training = TrainSpec(n_steps, 8, 1e-2, n_warmup_steps=0, steps_per_evaluation=50)
    return [RunSpec(task, ModelSpec(d_model=16), training, trainable, seed) for seed in seeds]


def swept(store: Path, specs: Iterable[RunSpec], executor: Executor, n_workers: int = 2, **options) -> Report:
    """Train specs into a store with one thread for every worker, and stay silent."""
    jobs = SlurmOptions(cluster=options.pop("cluster", "local"), folder=store.with_name("jobs"), cpus=1)
    meanwhile = options.pop("meanwhile", lambda: None)
    workers = plan_workers(
        executor,
        CPU,
        None if executor == "local" else n_workers,
        None,
        jobs,
        n_gpus=0,
        n_cores=n_workers,
        environment={},
    )
    with Path(os.devnull).open("w") as nowhere:
        return train(Sweep(RunStore(store), list(specs), CPU, **options), workers, Console(file=nowhere), meanwhile)


def contents(store: Path) -> dict[str, bytes]:
    """Every file that must be the same, by run and name."""
    return {
        f"{run_id}/{name}": (store / run_id / name).read_bytes()
        for run_id in RunStore(store).run_ids()
        for name in FILES
    }


class Killer:
    """Kills once, as soon as a stack has come so far; a context manager.

    Args:
        victim: from the id of the training process to that of the process to kill.
    """

    def __init__(self, store: Path, run_id: str, victim: Callable[[int], int], at_step: int = 0) -> None:
        self.killed: list[int] = []
        self._store, self._run_id, self._victim, self._at_step = RunStore(store), run_id, victim, at_step
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            for progress in self._store.in_progress():
                if self._run_id in progress.run_ids and progress.step >= self._at_step:
                    pid = self._victim(progress.pid)
                    os.kill(pid, KILL)
                    self.killed.append(pid)
                    return


def training_process(pid: int) -> int:
    return pid


def its_worker(pid: int) -> int:
    return psutil.Process(pid).ppid()


def training_processes() -> list[int]:
    """Of every sweep on this machine."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "rtinterp.executors.training_process" in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)
