"""A transformer from one site on: what many interventions at that site do, without running what comes before it.

What precedes the site is run once, and the last layer computes scored predictions only, so that an intervention costs
what follows the site. ``value`` is the same number as the measure of the whole model within ``intervene``. The model
must have no hooks, which would be left out. What stands at the site is kept of all sequences at once, so pass a few
hundred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.analysis.ablations import nodes_of
from rtinterp.analysis.activations import activations_at_sites, residual_sites
from rtinterp.analysis.circuits import Measure
from rtinterp.analysis.interventions import Intervention, changed
from rtinterp.analysis.layer_parts import check_plain, logits_from, logits_from_part
from rtinterp.analysis.predictions import is_right
from rtinterp.analysis.slices import ACTIVATIONS_PER_SLICE, rows_of
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


#: What the heads and the MLP of a layer read, by where they write.
READ_FROM = {"attn.hook_z": "hook_resid_pre", "hook_mlp_out": "hook_resid_mid"}


class Continuation:
    """The rest of a transformer after a site of its residual stream or of a layer, on a batch's scored predictions.

    Attributes:
        site: one of ``residual_sites(model)``, a ``hook_resid_pre``, or what a layer's heads gather or its MLP writes:
            ``blocks.0.attn.hook_z``, ``blocks.0.hook_mlp_out``.
        activations: those of the intact model at the site, up to the last scored position.
        expected: what is expected of every scored prediction.

    Raises:
        ValueError: the site is another, nothing is scored, or the model is not a transformer with heads, or has hooks.
    """

    def __init__(self, model: HookedModel, batch: Batch, site: str) -> None:
        nodes_of(model)
        check_plain(model)
        parts = {
            f"blocks.{layer}.{written}": f"blocks.{layer}.{read}"
            for layer in range(model.cfg.n_layers)
            for written, read in READ_FROM.items()
        }
        starts = {f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)}
        if site not in {*residual_sites(model), *starts, *parts}:
            raise ValueError(
                f"{site!r} is no site of the residual stream, of heads or of an MLP; "
                f"pass one of {(*residual_sites(model), *parts)}"
            )
        if not batch.scored.any():
            raise ValueError("no position of the batch is scored; a task's sample() and test_set() score at least one")
        n_pos = int(batch.scored.any(dim=0).nonzero().max()) + 1
        self.site = site
        self._model, self._tokens = model, batch.tokens[:, :n_pos]
        self._scored = batch.scored[:, :n_pos].to(model.W_E.device)
        self.expected: Tensor = batch.scored_targets.to(model.W_E.device)
        found = activations_at_sites(model, self._tokens, [site, *([parts[site]] if site in parts else [])])
        self.activations: Float[Tensor, "batch pos *shape"] = found[site]
        self._stream = found.get(parts.get(site, ""))

    @torch.no_grad()
    def value(self, intervention: Intervention, measure: Measure = is_right) -> float:
        """Measure the model with an intervention at the site, averaged over scored predictions.

        Args:
            measure: ``is_right`` (accuracy), ``nats`` (cross-entropy), ``margins`` (logit difference), or one of your
                own.

        Raises:
            ValueError: an intervention at another site, or one that does not fit.
        """
        if intervention.site != self.site:
            raise ValueError(f"the intervention is at {intervention.site!r}; this goes on from {self.site!r}")
        return measure(self.logits(intervention), self.expected).double().mean().item()

    def logits(self, intervention: Intervention) -> Float[Tensor, "prediction d_vocab_out"]:
        """Compute the logits of every scored prediction, sequence after sequence; differentiable.

        Raises:
            ValueError: the intervention does not fit, or the model has got hooks.
        """
        check_plain(self._model)
        h = changed(intervention, self.activations, self._tokens)
        n_rows = rows_of(ACTIVATIONS_PER_SLICE, self._model, h.shape[1])
        return torch.cat([self._logits(h, slice(row, row + n_rows)) for row in range(0, len(h), n_rows)])

    def _logits(self, h: Float[Tensor, "batch pos *shape"], rows: slice) -> Float[Tensor, "prediction d_vocab_out"]:
        """The logits of some sequences, whose activations at the site are the rows of h."""
        if self._stream is None:
            return logits_from(self._model, self.site, h[rows], self._scored[rows])
        return logits_from_part(self._model, self.site, self._stream[rows], h[rows], self._scored[rows])
