"""What a training step costs by the body, beside that of a softmax transformer of the same width."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from benchmarking.turns import columns, take_turns
from rtinterp import ModelSpec, RunSpec, TrainSpec
from rtinterp.models.body import Body
from rtinterp.models.mamba.spec import MambaSpec
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.s4d.spec import S4DSpec
from rtinterp.tasks import DecimalAddition, Task

SOFTMAX = "softmax"
BODIES: dict[str, Callable[[int], Body]] = {
    SOFTMAX: ModelSpec,
    "linear": lambda width: ModelSpec(width, attention="linear"),
    "linear_normalised": lambda width: ModelSpec(width, attention="linear_normalised"),
    "retention": lambda width: ModelSpec(width, attention="retention"),
    "gated_linear": lambda width: ModelSpec(width, attention="gated_linear"),
    "mamba": MambaSpec,
    "s4d": S4DSpec,
    "lstm": RecurrentSpec,
}
REGIMES = ("embeddings", "all")


@dataclasses.dataclass(frozen=True)
class BodyCase:
    """A task, a width and the batch."""

    task: Task
    d_model: int
    batch_size: int

    def spec(self, body: str, trainable: str) -> RunSpec:
        training = TrainSpec(n_steps=10_000, batch_size=self.batch_size)
        return RunSpec(self.task, BODIES[body](self.d_model), training, trainable)


#: The batch is that of the quick scale.
BODY_CASE = BodyCase(DecimalAddition(), 256, 128)


def time_bodies(case: BodyCase, n_turns: int) -> list[dict[str, object]]:
    """A row per body and regime; a ratio is that of two turns of one round, to softmax in the same regime."""
    names = [(body, trainable) for trainable in REGIMES for body in BODIES]
    rounds = take_turns({name: case.spec(*name) for name in names}, n_turns)
    return [
        {
            "task": repr(case.task),
            "d_model": case.d_model,
            "batch_size": case.batch_size,
            "body": body,
            "trainable": trainable,
            **columns(rounds, (body, trainable), (SOFTMAX, trainable), "softmax"),
        }
        for body, trainable in names
    ]
