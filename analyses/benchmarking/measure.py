"""Paired timings: contenders in processes of their own take turns, A B A B ..., so that drift hits both alike."""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import statistics
import sys
import time
from multiprocessing.connection import Connection

import torch

from rtinterp.training.engine import Engine
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream

MIN_SECONDS_PER_TURN = 0.5
KIB, MIB = 2**10, 2**20


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds per training step of all seeds, one number per turn, and the process's peak memory."""

    seconds_per_step: list[float]
    peak_memory_mib: float

    @property
    def median(self) -> float:
        return statistics.median(self.seconds_per_step)


def race(specs: list[RunSpec], contenders: list[str], device: str, n_turns: int) -> dict[str, Timing]:
    """Time the contenders in turn, ``n_turns`` turns each after a warm-up."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for name in contenders:
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=_work, args=(theirs, name, specs, device), daemon=True))
        processes[-1].start()
    try:
        steps_per_turn = {name: _ask(pipe, "warm up") for name, pipe in pipes.items()}
        turns: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(n_turns):
            for name, pipe in pipes.items():
                turns[name].append(_ask(pipe, steps_per_turn[name]))
        return {name: Timing(turns[name], _ask(pipe, "memory")) for name, pipe in pipes.items()}
    finally:
        for process in processes:
            process.terminate()


def _ask(pipe: Connection, what: object) -> float:
    pipe.send(what)
    return pipe.recv()


def _work(pipe: Connection, name: str, specs: list[RunSpec], device: str) -> None:
    """A contender's process: answers each request with a number."""
    from benchmarking.contenders import CONTENDERS

    contender = CONTENDERS[name](specs, torch.device(device))
    while True:
        request = pipe.recv()
        if request == "warm up":
            contender.step()
            pipe.send(max(1, round(MIN_SECONDS_PER_TURN / _seconds(contender.step, 1))))
        elif request == "memory":
            pipe.send(peak_memory_mib(device))
        else:
            pipe.send(_seconds(contender.step, int(request)))


def _seconds(step, n_steps: int) -> float:
    """Seconds per call; every contender's step ends by reading its loss, which waits for the device."""
    start = time.perf_counter()
    for _ in range(n_steps):
        step()
    return (time.perf_counter() - start) / n_steps


def peak_memory_mib(device: str) -> float:
    """Of the device's allocations on CUDA, of the whole process on a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / MIB
    unit = 1 if sys.platform == "darwin" else KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def matmul_peak_flops(device: str, size: int = 2048, n_rounds: int = 5) -> float:
    """Best floating-point operations per second of a square float32 product: what the device reaches at best."""
    a = torch.ones(size, size, device=device)
    times = [_seconds(lambda: (a @ a)[0, 0].item(), 1) for _ in range(n_rounds + 1)]
    return 2 * size**3 / min(times[1:])


def sampling_share(spec: RunSpec, n_steps: int = 20) -> float:
    """Share of a training step that is spent drawing its sequences."""
    device = torch.device("cpu")
    engine = Engine([spec], device)
    stream = TrainingStream(spec.task, spec.training.batch_size, spec.seed, device)
    engine.step(), stream.next_batch()
    return _seconds(stream.next_batch, n_steps) / _seconds(engine.step, n_steps)
