"""Runs of which the trained tensors are kept at many steps, to see what comes about when.

The same models elsewhere keep nothing, and how a run is watched is no part of its spec; so these differ from those in
width or in steps, lest a stored run that kept nothing stand in for one of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers.budgets import Scale, TaskBudget
from rtinterp.tasks import Corpus, ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.spec import RunSpec

#: Of the steps that a phase of training keeps, evenly on a log scale.
STEPS_PER_OCTAVE, N_OCTAVES = 3, 3
N_OCTAVES_OF_FREQUENCIES = 4

RELEASED_TASKS: tuple[type[Task], ...] = (NeedleInAHaystack, ParenthesisBalancing)


def spread(n_steps: int, n_octaves: int = N_OCTAVES) -> tuple[int, ...]:
    """List steps up to ``n_steps``, rising by the same factor, over the last octaves."""
    steps = (round(n_steps * 2 ** (-back / STEPS_PER_OCTAVE)) for back in range(STEPS_PER_OCTAVE * n_octaves + 1))
    return tuple(sorted({step for step in steps if step > 0}))


def frequencies(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List wide random transformers that add modulo p, fully trained ones of half their width, and of their width.

    The random ones train for a fifth longer than elsewhere, those of half the width for twice as long as random ones
    elsewhere. The last are those of other figures, and keep their end alone: what they cost is six times as much.
    """
    budget, seeds = scale.budget_of(ModularAddition), scale.seeds(n_seeds)
    wide = _spread_over(budget, _longer(budget.random.n_steps)).runs(budget.wide, "embeddings", seeds)
    half = _spread_over(budget, 2 * budget.random.n_steps).runs(budget.wide // 2, "all", seeds)
    return [*wide, *half, *budget.runs(budget.wide, "all", seeds)]


def release(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List wide transformers whose embeddings train alone at first, then those of which all trains from the start.

    Both start from the same tensors. Up to the release the first are random transformers, bit for bit.
    """
    budgets = [scale.budget_of(kind) for kind in RELEASED_TASKS]
    return [run for budget in budgets for run in _arms(budget, scale.seeds(n_seeds))]


def _arms(budget: TaskBudget, seeds: Sequence[int]) -> list[RunSpec]:
    """Each phase is a fifth longer than elsewhere."""
    before, after = _longer(budget.random.n_steps), _longer(budget.normal.n_steps)
    of_all = dataclasses.replace(budget.normal, n_steps=after, kept_steps=(0, *spread(after)))
    released = dataclasses.replace(
        budget.normal,
        n_steps=before + after,
        release_at=before,
        rate_before_release=budget.random.learning_rate,
        kept_steps=(0, *spread(before), *(before + step for step in spread(after))),
    )
    return [
        RunSpec(budget.task, ModelSpec(budget.wide), training, "all", seed)
        for training in (released, of_all)
        for seed in seeds
    ]


def _spread_over(budget: TaskBudget, n_steps: int) -> TaskBudget:
    return budget.with_training(n_steps=n_steps, kept_steps=(0, *spread(n_steps, N_OCTAVES_OF_FREQUENCIES)))


def _longer(n_steps: int) -> int:
    return -(-6 * n_steps // 5)
