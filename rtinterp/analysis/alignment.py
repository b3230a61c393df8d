"""Does a subspace hold a variable of the task? Interchange interventions, and a subspace that is learned from them.

A causal model of a task has variables: the value that is asked for, the carry into a digit. Take a base and a source
sequence that differ in one of them, and put what lies in a subspace of the source's activations in the place of the
base's. If the subspace holds the variable and nothing else, the model then says what the base sequence would call for
with the source's value (Geiger et al. 2023, arXiv 2303.02536). ``interchange_accuracy`` is how often it does.

A learned subspace makes this as true as it can be by construction, so it is measured on other pairs than it was learned
from, and stands beside what the same search finds where there is nothing to find: for shuffled answers
(the placebo of arXiv 2402.12560) or in a model with untrained embeddings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from rtinterp.analysis.interventions import Intervention, Where, activations_at, interchange, intervene
from rtinterp.analysis.predictions import accuracy
from rtinterp.analysis.subspace_finding import random_subspace
from rtinterp.analysis.subspaces import Subspace
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Pairs in one forward pass.
PAIRS_PER_PASS = 256


class Pairs(Protocol):
    """Base sequences, whose targets are what the source's variable makes of them, and source sequences."""

    @property
    def base(self) -> Batch: ...
    @property
    def sources(self) -> Int64[Tensor, "batch pos"]: ...


def interchange_accuracy(model: HookedModel, pairs: Pairs, site: str, subspace: Subspace, where: Where = None) -> float:
    """Measure how often predictions are what the counterfactual calls for, in [0, 1], once a subspace is interchanged.

    Args:
        pairs: such as ``task.counterfactuals(n, variable, generator)``, other ones than the subspace was learned from.
        site: the name of a hook point.
        where: positions at which the subspace is interchanged, a mask of all pairs or a function of the base tokens;
            all if not given.

    Raises:
        ValueError: the model has no such hook point, or the pairs do not fit it.
    """
    n_right, n = 0.0, 0
    for start in range(0, len(pairs.base), PAIRS_PER_PASS):
        rows = slice(start, start + PAIRS_PER_PASS)
        base, of_rows = pairs.base[rows], where[rows] if isinstance(where, Tensor) else where
        sources = activations_at(model, pairs.sources[rows], site)
        with intervene(model, interchange(site, subspace, sources, of_rows)):
            n_scored = int(base.scored.sum())
            n_right += accuracy(model, base) * n_scored if n_scored else 0
            n += n_scored
    if n == 0:
        raise ValueError("no position of the pairs is scored")
    return n_right / n


# Callers of TransformerLens often switch gradients off for the whole process.
@torch.enable_grad()
def learned_subspace(
    model: HookedModel,
    pairs: Pairs,
    site: str,
    rank: int,
    generator: torch.Generator,
    where: Where = None,
    n_steps: int = 200,
    learning_rate: float = 1e-2,
) -> Subspace:
    """Learn the subspace whose interchange makes counterfactual answers most likely (distributed alignment search).

    Its directions stay orthonormal by construction (torch's orthogonal parametrisation), start out uniformly random,
    and follow the gradient of the cross-entropy (Adam) on ``PAIRS_PER_PASS`` pairs a step, drawn with replacement. The
    model itself does not change. An interchange has no centre; the subspace's is zero.

    Args:
        pairs: to learn from.
        rank: the number of directions.
        generator: draws the first directions and the pairs, on the CPU.

    Raises:
        ValueError: rank is not in 1 .. the width of the site; n_steps is less than 1; the model has no such hook point.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps is {n_steps}; pass at least 1")
    sources = torch.cat([activations_at(model, tokens, site) for tokens in pairs.sources.split(PAIRS_PER_PASS)])
    d_model = sources.shape[-1]
    if not 1 <= rank <= d_model:
        raise ValueError(f"rank is {rank}; pass 1 to {d_model}, the width of {site}")
    start = random_subspace(rank, torch.zeros(d_model), generator)
    rotation = _orthonormal_rows(start.directions.to(sources))
    optimiser = torch.optim.Adam(rotation.parameters(), learning_rate)
    n_pairs = min(PAIRS_PER_PASS, len(pairs.base))
    for _ in range(n_steps):
        rows = torch.randint(len(pairs.base), (n_pairs,), generator=generator)
        directions, base = rotation.weight, pairs.base[rows]
        edit = Intervention(
            site,
            lambda h, _, w=directions, s=sources[rows]: h + ((s[:, : h.shape[1]] - h) @ w.T) @ w,
            where[rows] if isinstance(where, Tensor) else where,
        )
        with intervene(model, edit):
            logits = model(base.tokens)[base.scored.to(sources.device)]
        loss = F.cross_entropy(logits, base.scored_targets.to(logits.device))
        optimiser.zero_grad()
        loss.backward(inputs=list(rotation.parameters()))
        optimiser.step()
    return Subspace(rotation.weight.detach().clone(), torch.zeros(d_model).to(sources))


def _orthonormal_rows(directions: Float[Tensor, "rank d_model"]) -> nn.Linear:
    """A linear map whose weight stays orthonormal whatever happens to what it is made of."""
    linear = nn.Linear(directions.shape[1], directions.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(directions.cpu())
    # Torch completes the directions to a basis with its global generator, of the CPU here, which is put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        linear = nn.utils.parametrizations.orthogonal(linear)
    return cast("nn.Linear", linear.to(directions.device))
