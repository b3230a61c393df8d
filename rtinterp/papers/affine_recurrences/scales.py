"""Tasks, widths and budgets. All of them are our design: the paper's own are not public.

Rates of the smaller scales are those of a sketch with one model, steps what the scale's time allows. Nothing was
searched.
"""

from __future__ import annotations

import dataclasses

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import AffineRecurrence, PolynomialSequence
from rtinterp.tasks.sequence_task import SequenceTask
from rtinterp.training.spec import TrainSpec

N_LAYERS = 3
TASK = AffineRecurrence()
#: The paper's future work: more dimensions, and polynomials.
OTHER_TASKS: tuple[SequenceTask, ...] = (
    AffineRecurrence(dimension=2),
    AffineRecurrence(dimension=4),
    PolynomialSequence(degree=2),
)


@dataclasses.dataclass(frozen=True)
class Scale:
    """One scale.

    Attributes:
        width: of the models that are opened.
        widths: of the models that are compared by regime.
        training: of all models on the task, whatever they train.
        longer: steps that opened models train for as well, to see what more training makes of the claims.
        other_tasks: on which fully trained and random transformers are trained besides.
        briefer: steps of these.
        first_seed: the first of the seeds that are reported.
    """

    width: int
    widths: tuple[int, ...]
    training: TrainSpec
    longer: int
    briefer: int
    task: SequenceTask = TASK
    other_tasks: tuple[SequenceTask, ...] = OTHER_TASKS
    first_seed: int = 0

    def body(self, d_model: int) -> ModelSpec:
        return ModelSpec(d_model, n_layers=N_LAYERS)

    def seeds(self, n_seeds: int) -> range:
        return range(self.first_seed, self.first_seed + n_seeds)


def _training(n_steps: int, learning_rate: float) -> TrainSpec:
    return TrainSpec(n_steps, batch_size=256, learning_rate=learning_rate, n_warmup_steps=100, adam_beta2=0.98)


SCALES: dict[str, Scale] = {
    "quick": Scale(64, (16, 32, 64), _training(1000, 3e-3), longer=3000, briefer=500),
    "short": Scale(64, (16, 32, 64, 128, 256), _training(6000, 3e-3), longer=18_000, briefer=3000),
    "paper": Scale(64, (16, 32, 64, 128, 256, 512), _training(30_000, 1e-3), longer=90_000, briefer=30_000),
}
