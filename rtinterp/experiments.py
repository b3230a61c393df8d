"""The experiments as data: which tasks, widths and budgets make up each scale."""

from __future__ import annotations

import dataclasses

from rtinterp.models.regimes import Trainable
from rtinterp.models.spec import ModelSpec
from rtinterp.tasks import DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.spec import RunSpec, TrainSpec


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A task at a size, with the budget every model of it gets.

    Attributes:
        widths: values of d_model, ascending; the first is the tables' narrow model, the last their wide one.
    """

    task: Task
    widths: tuple[int, ...]
    training: TrainSpec

    @property
    def narrow(self) -> int:
        return self.widths[0]

    @property
    def wide(self) -> int:
        return self.widths[-1]

    def runs(self, d_model: int, trainable: Trainable, n_seeds: int) -> list[RunSpec]:
        """Runs of seeds 0, 1, ..., which train in one stack."""
        return [RunSpec(self.task, ModelSpec(d_model), self.training, trainable, seed) for seed in range(n_seeds)]


#: Sizes found by search for two CPU cores: embeddings-only training passes 99 % within about two minutes a task.
QUICK = (
    Experiment(
        ModularAddition(p=113),
        (16, 64, 128, 512),
        TrainSpec(n_steps=700, batch_size=500, learning_rate=5e-3, n_warmup_steps=50),
    ),
    Experiment(
        NeedleInAHaystack(max_pairs=4, n_values=16),
        (16, 64, 128, 256),
        TrainSpec(n_steps=800, batch_size=512, learning_rate=5e-3, n_warmup_steps=50),
    ),
    Experiment(
        DecimalAddition(n_digits=3),
        (16, 64, 128, 256),
        TrainSpec(n_steps=800, batch_size=256, learning_rate=5e-3, n_warmup_steps=50),
    ),
    Experiment(
        ParenthesisBalancing(max_pairs=8),
        (4, 16, 64, 128),
        TrainSpec(n_steps=400, batch_size=256, learning_rate=5e-3, n_warmup_steps=50),
    ),
)

PAPER_WIDTHS = (16, 32, 64, 128, 256, 512, 1024)

#: Sizes and budgets of the official code (paper section 3); a GPU and days.
PAPER = (
    Experiment(ModularAddition(), PAPER_WIDTHS, TrainSpec(n_steps=50_000, batch_size=4000)),
    Experiment(NeedleInAHaystack(), PAPER_WIDTHS, TrainSpec(n_steps=10_000, batch_size=1000)),
    Experiment(DecimalAddition(), PAPER_WIDTHS, TrainSpec(n_steps=10_000, batch_size=1000)),
    Experiment(ParenthesisBalancing(), PAPER_WIDTHS, TrainSpec(n_steps=10_000, batch_size=1000)),
)

SCALES: dict[str, tuple[Experiment, ...]] = {"quick": QUICK, "paper": PAPER}


def experiment_of(scale: str, task_type: type[Task]) -> Experiment:
    """The scale's experiment on that kind of task."""
    return next(experiment for experiment in SCALES[scale] if isinstance(experiment.task, task_type))
