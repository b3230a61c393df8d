"""A worker trains one stack in a process of its own, and tries again if that is killed.

A process of its own has a main thread that receives signals, memory that ends with it, and its number of threads and
its GPU from the start; and if it is killed, neither the worker nor the pool of workers is. No torch here.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO

from rtinterp.executors.life_sign import is_alive
from rtinterp.executors.task import Outcome, StackTask, outcome_from_json, task_from_json, to_json

MAX_TRIES = 3
TRAINING_PROCESS = "rtinterp.executors.training_process"
#: Read by torch, MKL and OpenBLAS when they load.
THREADS_VARIABLE = "OMP_NUM_THREADS"
GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"


def train_in_process(task_json: str) -> str:
    """Train a stack; from a ``StackTask`` to an ``Outcome``, both in JSON."""
    task = task_from_json(task_json)
    return to_json(_train(task, task_json))


def _train(task: StackTask, task_json: str) -> Outcome:
    how = ""
    for _ in range(MAX_TRIES):
        if not is_alive(task.life_sign):
            return Outcome("stopped")
        status, answer, complaints = _run(task_json, environment_of(task, os.environ))
        if status == 0 and answer:
            return outcome_from_json(answer)
        how = _describe(status, complaints)
    if not is_alive(task.life_sign):
        return Outcome("stopped")
    return Outcome("killed", f"its process ended {MAX_TRIES} times before it was done, at last with {how}")


def _run(task_json: str, environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Exit status, answer and what it complained of."""
    command = [sys.executable, "-m", TRAINING_PROCESS]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        # A session of its own: a Ctrl-C at the terminal goes to the sweep, which then stops its workers once.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=environment,
            start_new_session=True,
            text=True,
        )
        assert process.stdin is not None  # pipes, as asked for
        assert process.stdout is not None
        try:
            answer = _converse(process.stdin, process.stdout, task_json)
        finally:
            # Open until here: the process stops when this end is closed, which it also is if this worker is killed.
            process.stdin.close()
            process.stdout.close()
            process.wait()
        complaints.seek(0)
        return process.returncode, answer, complaints.read()


def _converse(to_process: IO[str], from_process: IO[str], task_json: str) -> str:
    try:
        to_process.write(task_json + "\n")
        to_process.flush()
    except BrokenPipeError:
        return ""
    return from_process.read().strip()


def _describe(status: int, complaints: str) -> str:
    lines = complaints.strip().splitlines()
    said = f": {lines[-1].strip()}" if lines else ""
    if status < 0:
        return f"signal {-status} ({signal.Signals(-status).name}){said}"
    return f"exit status {status}{said}"


def environment_of(task: StackTask, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a training process: its number of threads, and the one GPU that it sees."""
    changed = dict(environment)
    if task.n_threads is not None:
        changed[THREADS_VARIABLE] = str(task.n_threads)
    if task.n_gpus:
        worker = task.worker if task.worker is not None else worker_number()
        visible = [gpu for gpu in environment.get(GPUS_VARIABLE, "").split(",") if gpu]
        gpus = visible or [str(gpu) for gpu in range(task.n_gpus)]
        changed[GPUS_VARIABLE] = gpus[worker % len(gpus)]
    return changed


def worker_number() -> int:
    """The number of this worker among those of its pool: consecutive, from any start."""
    if "distributed" in sys.modules:
        import distributed

        try:
            return int(distributed.get_worker().name)
        except ValueError:  # not in a worker, or in one whose name is its address
            pass
    name = multiprocessing.current_process().name  # LokyProcess-3
    number = re.search(r"(\d+)$", name)
    return int(number[1]) - 1 if number else 0
