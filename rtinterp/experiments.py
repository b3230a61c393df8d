"""The experiments as data: which tasks, widths and budgets make up each scale."""

from __future__ import annotations

import dataclasses

from rtinterp.models.regimes import Trainable
from rtinterp.models.spec import ModelSpec
from rtinterp.tasks import DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.spec import RunSpec, TrainSpec


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A task at a size, with the budgets that its models get at every width.

    Attributes:
        widths: values of d_model, ascending; the first is the tables' narrow model, the last their wide one.
        random: budget of models of which only a part trains.
        normal: budget of fully trained models.
    """

    task: Task
    widths: tuple[int, ...]
    random: TrainSpec
    normal: TrainSpec

    @property
    def narrow(self) -> int:
        return self.widths[0]

    @property
    def wide(self) -> int:
        return self.widths[-1]

    def runs(self, d_model: int, trainable: Trainable, n_seeds: int) -> list[RunSpec]:
        """Runs of seeds 0, 1, ..., which train in one stack."""
        training = self.normal if trainable == "all" else self.random
        return [RunSpec(self.task, ModelSpec(d_model), training, trainable, seed) for seed in range(n_seeds)]


#: Sizes and budgets found by search for two CPU cores: embeddings-only training passes 99 % within two minutes a task.
#: Fully trained models need fewer steps, each of which costs more.
QUICK = (
    Experiment(
        ModularAddition(p=113),
        (16, 64, 128, 512),
        random=TrainSpec(n_steps=800, batch_size=500, learning_rate=5e-3, n_warmup_steps=50),
        normal=TrainSpec(n_steps=400, batch_size=500, n_warmup_steps=50),
    ),
    Experiment(
        NeedleInAHaystack(max_pairs=4, n_values=16),
        (16, 64, 128, 256),
        random=TrainSpec(n_steps=1000, batch_size=512, learning_rate=1e-2, n_warmup_steps=50),
        normal=TrainSpec(n_steps=300, batch_size=512, n_warmup_steps=50),
    ),
    Experiment(
        DecimalAddition(n_digits=2),
        (16, 64, 128, 256),
        random=TrainSpec(n_steps=500, batch_size=256, learning_rate=5e-3, n_warmup_steps=50),
        normal=TrainSpec(n_steps=250, batch_size=256, n_warmup_steps=50),
    ),
    Experiment(
        ParenthesisBalancing(max_pairs=10),
        (4, 16, 64, 128),
        random=TrainSpec(n_steps=700, batch_size=256, learning_rate=1e-2, n_warmup_steps=50),
        normal=TrainSpec(n_steps=250, batch_size=256, n_warmup_steps=50),
    ),
)

PAPER_WIDTHS = (16, 32, 64, 128, 256, 512, 1024)

MODULAR_ADDITION_BUDGET = TrainSpec(n_steps=50_000, batch_size=4000)
STREAM_BUDGET = TrainSpec(n_steps=10_000, batch_size=1000)

#: Sizes and budgets of the official code (paper section 3); a GPU and days.
PAPER = (
    Experiment(ModularAddition(), PAPER_WIDTHS, random=MODULAR_ADDITION_BUDGET, normal=MODULAR_ADDITION_BUDGET),
    *(
        Experiment(task, PAPER_WIDTHS, random=STREAM_BUDGET, normal=STREAM_BUDGET)
        for task in (NeedleInAHaystack(), DecimalAddition(), ParenthesisBalancing())
    ),
)

SCALES: dict[str, tuple[Experiment, ...]] = {"quick": QUICK, "paper": PAPER}


def experiment_of(scale: str, task_type: type[Task]) -> Experiment:
    """The scale's experiment on that kind of task."""
    return next(experiment for experiment in SCALES[scale] if isinstance(experiment.task, task_type))
