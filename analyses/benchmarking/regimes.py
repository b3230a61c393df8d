"""What a training step costs by what trains, beside full training of the same block."""

from __future__ import annotations

import dataclasses
from typing import Literal

from benchmarking.turns import columns, take_turns
from rtinterp import ModelSpec, RunSpec, TrainSpec
from rtinterp.models.transformer.presets import llama_like
from rtinterp.papers.random_attention.regimes import REGIMES, Regime, Size
from rtinterp.tasks import DecimalAddition, KHopInduction, NeedleInAHaystack, Task

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


def time_regimes(case: RegimeCase, n_turns: int) -> list[dict[str, object]]:
    """A row per block and regime; all take turns, and a ratio is that of two turns of one round."""
    names: list[tuple[Block, str]] = [(block, name) for block, regimes in CONTENDERS.items() for name in regimes]
    rounds = take_turns({(block, name): case.spec(block, REGIMES[name]) for block, name in names}, n_turns)
    return [
        {
            "task": repr(case.task),
            "d_model": case.size.d_model,
            "n_layers": case.size.n_layers,
            "batch_size": case.batch_size,
            "block": block,
            "regime": name,
            **columns(rounds, (block, name), (block, FULL), "full"),
        }
        for block, name in names
    ]
