"""What is timed."""

from __future__ import annotations

import dataclasses

from rtinterp import ModelSpec, RunSpec, TrainSpec
from rtinterp.tasks import DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task

WIDTHS = (16, 128, 512, 1024)


@dataclasses.dataclass(frozen=True)
class Case:
    """A task at its paper size, a width, a batch and a number of seeds."""

    task: Task
    d_model: int
    batch_size: int
    n_seeds: int = 1

    def specs(self) -> list[RunSpec]:
        training = TrainSpec(n_steps=10_000, batch_size=self.batch_size)
        return [RunSpec(self.task, ModelSpec(self.d_model), training, seed=seed) for seed in range(self.n_seeds)]


@dataclasses.dataclass(frozen=True)
class ToAccuracy:
    """A run that is trained until its test accuracy is reached."""

    task: Task
    d_model: int
    training: TrainSpec
    accuracy: float
    steps_per_test: int

    def spec(self) -> RunSpec:
        return RunSpec(self.task, ModelSpec(self.d_model), self.training)


QUICK_CASES = (
    Case(NeedleInAHaystack(), 512, 250),
    Case(NeedleInAHaystack(), 128, 250),
    Case(DecimalAddition(), 128, 250),
    Case(ModularAddition(), 128, 500),
    *(Case(ModularAddition(), d_model, 500, n_seeds=10) for d_model in (16, 64, 128)),
)
FULL_CASES = (
    *(Case(NeedleInAHaystack(), d_model, 250) for d_model in WIDTHS),
    *(Case(ModularAddition(), d_model, 500) for d_model in WIDTHS),
    *(Case(DecimalAddition(), d_model, 250) for d_model in WIDTHS),
    *(Case(ModularAddition(), d_model, 500, n_seeds=10) for d_model in (16, 32, 64, 128, 512, 1024)),
    *(Case(NeedleInAHaystack(), d_model, 250, n_seeds=10) for d_model in (16, 128)),
    *(Case(DecimalAddition(), d_model, 250, n_seeds=10) for d_model in (16, 128)),
)
#: On a GPU alone, which is idle for much of a step of a single model, however wide: several at once.
GPU_CASES = (Case(NeedleInAHaystack(), 1024, 250, n_seeds=5),)
#: By whether they are to be quick. Ten seeds at the largest widths only where a step takes a second, not minutes.
CASES = {True: QUICK_CASES, False: FULL_CASES}

SAMPLING_CASES = tuple(
    Case(task, 128, 1000)
    for task in (NeedleInAHaystack(), DecimalAddition(), ParenthesisBalancing(), ModularAddition())
)

#: The quick preset of parentheses: the only task that the slowest contender solves in a minute on two cores.
TO_ACCURACY = ToAccuracy(
    ParenthesisBalancing(max_pairs=10),
    128,
    TrainSpec(n_steps=700, batch_size=256, learning_rate=1e-2, n_warmup_steps=50),
    accuracy=0.99,
    steps_per_test=20,
)
