"""Training steps that take turns: what each takes, and over another one of the same round."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch

from rtinterp import RunSpec
from rtinterp.training.engine import Engine

#: A turn takes at least so many steps, and as many as take so many seconds.
LEAST_STEPS, LEAST_SECONDS = 2, 1.0

Name = TypeVar("Name", bound=Hashable)


class Seconds(NamedTuple):
    """What a step takes: by the clock, and of the processor in user mode."""

    wall: float
    user: float


def take_turns(specs: Mapping[Name, RunSpec], n_turns: int) -> list[dict[Name, Seconds]]:
    """Time a step of each on the CPU, in rounds in which each has its turn."""
    steps = {name: _stepper(spec) for name, spec in specs.items()}
    n_steps = {name: _n_steps(step) for name, step in steps.items()}
    return [{name: _seconds(step, n_steps[name]) for name, step in steps.items()} for _ in range(n_turns)]


def columns(rounds: Sequence[Mapping[Name, Seconds]], name: Name, other: Name, told: str) -> dict[str, object]:
    """Make the columns of one of them: medians, and ratios to the other one.

    Args:
        told: what the other one is called in the columns.
    """
    row: dict[str, object] = {}
    for kind in Seconds._fields:
        own = [getattr(one[name], kind) for one in rounds]
        ratios = [mine / getattr(one[other], kind) for mine, one in zip(own, rounds, strict=True)]
        row |= {
            f"{kind}_milliseconds": statistics.median(own) * 1e3,
            f"{kind}_over_{told}": statistics.median(ratios),
            f"{kind}_over_{told}_min": min(ratios),
            f"{kind}_over_{told}_max": max(ratios),
        }
    return row | {"n_turns": len(rounds), "n_threads": torch.get_num_threads()}


def _stepper(spec: RunSpec) -> Callable[[], object]:
    engine = Engine([spec], torch.device("cpu"))
    return lambda: engine.step().tolist()


def _n_steps(step: Callable[[], object]) -> int:
    """Warm up, and count the steps of a turn."""
    _seconds(step, LEAST_STEPS)
    return max(LEAST_STEPS, round(LEAST_SECONDS / _seconds(step, LEAST_STEPS).wall))


def _seconds(step: Callable[[], object], n_steps: int) -> Seconds:
    start, used = time.perf_counter(), _user_seconds()
    for _ in range(n_steps):
        step()
    return Seconds((time.perf_counter() - start) / n_steps, (_user_seconds() - used) / n_steps)


def _user_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime
