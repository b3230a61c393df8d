"""Mean, covariance and sensitivity of the activations at one site, over as many sequences as one likes.

They are what subspaces are found from. Take them from sequences of the training stream, and measure effects on the test
set: a basis that was fitted to the sequences it is judged by flatters itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from rtinterp.analysis.batches import Batches, each_batch, positions_that_feed
from rtinterp.analysis.circuits import Measure
from rtinterp.analysis.explained_variance import StreamingCovariance
from rtinterp.analysis.interventions import Intervention, Where, intervene
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


def site_statistics(
    model: HookedModel, batches: Batches, site: str, where: Where = None, measure: Measure = margins
) -> SiteStatistics:
    """Gather the statistics of one site, batch by batch, in O(d_model^2) memory.

    Args:
        batches: one or several, of any sizes; of the training stream.
        where: the positions that count; those up to the last scored one of each sequence if not given.
        measure: what the gradients are of, summed over scored predictions: by default the logit difference between the
            right answer and the strongest wrong one, which, unlike the loss, stays sensitive where all is solved.

    Raises:
        ValueError: the model has no such hook point, fewer than 2 activations, or activations that are not finite.
    """
    return statistics_of_sites(model, batches, (site,), where, measure)[site]


def statistics_of_sites(
    model: HookedModel,
    batches: Batches,
    sites: Sequence[str],
    where: Where = None,
    measure: Measure = margins,
) -> dict[str, SiteStatistics]:
    """Gather what ``site_statistics`` does at several sites in the same passes, by site.

    Raises:
        ValueError: as ``site_statistics``.
    """
    n, totals = 0, {site: _Totals() for site in sites}
    for batch in each_batch(batches):
        chosen = _positions(batch, where)
        of_batch = _activations_and_gradients(model, batch, sites, measure)
        for site, (h, g) in of_batch.items():
            totals[site].update(h[chosen], g[chosen].double())
        n += int(chosen.sum())
    if not n:
        raise ValueError("no activation counts: batches is empty, or no position of them is scored")
    return {site: total.statistics(n) for site, total in totals.items()}


@torch.no_grad()
def covariances_of_sites(
    model: HookedModel, batches: Batches, sites: Sequence[str], where: Where = None
) -> dict[str, Float64[Tensor, "d_model d_model"]]:
    """Gather the covariance alone, without gradients, at several sites in the same passes.

    Raises:
        ValueError: as ``site_statistics``.
    """
    covariances = {site: StreamingCovariance(model.cfg.d_model) for site in sites}
    for batch in each_batch(batches):
        _, cache = model.run_with_cache(batch.tokens, names_filter=list(sites))
        for site, covariance in covariances.items():
            covariance.update(cache[site][_positions(batch, where)].cpu())
    return {site: covariance.covariance for site, covariance in covariances.items()}


class _Totals:
    """What is summed up at a site."""

    def __init__(self) -> None:
        self.covariance: StreamingCovariance | None = None
        self.gradient_scatter: Tensor = torch.zeros(())

    def update(self, h: Float[Tensor, "n d_model"], g: Float64[Tensor, "n d_model"]) -> None:
        if self.covariance is None:
            self.covariance = StreamingCovariance(h.shape[1], device=h.device)
        self.covariance.update(h)
        self.gradient_scatter = self.gradient_scatter.to(g) + g.T @ g

    def statistics(self, n: int) -> SiteStatistics:
        of_h = self.covariance
        assert of_h is not None
        return SiteStatistics(n, of_h.mean.cpu(), of_h.covariance.cpu(), (self.gradient_scatter / n).cpu())


def _positions(batch: Batch, where: Where) -> Bool[Tensor, "batch pos"]:
    if where is None:
        return positions_that_feed(batch.scored)
    return where(batch.tokens) if callable(where) else where


# Callers of TransformerLens often switch gradients off for the whole process.
@torch.enable_grad()
def _activations_and_gradients(
    model: HookedModel, batch: Batch, sites: Sequence[str], measure: Measure
) -> dict[str, tuple[Float[Tensor, "batch pos d_model"], Float[Tensor, "batch pos d_model"]]]:
    """What stands at each site, and the gradient of the measure with respect to it."""
    found: dict[str, Tensor] = {}

    def keep_at(site: str) -> Intervention:
        def keep(h: Tensor, _: Tensor) -> Tensor:
            found[site] = h if h.requires_grad else h.detach().requires_grad_()
            return found[site]

        return Intervention(site, keep)

    with intervene(model, *map(keep_at, sites)):
        logits = model(batch.tokens)[batch.scored.to(model.W_E.device)]
    value = measure(logits, batch.scored_targets.to(logits.device)).sum()
    gradients = torch.autograd.grad(value, list(found.values()))
    return {site: (h.detach(), g) for (site, h), g in zip(found.items(), gradients, strict=True)}
