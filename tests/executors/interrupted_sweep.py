"""``rtinterp sweep`` at a scale of its own: two stacks of half a minute, that a test interrupts."""

from __future__ import annotations

import dataclasses
import sys

from rtinterp.cli import main
from rtinterp.papers.random_transformers import EXPERIMENTS, SCALES
from rtinterp.papers.random_transformers.scales import QUICK, TaskBudget
from rtinterp.tasks import ModularAddition
from rtinterp.training.spec import RunSpec, TrainSpec

_TRAINING = TrainSpec(6000, 2, n_warmup_steps=0, steps_per_evaluation=2000)
_BUDGET = TaskBudget(ModularAddition(p=5), (8,), _TRAINING, _TRAINING, _TRAINING)

#: Figure 7 has the random and the fully trained model of every width.
EXPERIMENT = "figure7"
ARGUMENTS = ("sweep", EXPERIMENT, "--scale", "interrupted", "--device", "cpu")


def use_scale() -> None:
    SCALES["interrupted"] = dataclasses.replace(QUICK, algorithmic=(_BUDGET,))


def specs() -> list[RunSpec]:
    return EXPERIMENTS[EXPERIMENT](SCALES["interrupted"], 1, None)


if __name__ == "__main__":
    use_scale()
    sys.exit(main([*ARGUMENTS, *sys.argv[1:]]))
