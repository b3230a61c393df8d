"""Interchange accuracies of a run by variable, site, place, basis and rank; ``figure_interchange`` shows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl
import torch
from jaxtyping import Bool
from torch import Tensor

from rtinterp.analysis import (
    PairsAtSite,
    SiteStatistics,
    Subspace,
    interchange_accuracies,
    interchange_accuracy,
    learned_subspace,
    pairs_at,
    positions_that_feed,
    random_subspace,
    split_by_readers,
    statistics_of_sites,
    unembedding_readers,
)
from rtinterp.figures.figure import task_of
from rtinterp.models.build import build_model
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Pairs that a subspace is learned from, and held-out ones on which it is judged.
N_LEARNED_FROM, N_TEST_PAIRS = 512, 256
RANKS = (2, 8, 32)
#: The rank of the controls, and of the subspace that is split by what reads it.
CONTROL_RANK = 8
#: A search is short: what it finds is a lower bound of what there is, and for shuffled answers of what can be fitted.
SEARCH: Mapping[str, Any] = {"n_steps": 15, "pairs_per_step": 128, "learning_rate": 3e-2}
N_RANDOM_SUBSPACES = 2
PAIRS_SEED = 0
#: Of tasks with more variables than these, which are shown.
VARIABLES = ("a", "sum", "queried value", "asked marker", "carry 1", "equal counts", "never negative")
#: Subspaces are looked for where interchanging the whole site does at least this.
WORTH_SEARCHING = 0.5
AFTER_FIRST, AFTER_LAST = "after the first layer", "after the last layer"
#: Where: at the position that predicts, or wherever the sequences of a pair differ up to it.
ANSWER, CHANGE = "answer", "change"

Named: TypeAlias = tuple[str, int, Subspace]


def interchanged(run: Run) -> pl.DataFrame:
    """Make one row per variable, site, place, basis, draw and rank, as the figure's table has them."""
    task, model = task_of(run, CausalTask), run.model
    # The body of a random transformer, with the embeddings that training starts from.
    untrained = build_model(task, run.spec.model, run.spec.seed) if run.spec.trainable == "embeddings" else None
    rows: list[dict[str, Any]] = []
    for variable in (name for name in task.variables if name in VARIABLES):
        pairs = _Pairs(task, variable, model, untrained)
        last = model.cfg.n_layers - 1
        for layer, place in dict.fromkeys([(0, CHANGE), (0, ANSWER), (last, ANSWER)]):
            labels = {"variable": variable, "site": AFTER_LAST if layer == last else AFTER_FIRST, "place": place}
            found = _at(pairs, _site(layer), place, layer == last)
            rows += [{**labels, **one, "n_test_pairs": len(pairs.test)} for one in found]
    return pl.DataFrame(rows, schema_overrides={"share_seen": pl.Float64}, infer_schema_length=None)


def _site(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_post"


class _Pairs:
    """Pairs that differ in a variable, and what models make of them at all sites, once something there is asked for.

    Attributes:
        learn: those to learn from.
        test: those to judge on.
        untrained: the same body with untrained embeddings; None where there is none.
    """

    def __init__(self, task: CausalTask, variable: str, model: HookedModel, untrained: HookedModel | None) -> None:
        generator = torch.Generator().manual_seed(PAIRS_SEED)
        self.learn, self.test = (task.counterfactuals(n, variable, generator) for n in (N_LEARNED_FROM, N_TEST_PAIRS))
        self.model, self.untrained = model, untrained
        self._sites = list(dict.fromkeys(_site(layer) for layer in (0, model.cfg.n_layers - 1)))

    @cached_property
    def learn_at(self) -> dict[str, PairsAtSite]:
        return pairs_at(self.model, self.learn, self._sites)

    @cached_property
    def test_at(self) -> dict[str, PairsAtSite]:
        return pairs_at(self.model, self.test, self._sites)

    @cached_property
    def statistics(self) -> dict[str, SiteStatistics]:
        """Of the pairs to learn from, where they predict."""
        return statistics_of_sites(self.model, [self.learn.factual], self._sites, _where(self.learn, ANSWER))

    @cached_property
    def of_untrained(self) -> tuple[dict[str, PairsAtSite], dict[str, PairsAtSite]]:
        """What the body with untrained embeddings makes of the pairs to learn from, and of those to judge on."""
        assert self.untrained is not None
        return pairs_at(self.untrained, self.learn, self._sites), pairs_at(self.untrained, self.test, self._sites)


def _at(pairs: _Pairs, site: str, place: str, is_last: bool) -> list[dict[str, Any]]:
    """Everything about one site and place."""
    model, test, where = pairs.model, pairs.test_at[site], _where(pairs.test, place)
    d_model = model.cfg.d_model
    nothing, whole = (Subspace(torch.eye(d_model)[:rank], torch.zeros(d_model)) for rank in (0, d_model))
    intact, full = interchange_accuracies(model, test, site, [nothing, whole], where)
    found: list[tuple[str, int, int, float]] = [("whole", 0, d_model, full)]
    share = None
    if place == ANSWER and full >= WORTH_SEARCHING:
        generator = torch.Generator().manual_seed(PAIRS_SEED)
        named = list(_subspaces(pairs, site, generator))
        if is_last:
            rank = _control_rank(d_model)
            (whole_one,) = [one for basis, _, one in named if (basis, one.rank) == ("learned", rank)]
            split = split_by_readers(whole_one, unembedding_readers(model))
            named, share = [*named, ("seen", 0, split.seen), ("unseen", 0, split.unseen)], split.share_seen
        values = interchange_accuracies(model, test, site, [subspace for *_, subspace in named], where)
        found += [(basis, draw, one.rank, value) for (basis, draw, one), value in zip(named, values, strict=True)]
        if pairs.untrained is not None:
            of_learn, of_test = (of[site] for of in pairs.of_untrained)
            null = _learned(pairs.untrained, of_learn, site, _control_rank(d_model))
            found.append(("untrained", 0, null.rank, interchange_accuracy(pairs.untrained, of_test, site, null, where)))
    return [
        {"basis": basis, "draw": draw, "rank": rank, "accuracy": value, "intact": intact, "share_seen": share}
        for basis, draw, rank, value in found
    ]


def _subspaces(pairs: _Pairs, site: str, generator: torch.Generator) -> Iterator[Named]:
    model, learn, learn_at = pairs.model, pairs.learn, pairs.learn_at[site]
    d_model = model.cfg.d_model
    ranks = sorted({*(rank for rank in RANKS if rank <= d_model), _control_rank(d_model)})
    for rank in ranks:
        yield "learned", 0, _learned(model, learn_at, site, rank)
    statistics = pairs.statistics[site]
    for name, basis in (("principal", statistics.principal), ("sensitive", statistics.sensitive)):
        yield from ((name, 0, basis.first(rank).to(model.W_E)) for rank in ranks)
    for draw in range(N_RANDOM_SUBSPACES):
        drawn = random_subspace(ranks[-1], torch.zeros(d_model), generator)
        yield from (("random", draw, drawn.first(rank)) for rank in ranks)
    targets = learn.base.expected(learn.base.tokens.shape[1])
    order = torch.randperm(len(learn), generator=generator)
    at = learn.base.scored.int().argmax(1)
    shuffled = targets.scatter(1, at[:, None], targets.gather(1, at[:, None])[order])
    placebo = dataclasses.replace(learn_at, base=dataclasses.replace(learn.base, targets=shuffled))
    yield "placebo", 0, _learned(model, placebo, site, _control_rank(d_model))


def _learned(model: HookedModel, pairs: Counterfactuals | PairsAtSite, site: str, rank: int) -> Subspace:
    generator = torch.Generator().manual_seed(PAIRS_SEED)
    return learned_subspace(model, pairs, site, rank, generator, _where(pairs, ANSWER), **SEARCH)


def _control_rank(d_model: int) -> int:
    return min(CONTROL_RANK, d_model)


def _where(pairs: Counterfactuals | PairsAtSite, place: str) -> Bool[Tensor, "batch pos"]:
    tokens, scored = pairs.base.tokens, pairs.base.scored
    if place == ANSWER:
        return scored
    return (tokens != pairs.sources[:, : tokens.shape[1]]) & positions_that_feed(scored)
