"""The experiments by name: which runs each needs at a scale."""

from __future__ import annotations

from rtinterp.figures.paper import Experiment
from rtinterp.papers.random_transformers.budgets import Scale
from rtinterp.papers.random_transformers.grid import RANDOM_AND_NORMAL
from rtinterp.tasks import Corpus
from rtinterp.training.spec import RunSpec


def subspaces(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List wide random transformers of the four algorithmic tasks, then fully trained ones of the same widths."""
    return [
        run
        for trainable in RANDOM_AND_NORMAL
        for budget in scale.algorithmic
        for run in budget.runs(budget.wide, trainable, scale.seeds(n_seeds))
    ]


EXPERIMENTS: dict[str, Experiment] = {"subspaces": subspaces}
