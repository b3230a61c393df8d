"""What a training step costs by what trains, beside full training of the same block."""

from __future__ import annotations

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch

from rtinterp import ModelSpec, RunSpec, TrainSpec
from rtinterp.models.transformer.presets import llama_like
from rtinterp.papers.random_attention.regimes import REGIMES, Regime, Size
from rtinterp.tasks import DecimalAddition, KHopInduction, NeedleInAHaystack, Task
from rtinterp.training.engine import Engine

#: A turn takes at least so many steps, and as many as take so many seconds.
LEAST_STEPS, LEAST_SECONDS = 2, 1.0
FULL = "standard"

#: GPT-2's block, or one with RMSNorm and a gated MLP, which MixiT has.
Block = Literal["GPT-2's", "gated"]


@dataclasses.dataclass(frozen=True)
class RegimeCase:
    """A task, the size of the models and the batch."""

    task: Task
    size: Size
    batch_size: int

    def spec(self, block: Block, regime: Regime) -> RunSpec:
        training = TrainSpec(n_steps=10_000, batch_size=self.batch_size)
        if block == "gated" and regime.kind == "softmax":
            body: ModelSpec = llama_like(*dataclasses.astuple(self.size))
        else:
            body = regime.body(self.size, self.task)
        return RunSpec(self.task, body, training, regime.trainable)


#: The published tasks, k-hop induction at its published depth; the first alone if quick.
REGIME_CASES = (
    RegimeCase(NeedleInAHaystack(n_values=255), Size(256), 64),
    RegimeCase(KHopInduction(), Size(256, n_layers=5), 16),
    RegimeCase(DecimalAddition(), Size(256), 64),
)
CONTENDERS: dict[Block, tuple[str, ...]] = {
    "GPT-2's": (FULL, "frozen QK", "frozen MLP", "static attention", "random transformer"),
    "gated": (FULL, "frozen QK", "MixiT, code"),
}


class Seconds(NamedTuple):
    """What a step takes: by the clock, and of the processor in user mode."""

    wall: float
    user: float


def time_regimes(case: RegimeCase, n_turns: int) -> list[dict[str, object]]:
    """A row per block and regime; all take turns, and a ratio is that of two turns of one round."""
    names: list[tuple[Block, str]] = [(block, name) for block, regimes in CONTENDERS.items() for name in regimes]
    steps: dict[tuple[Block, str], Callable[[], object]] = {
        (block, name): _stepper(case.spec(block, REGIMES[name])) for block, name in names
    }
    n_steps = {one: _n_steps(step) for one, step in steps.items()}
    rounds = [{one: _seconds(step, n_steps[one]) for one, step in steps.items()} for _ in range(n_turns)]
    return [_row(case, block, name, rounds) for block, name in names]


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


def _row(
    case: RegimeCase, block: Block, name: str, rounds: list[dict[tuple[Block, str], Seconds]]
) -> dict[str, object]:
    row: dict[str, object] = {
        "task": repr(case.task),
        "d_model": case.size.d_model,
        "n_layers": case.size.n_layers,
        "batch_size": case.batch_size,
        "block": block,
        "regime": name,
    }
    for kind in Seconds._fields:
        own = [getattr(one[block, name], kind) for one in rounds]
        full = [getattr(one[block, FULL], kind) for one in rounds]
        ratios = [mine / theirs for mine, theirs in zip(own, full, strict=True)]
        row |= {
            f"{kind}_milliseconds": statistics.median(own) * 1e3,
            f"{kind}_over_full": statistics.median(ratios),
            f"{kind}_over_full_min": min(ratios),
            f"{kind}_over_full_max": max(ratios),
        }
    return row | {"n_turns": len(rounds), "n_threads": torch.get_num_threads()}
