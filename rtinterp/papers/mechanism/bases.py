"""The bases of a site whose first directions are kept or taken out, and the controls beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from rtinterp.analysis import (
    SiteStatistics,
    Subspace,
    covariances_of_sites,
    principal_subspace,
    random_subspace,
    residual_sites,
    statistics_of_sites,
    variance_matched_subspace,
    variance_share,
)
from rtinterp.tasks import Batch
from rtinterp.training.run import Run

#: Training sequences that bases are found from, in batches, and the generator that draws them.
N_BATCHES, BATCH_SIZE, BASES_SEED = 4, 128, 0

#: Each basis and what it is called.
BASES = {
    "principal": "largest variance (PCA)",
    "sensitive": "read most",
    "coordinates": "coordinates of largest variance",
    "untrained": "PCA of the untrained model",
    "other seed": "PCA of another seed",
    "random": "random",
    "matched": "random, variance of those read most",
}
#: Those that are found on the trained model itself, by what is done with it.
FOUND = ("principal", "sensitive")
#: Directions that are matched in variance are drawn where there are at least so many times as many to choose from.
LEAST_CHOICE = 4


@dataclasses.dataclass(frozen=True, eq=False)
class SiteBases:
    """What directions at one site are taken from.

    Attributes:
        statistics: of the trained model.
        untrained: covariance of the same body with its initial embeddings.
        other_seed: covariance of the same kind of model of another seed; None where there is none.
    """

    statistics: SiteStatistics
    untrained: Float64[Tensor, "d_model d_model"]
    other_seed: Float64[Tensor, "d_model d_model"] | None
    nested: dict[str, Subspace] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The bases that there are."""
        return [name for name in BASES if name != "other seed" or self.other_seed is not None]

    def first(self, basis: str, rank: int, draw: int = 0) -> Subspace | None:
        """Return the first directions of a basis, all of them through the mean of the trained model.

        Directions that are nested are found once. Those that are matched in variance are drawn for each rank; None
        where no such directions are to be had.
        """
        if basis == "matched":
            return self._matched(rank, draw)
        if basis == "random":
            # Each direction is drawn after the one before it, so that fewer are the first of more.
            return random_subspace(rank, self.statistics.mean.float(), torch.Generator().manual_seed(draw))
        return self._nested(basis).first(rank)

    def _nested(self, basis: str) -> Subspace:
        if basis not in self.nested:
            self.nested[basis] = self._all(basis)
        return self.nested[basis]

    def _all(self, basis: str) -> Subspace:
        if basis in ("untrained", "other seed"):
            covariance = self.untrained if basis == "untrained" else self.other_seed
            assert covariance is not None
            return principal_subspace(covariance, self.statistics.mean.float())
        return getattr(self.statistics, basis).to(torch.zeros(()))

    def _matched(self, rank: int, draw: int) -> Subspace | None:
        """As much variance as the directions that are read most have."""
        statistics, mean = self.statistics, self.statistics.mean.float()
        if not 0 < rank <= len(mean) // LEAST_CHOICE:
            return None
        share = variance_share(statistics.covariance, self._nested("sensitive").first(rank))
        generator = torch.Generator().manual_seed(draw)
        try:
            return variance_matched_subspace(statistics.covariance, rank, share, mean, generator)
        except ValueError:
            return None


def training_batches(run: Run) -> list[Batch]:
    """Draw the training sequences that bases are found from: the same of every run of a task."""
    generator = torch.Generator().manual_seed(BASES_SEED)
    return [run.spec.task.sample(BATCH_SIZE, generator) for _ in range(N_BATCHES)]


def site_bases(run: Run, other: Run | None) -> dict[str, SiteBases]:
    """Find the bases of every site of the residual stream of a run.

    Args:
        other: a run of the same kind of another seed.
    """
    batches, sites = training_batches(run), residual_sites(run.model)
    statistics = statistics_of_sites(run.model, batches, sites)
    untrained = covariances_of_sites(run.initial_model, batches, sites)
    of_other = covariances_of_sites(other.model, batches, sites) if other is not None else {}
    return {site: SiteBases(statistics[site], untrained[site], of_other.get(site)) for site in sites}


def with_other_seeds(runs: Sequence[Run]) -> list[tuple[Run, Run | None]]:
    """Pair every run with the next of the same kind but another seed; None where there is none."""
    pairs = []
    for run in runs:
        alike = [one for one in runs if one.spec.with_seed(0) == run.spec.with_seed(0)]
        place = alike.index(run)
        pairs.append((run, alike[(place + 1) % len(alike)] if len(alike) > 1 else None))
    return pairs
