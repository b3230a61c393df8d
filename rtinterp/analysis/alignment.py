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

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from rtinterp.analysis.activations import activations_at_sites, residual_sites
from rtinterp.analysis.interventions import Intervention, Where, intervene
from rtinterp.analysis.layer_parts import is_plain, logits_from
from rtinterp.analysis.predictions import is_right
from rtinterp.analysis.slices import ACTIVATIONS_PER_SLICE, rows_of
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


@dataclasses.dataclass(frozen=True, eq=False)
class PairsAtSite:
    """Pairs with their activations at a site, for several searches and measurements there; as ``pairs_at`` makes them.

    Attributes:
        site: the name of a hook point.
        h: activations of the base sequences, up to the last scored position.
        source_h: activations of the source sequences.
    """

    base: Batch
    sources: Int64[Tensor, "batch pos"]
    site: str
    h: Float[Tensor, "batch pos d"]
    source_h: Float[Tensor, "batch pos d"]


def pairs_at(model: HookedModel, pairs: Pairs, sites: Sequence[str]) -> dict[str, PairsAtSite]:
    """Run pairs through a model once, up to the last of some sites, for all that is to be done there.

    What takes pairs takes these in their place, with the same model and site, and need not run them.

    Raises:
        ValueError: the model has no such hook point, one has more axes than [batch pos d], or no position of the pairs
            is scored.
    """
    if not pairs.base.scored.any():
        raise ValueError("no position of the pairs is scored")
    n_pos = int(pairs.base.scored.any(0).nonzero().max()) + 1
    n_rows = min(PAIRS_PER_PASS, rows_of(ACTIVATIONS_PER_SLICE, model, n_pos)) if is_plain(model) else PAIRS_PER_PASS
    of_base, of_sources = (
        [activations_at_sites(model, part, sites) for part in of[:, :n_pos].split(n_rows)]
        for of in (pairs.base.tokens, pairs.sources)
    )
    for site, h in of_base[0].items():
        if h.ndim != 3:
            raise ValueError(
                f"{site!r} has an axis of heads, or another one: its activations are of shape {list(h.shape)}, and "
                "subspaces here are of vectors [batch pos d]; pass a site of residual_sites(model), a hook_attn_out or "
                "a hook_mlp_out"
            )
    return {
        site: PairsAtSite(
            pairs.base,
            pairs.sources,
            site,
            *(torch.cat([part[site] for part in parts]) for parts in (of_base, of_sources)),
        )
        for site in sites
    }


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
    (found,) = interchange_accuracies(model, pairs, site, [subspace], where)
    return found


@torch.no_grad()
def interchange_accuracies(
    model: HookedModel, pairs: Pairs, site: str, subspaces: Sequence[Subspace], where: Where = None
) -> list[float]:
    """Measure ``interchange_accuracy`` for each of several subspaces of one site, whose activations are computed once.

    Raises:
        ValueError: as ``interchange_accuracy``.
    """
    n_right, n = [0.0] * len(subspaces), int(pairs.base.scored.sum())
    everything = _at_site(model, pairs, site, where)
    for rows in torch.arange(len(pairs.base)).split(PAIRS_PER_PASS):
        at = everything[rows]
        for i, subspace in enumerate(subspaces):
            logits = at.logits(model, site, at.interchanged(subspace.to(at.h).directions))
            n_right[i] += is_right(logits, at.targets).sum().item()
    return [right / n for right in n_right]


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
    pairs_per_step: int = PAIRS_PER_PASS,
) -> Subspace:
    """Learn the subspace whose interchange makes counterfactual answers most likely (distributed alignment search).

    Its directions stay orthonormal by construction (torch's orthogonal parametrisation), start out uniformly random,
    and follow the gradient of the cross-entropy (Adam). The model itself does not change. An interchange has no centre;
    the subspace's is zero.

    Args:
        pairs: to learn from.
        rank: the number of directions.
        generator: draws the first directions and the pairs, on the CPU.
        pairs_per_step: drawn with replacement at every step; all pairs if there are fewer.

    Raises:
        ValueError: rank is not in 1 .. the width of the site; n_steps is less than 1; the model has no such hook point.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps is {n_steps}; pass at least 1")
    everything = _at_site(model, pairs, site, where)
    d_model = everything.h.shape[-1]
    if not 1 <= rank <= d_model:
        raise ValueError(f"rank is {rank}; pass 1 to {d_model}, the width of {site}")
    start = random_subspace(rank, torch.zeros(d_model), generator)
    rotation = _orthonormal_rows(start.directions.to(everything.h))
    optimiser = torch.optim.Adam(rotation.parameters(), learning_rate)
    for _ in range(n_steps):
        at = everything[torch.randint(len(pairs.base), (min(pairs_per_step, len(pairs.base)),), generator=generator)]
        loss = F.cross_entropy(at.logits(model, site, at.interchanged(rotation.weight)), at.targets)
        optimiser.zero_grad()
        loss.backward(inputs=list(rotation.parameters()))
        optimiser.step()
    return Subspace(rotation.weight.detach().clone(), torch.zeros(d_model).to(everything.h))


@dataclasses.dataclass(frozen=True, eq=False)
class _AtSite:
    """What an interchange at a site needs of some pairs, on the model's device.

    Attributes:
        h: activations of the base sequences.
        sources: activations of the source sequences.
        chosen: positions that change.
    """

    base: Batch
    h: Float[Tensor, "batch pos d"]
    sources: Float[Tensor, "batch pos d"]
    chosen: Bool[Tensor, "batch pos"]

    def __getitem__(self, rows: Int64[Tensor, " row"]) -> _AtSite:
        on_device = rows.to(self.h.device)
        return _AtSite(self.base[rows], self.h[on_device], self.sources[on_device], self.chosen[on_device])

    @property
    def targets(self) -> Int64[Tensor, " prediction"]:
        return self.base.scored_targets.to(self.h.device)

    def interchanged(self, directions: Float[Tensor, "rank d"]) -> Float[Tensor, "batch pos d"]:
        difference = (self.sources - self.h) * self.chosen[..., None]
        return self.h + difference @ directions.T @ directions

    def logits(
        self, model: HookedModel, site: str, h: Float[Tensor, "batch pos d"]
    ) -> Float[Tensor, "prediction d_vocab_out"]:
        """The scored predictions, had the activations at the site been h."""
        scored = self.base.scored.to(h.device)
        if _goes_on_from(model, site):
            return logits_from(model, site, h, scored)
        with intervene(model, Intervention(site, lambda *_: h)):
            return model(self.base.tokens)[scored]


def _goes_on_from(model: HookedModel, site: str) -> bool:
    """Whether what comes before the site need not run again: in a transformer of which nobody else changes anything."""
    return is_plain(model) and "blocks.0.attn.hook_z" in model.hook_dict and site in residual_sites(model)


def _at_site(model: HookedModel, pairs: Pairs, site: str, where: Where) -> _AtSite:
    """Run pairs up to a site unless that was done, no further than the last scored position of any pair."""
    ready = pairs
    if not isinstance(ready, PairsAtSite) or ready.site != site:
        ready = pairs_at(model, pairs, [site])[site]
    tokens, base, n_pos = pairs.base.tokens, pairs.base, ready.h.shape[1]
    chosen = where(tokens) if callable(where) else torch.ones_like(tokens, dtype=torch.bool)
    chosen = where if isinstance(where, Tensor) else chosen
    if chosen.shape != tokens.shape or chosen.dtype != torch.bool:
        raise ValueError(
            f"where is of shape {list(chosen.shape)} and {chosen.dtype}; the pairs need truth values "
            f"{list(tokens.shape)}"
        )
    cut = Batch(base.tokens[:, :n_pos], base.scored[:, :n_pos], base.expected(n_pos))
    return _AtSite(cut, ready.h, ready.source_h, chosen[:, :n_pos].to(ready.h.device))


def _orthonormal_rows(directions: Float[Tensor, "rank d_model"]) -> nn.Linear:
    """A linear map whose weight stays orthonormal whatever happens to what it is made of."""
    linear = nn.Linear(directions.shape[1], directions.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(directions.cpu())
    # Torch completes the directions to a basis with its global generator, of the CPU here, which is put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        linear = nn.utils.parametrizations.orthogonal(linear)
    return cast("nn.Linear", linear.to(directions.device))
