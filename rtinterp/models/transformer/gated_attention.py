"""Gated linear attention of M stacked models: at every position, or at the scored ones alone.

The interface, and how rows and places go together, are those of ``rtinterp.models.transformer.attention``.
"""

from __future__ import annotations

import dataclasses

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine, take_rows
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.transformer.architecture import TransformerArchitecture
from rtinterp.models.transformer.attention import heads_last
from rtinterp.models.transformer.gates import gate_logarithms, gated_pattern, running_sum


@dataclasses.dataclass(frozen=True)
class GatedAttention:
    """The heads of one block up to, not including, W_O; ``qgkv`` makes queries, gates, keys and values."""

    architecture: TransformerArchitecture
    qgkv: Affine

    def project(self, normalised: Float[Tensor, "model source d_model"]) -> Float[Tensor, "model source qgkv"]:
        """What positions share that read the same: queries, what gates are made of, keys and values."""
        return self.qgkv(normalised)

    def at_every_prefix(
        self,
        qgkv: Float[Tensor, "model source qgkv"],
        source_at: Int64[Tensor, "model batch pos"],
        occurrence: Int64[Tensor, "model row"],
    ) -> Float[Tensor, "model row d_model"]:
        """Mixed values of all heads at every prefix."""
        n_models, n_batch, n_pos = source_at.shape
        q, opening, k, v = self._by_head(take_rows(qgkv, source_at.flatten(1)), n_batch)
        left = running_sum(gate_logarithms(opening))
        visible = torch.ones(n_pos, n_pos, dtype=torch.bool, device=q.device).tril()
        z = gated_pattern(q, k, left, left, visible).to(v.dtype) @ v
        return take_rows(heads_last(z, n_models), occurrence)

    def at_scored(
        self,
        normalised: Float[Tensor, "model row d_model"],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """Mixed values of all heads at the scored positions, from the normalised residual at every prefix."""
        n_models, n_batch, n_pos = prefixes.row_at.shape
        d_model = self.architecture.d_model
        scored_rows = prefixes.row_at.gather(-1, scored_positions).flatten(1)
        (q,) = self._by_head(self.qgkv.columns(0, d_model)(take_rows(normalised, scored_rows)), n_batch)
        gkv = self.qgkv.columns(d_model, 4 * d_model)(normalised)
        opening, k, v = self._by_head(take_rows(gkv, prefixes.row_at.flatten(1)), n_batch)
        left = running_sum(gate_logarithms(opening))
        at = scored_positions.flatten(0, 1)[:, None, :, None]
        left_at_query = left.gather(-2, at.expand(-1, left.shape[1], -1, left.shape[3]))
        visible = torch.arange(n_pos, device=q.device) <= at
        return heads_last(gated_pattern(q, k, left_at_query, left, visible).to(v.dtype) @ v, n_models)

    def _by_head(
        self, parts: Float[Tensor, "model position columns"], n_batch: int
    ) -> Float[Tensor, "part sequence head pos d_head"]:
        pattern = "model (batch pos) (part head d_head) -> part (model batch) head pos d_head"
        n_heads, d_head = self.architecture.n_heads, self.architecture.d_head
        return rearrange(parts.to(self.qgkv.weight.dtype), pattern, batch=n_batch, head=n_heads, d_head=d_head)
