"""The experiments by name: which runs each needs at a scale, the most valuable first."""

from __future__ import annotations

import itertools

from rtinterp.figures.paper import Experiment, NoCorpusError
from rtinterp.models.regimes import Trainable, canonical
from rtinterp.papers.random_attention.budgets import Scale
from rtinterp.papers.random_attention.regimes import REGIMES
from rtinterp.tasks import Corpus, DecimalAddition, KHopInduction, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.spec import RunSpec

#: Whose heads and circuits are looked into.
WITH_HEADS = ("standard", "frozen QK", "frozen QK, std 0.02", "random transformer")
OF_DEPTH = ("random transformer", "frozen QK", "MixiT, code")
OF_LANGUAGE = ("standard", "frozen QK", "MixiT, code", "random transformer")

#: Beside the embeddings, what a set of the lattice may train.
PARTS = ("qk", "ov", "mlp", "norms")
LATTICE_TASKS: tuple[type[Task], ...] = (DecimalAddition, ParenthesisBalancing)


def lattice_sets() -> list[Trainable]:
    """List all sets of parts that train beside the embeddings, the smallest first, in canonical form."""
    sets = itertools.chain.from_iterable(itertools.combinations(PARTS, size) for size in range(len(PARTS) + 1))
    return [canonical(("embeddings", *parts)) for parts in sets]


def retrieval(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List the models whose heads are looked for."""
    budget = scale.budget_of(NeedleInAHaystack)
    return [run for name in WITH_HEADS for run in budget.runs(REGIMES[name], scale.seeds(n_seeds))]


def regimes(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List models of all tasks and regimes."""
    return [
        run
        for budget in scale.tasks
        for regime in REGIMES.values()
        for run in budget.runs(regime, scale.seeds(n_seeds))
    ]


def hops(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List models of all regimes that follow hops."""
    return [run for run in regimes(scale, n_seeds, corpus) if isinstance(run.task, KHopInduction)]


def depth(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List models of growing depth that add decimally."""
    budget = scale.budget_of(DecimalAddition)
    return [
        run
        for n_layers in scale.depths
        for name in OF_DEPTH
        for run in budget.runs(REGIMES[name], scale.seeds(n_seeds), n_layers)
    ]


def lattice(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List models of which the embeddings train, and every set of other parts."""
    return [
        run
        for kind in LATTICE_TASKS
        for trainable in lattice_sets()
        for run in scale.budget_of(kind).runs_of_set(trainable, scale.seeds(n_seeds))
    ]


def language(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List language models."""
    if corpus is None:
        raise NoCorpusError
    return [run for name in OF_LANGUAGE for run in scale.language.runs(corpus, REGIMES[name], scale.seeds(n_seeds))]


EXPERIMENTS: dict[str, Experiment] = {
    "retrieval": retrieval,
    "regimes": regimes,
    "hops": hops,
    "depth": depth,
    "lattice": lattice,
    "language": language,
}
#: Those that need a corpus.
ON_LANGUAGE = frozenset({"language"})
