"""The experiments by name: which runs each needs at a scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

from rtinterp.figures.paper import Experiment
from rtinterp.models.parameters import POSITIONAL_EMBEDDING, TOKEN_EMBEDDING, UNEMBEDDING
from rtinterp.models.parametrisations import LowRank, RandomSubspace, ReadSubspace
from rtinterp.papers.mechanism.watched_runs import frequencies, release
from rtinterp.papers.random_transformers.budgets import Scale
from rtinterp.papers.random_transformers.grid import RANDOM_AND_NORMAL
from rtinterp.tasks import Corpus, DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.spec import RunSpec

#: Makes a run of which some tensors are at most of a rank.
Restrict: TypeAlias = Callable[[RunSpec, int, tuple[str, ...]], RunSpec]


def low_rank(run: RunSpec, rank: int, names: tuple[str, ...]) -> RunSpec:
    """Return the run with each of some tensors a product of a rank: those of them that could be of a larger one.

    Raises:
        ValueError: none of them could.
    """
    larger = [p.name for p in run.model_parameters() if p.name in names and min(p.shape) > rank]
    return dataclasses.replace(run, parametrisation=LowRank(rank, tuple(larger)))


def random_directions(run: RunSpec, rank: int, names: tuple[str, ...]) -> RunSpec:
    """Return the run with some embeddings in the span of as many random directions, the same for all of them."""
    return dataclasses.replace(run, parametrisation=RandomSubspace(rank, names))


def most_read(run: RunSpec, rank: int, names: tuple[str, ...]) -> RunSpec:
    """Return the run with some embeddings in the span of as many directions, those that its body reads most."""
    return dataclasses.replace(run, parametrisation=ReadSubspace(rank, "most", names))


def least_read(run: RunSpec, rank: int, names: tuple[str, ...]) -> RunSpec:
    """Return the run with some embeddings in the span of as many directions, those that its body reads least."""
    return dataclasses.replace(run, parametrisation=ReadSubspace(rank, "least", names))


EMBEDDINGS = (TOKEN_EMBEDDING, POSITIONAL_EMBEDDING, UNEMBEDDING)
#: The rank dial: a task, which of its embeddings are restricted, to what, and to which ranks.
DIALS: tuple[tuple[type[Task], tuple[str, ...], Restrict, tuple[int, ...]], ...] = (
    (DecimalAddition, EMBEDDINGS, low_rank, (2, 4, 8)),
    (DecimalAddition, EMBEDDINGS, random_directions, (16, 64)),
    (ParenthesisBalancing, EMBEDDINGS, low_rank, (1, 2)),
    (ParenthesisBalancing, EMBEDDINGS, random_directions, (4, 16)),
    (DecimalAddition, (TOKEN_EMBEDDING,), low_rank, (2, 4)),
    (DecimalAddition, (UNEMBEDDING,), low_rank, (2, 4)),
    (ParenthesisBalancing, EMBEDDINGS, most_read, (4,)),
    (ParenthesisBalancing, EMBEDDINGS, least_read, (4,)),
    (DecimalAddition, EMBEDDINGS, most_read, (64,)),
    (DecimalAddition, EMBEDDINGS, least_read, (64,)),
    (ModularAddition, EMBEDDINGS, low_rank, (8, 4)),
    (NeedleInAHaystack, EMBEDDINGS, low_rank, (8,)),
    (DecimalAddition, (POSITIONAL_EMBEDDING,), low_rank, (2,)),
    (ParenthesisBalancing, (TOKEN_EMBEDDING,), low_rank, (1,)),
    (ParenthesisBalancing, (POSITIONAL_EMBEDDING,), low_rank, (1,)),
    (ParenthesisBalancing, (UNEMBEDDING,), low_rank, (1,)),
    (NeedleInAHaystack, EMBEDDINGS, low_rank, (16,)),
    (ModularAddition, EMBEDDINGS, low_rank, (16,)),
)


#: On these, training to 95 % takes less than a minute at the quick scale.
WARM_TASKS: tuple[type[Task], ...] = (DecimalAddition,)

#: Bodies are what is observed: so many seeds make a row of a figure, whatever is stored of fewer at a larger scale.
N_BODIES = 3


def subspaces(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List wide random transformers of the four algorithmic tasks, then fully trained ones of the same widths."""
    return [
        run
        for trainable in RANDOM_AND_NORMAL
        for budget in scale.algorithmic
        for run in budget.runs(budget.wide, trainable, scale.seeds(n_seeds))
    ]


def bodies(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List wide random transformers of the four algorithmic tasks, whose embeddings change places."""
    return [run for run in subspaces(scale, n_seeds, corpus) if run.trainable == "embeddings"]


def warm_starts(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List those of them whose embeddings are trained anew from different starts: on the tasks where that is cheap."""
    return [run for run in bodies(scale, n_seeds, corpus) if isinstance(run.task, WARM_TASKS)]


def rank_dial(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List wide random transformers of some tasks, each followed by those whose embeddings are of given ranks."""
    runs: list[RunSpec] = []
    for kind, names, restrict, ranks in DIALS:
        budget = scale.budget_of(kind)
        whole = budget.runs(budget.wide, "embeddings", scale.seeds(n_seeds))
        below = _largest_rank(whole[0], names) if restrict is low_rank else budget.wide
        runs += [*whole, *(restrict(run, rank, names) for rank in ranks if rank < below for run in whole)]
    return list(dict.fromkeys(runs))


def _largest_rank(run: RunSpec, names: tuple[str, ...]) -> int:
    return max(min(p.shape) for p in run.model_parameters() if p.name in names)


EXPERIMENTS: dict[str, Experiment] = {
    "subspaces": subspaces,
    "bodies": bodies,
    "warm_starts": warm_starts,
    "rank_dial": rank_dial,
    "frequencies": frequencies,
    "release": release,
}
