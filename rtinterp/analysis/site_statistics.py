"""Mean, covariance and sensitivity of the activations at one site, over as many sequences as one likes.

They are what subspaces are found from. Take them from sequences of the training stream, and measure effects on the test
set: a basis that was fitted to the sequences it is judged by flatters itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from rtinterp.analysis.circuits import Measure
from rtinterp.analysis.explained_variance import StreamingCovariance, positions_that_feed
from rtinterp.analysis.interventions import Intervention, Where, activations_at, intervene
from rtinterp.analysis.predictions import margins
from rtinterp.analysis.subspace_finding import coordinate_subspace, principal_subspace, sensitive_subspace
from rtinterp.analysis.subspaces import Subspace
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


@dataclasses.dataclass(frozen=True, eq=False)
class SiteStatistics:
    """Statistics of activations h at a site, and of gradients g of a measure with respect to them.

    Attributes:
        n_activations: positions of all sequences that count.
        mean: of h.
        covariance: of h, with divisor n - 1.
        gradient_moments: the mean of g g^T over the same positions.
    """

    n_activations: int
    mean: Float64[Tensor, " d_model"]
    covariance: Float64[Tensor, "d_model d_model"]
    gradient_moments: Float64[Tensor, "d_model d_model"]

    @property
    def principal(self) -> Subspace:
        """All principal directions through the mean."""
        return principal_subspace(self.covariance, self.mean)

    @property
    def coordinates(self) -> Subspace:
        """All coordinate axes through the mean, those of largest variance first."""
        return coordinate_subspace(self.covariance, self.mean)

    @property
    def sensitive(self) -> Subspace:
        """All directions through the mean, those that are read first."""
        return sensitive_subspace(self.covariance, self.gradient_moments, self.mean)


# Callers of TransformerLens often switch gradients off for the whole process.
@torch.enable_grad()
def site_statistics(
    model: HookedModel, batches: Iterable[Batch], site: str, where: Where = None, measure: Measure = margins
) -> SiteStatistics:
    """Gather the statistics of one site, batch by batch, in O(d_model^2) memory.

    Args:
        batches: of any sizes; of the training stream.
        where: the positions that count; those up to the last scored one of each sequence if not given.
        measure: what the gradients are of, summed over scored predictions: by default the logit difference between the
            right answer and the strongest wrong one, which, unlike the loss, stays sensitive where all is solved.

    Raises:
        ValueError: the model has no such hook point, fewer than 2 activations, or activations that are not finite.
    """
    statistics, moments, n = None, None, 0
    for batch in batches:
        chosen = _positions(batch, where)
        h = activations_at(model, batch.tokens, site)[chosen]
        g = _gradients(model, batch, site, measure)[chosen].double()
        if statistics is None:
            statistics = StreamingCovariance(h.shape[1], device=h.device)
        statistics.update(h)
        moments = g.T @ g if moments is None else moments + g.T @ g
        n += len(g)
    if statistics is None or moments is None:
        raise ValueError("batches is empty; pass at least one")
    return SiteStatistics(n, statistics.mean.cpu(), statistics.covariance.cpu(), (moments / n).cpu())


def _positions(batch: Batch, where: Where) -> Bool[Tensor, "batch pos"]:
    if where is None:
        return positions_that_feed(batch.scored)
    return where(batch.tokens) if callable(where) else where


def _gradients(model: HookedModel, batch: Batch, site: str, measure: Measure) -> Float[Tensor, "batch pos d_model"]:
    leaves: list[Tensor] = []

    def make_leaf(h: Tensor, _: Tensor) -> Tensor:
        leaves.append(h.detach().requires_grad_())
        return leaves[0]

    with intervene(model, Intervention(site, make_leaf)):
        logits = model(batch.tokens)[batch.scored.to(model.W_E.device)]
    value = measure(logits, batch.scored_targets.to(logits.device)).sum()
    (gradients,) = torch.autograd.grad(value, leaves)
    return gradients
