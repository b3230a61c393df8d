"""Paired timings: contenders in processes of their own take turns, A B A B ..., so that drift hits both alike."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmarking.contenders import CONTENDERS, Contender
from rtinterp.training.engine import Engine
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream, batches_per_block

MIN_SECONDS_PER_TURN = 0.5
SECONDS_BETWEEN_TURNS = 0.3
BLOCKS_TO_SAMPLE = 5
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
    """Time a step of the contenders in turn, ``n_turns`` turns each after a warm-up.

    Of a contender that trains one model after the other, one is timed, and its time multiplied by their number.
    """
    with _started(specs, contenders, device) as ask:
        steps_per_turn = {name: ask(name, "warm up") for name in contenders}
        turns: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(n_turns):
            for name in contenders:
                n_passes = len(specs) if CONTENDERS[name].one_at_a_time else 1
                turns[name].append(n_passes * ask(name, ("steps", steps_per_turn[name])))
        return {name: Timing(turns[name], ask(name, "memory")) for name in contenders}


def race_to_accuracy(
    spec: RunSpec, contenders: list[str], device: str, n_turns: int, accuracy: float, n_steps: int
) -> dict[str, list[float]]:
    """Seconds of training, tests not counted, until the test accuracy is reached; a seed per turn.

    The accuracy is measured every ``n_steps``; a contender that has not got there when its training ends counts as
    never: infinite.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for seed in range(n_turns):
        for name in contenders:
            with _started([spec.with_seed(seed)], [name], device) as ask:
                seconds[name].append(ask(name, ("accuracy", accuracy, n_steps, spec.training.n_steps)))
    return seconds


@contextlib.contextmanager
def _started(specs: list[RunSpec], contenders: list[str], device: str) -> Iterator[Callable[[str, object], float]]:
    """Each contender in a process of its own; gives what asks one of them, by name, for a number."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for name in contenders:
        pipes[name], theirs = context.Pipe()
        given = specs[:1] if CONTENDERS[name].one_at_a_time else specs
        args = (theirs, name, given, device, torch.get_num_threads())
        processes.append(context.Process(target=_work, args=args, daemon=True))
        processes[-1].start()
        theirs.close()  # so that the pipe ends with the process
    try:
        yield lambda name, what: _ask(name, pipes[name], what)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _ask(name: str, pipe: Connection, what: object) -> float:
    try:
        pipe.send(what)
        return pipe.recv()
    except (EOFError, ConnectionError) as error:
        raise RuntimeError(
            f"the process of contender {name!r} ended early; if it wrote no error, memory ran out"
        ) from error


def _work(pipe: Connection, name: str, specs: list[RunSpec], device: str, n_threads: int) -> None:
    """A contender's process: answers each request with a number."""
    torch.set_num_threads(n_threads)
    contender = CONTENDERS[name].start(specs, torch.device(device))
    while True:
        match pipe.recv():
            case "warm up":
                contender.step()
                pipe.send(max(1, round(MIN_SECONDS_PER_TURN / _seconds(contender.step, 1))))
            case "memory":
                pipe.send(peak_memory_mib(device))
            case ("steps", n_steps):
                # Threads of the contender before spin for a while, and an idle process must get its memory back.
                time.sleep(SECONDS_BETWEEN_TURNS)
                contender.step()
                pipe.send(_seconds(contender.step, n_steps) / n_steps)
            case ("accuracy", accuracy, n_steps, n_steps_at_most):
                pipe.send(_seconds_to_accuracy(contender, accuracy, n_steps, n_steps_at_most))


def _seconds(step: Callable[[], object], n_steps: int) -> float:
    """Seconds of some calls; every contender's step ends by reading its loss, which waits for the device."""
    start = time.perf_counter()
    for _ in range(n_steps):
        step()
    return time.perf_counter() - start


def _seconds_to_accuracy(contender: Contender, accuracy: float, n_steps: int, n_steps_at_most: int) -> float:
    seconds = 0.0
    for n_done in range(0, n_steps_at_most, n_steps):
        seconds += _seconds(contender.step, min(n_steps, n_steps_at_most - n_done))
        if contender.test_accuracy() >= accuracy:
            return seconds
    return math.inf


def peak_memory_mib(device: str) -> float:
    """Of the device's allocations on CUDA, of the whole process on a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / MIB
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * KIB / MIB
    # On Linux, getrusage would count what the parent held when it started this process, too.
    unit = 1 if sys.platform == "darwin" else KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def sampling_share(spec: RunSpec) -> float:
    """Share of a training step that is spent drawing its sequences, over whole blocks of the stream."""
    device, batch_size = torch.device("cpu"), spec.training.batch_size
    n_steps = BLOCKS_TO_SAMPLE * batches_per_block(batch_size, device)
    engine = Engine([spec], device)
    stream = TrainingStream(spec.task, batch_size, spec.seed, device)
    engine.step()
    stream.next_batch()
    return _seconds(stream.next_batch, n_steps) / _seconds(engine.step, n_steps)
