"""Causal attention of M stacked models: at every position, or at the scored ones alone.

An example with one model (M = 1) of d_model 8 and two heads, on two sequences of three tokens, ``a b c`` and ``a b d``:
they have four distinct prefixes, ``a``, ``a b``, ``a b c`` and ``a b d``, which are the rows of every activation. The
residual stream is [1 4 8], and queries, keys and values, side by side, are [1 4 24]. ``at_every_prefix`` spreads them
over the places of the batch, [1 2 3] of row numbers 0 1 2 and 0 1 3, where the heads see sequences (q, k and v are
[2 2 3 4]: sequence, head, pos, d_head), and collects one place of every prefix again: [1 4 8]. Where only the last
position of either sequence is scored, ``at_scored`` makes queries at two rows alone, and returns [1 2 8].
"""

from __future__ import annotations

import dataclasses
import math
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from rtinterp.models.layers import Affine, take_rows
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.transformer.architecture import TransformerArchitecture
from rtinterp.models.transformer.linear_attention import LINEAR_KINDS, LinearKind, linear_pattern, linear_scores
from rtinterp.models.transformer.rotary import rotated
from rtinterp.models.transformer.value_mixing import is_clearly_cheaper, mix_residuals

#: On a CPU the fused kernel is slower than the plain computation below this length, and in half precision always.
FUSED_FROM_POSITIONS = 5
#: A GPU's fused kernels have the batch on an axis of their grid, which ends at 65,535.
SEQUENCES_PER_KERNEL = 2**15


@dataclasses.dataclass(frozen=True)
class Attention:
    """The heads of one block up to, not including, W_O; ``qkv`` makes queries, keys and values in one product."""

    architecture: TransformerArchitecture
    qkv: Affine

    def project(self, normalised: Float[Tensor, "model source d_model"]) -> Float[Tensor, "model source qkv"]:
        """What positions share that read the same: queries, keys and values."""
        return self.qkv(normalised)

    def at_every_prefix(
        self,
        qkv: Float[Tensor, "model source qkv"],
        source_at: Int64[Tensor, "model batch pos"],
        occurrence: Int64[Tensor, "model row"],
    ) -> Float[Tensor, "model row d_model"]:
        """Mixed values of all heads at every prefix.

        Args:
            qkv: queries, keys and values, of distinct entries or of distinct prefixes.
            source_at: which of them each place of the batch has.
            occurrence: one place of each prefix, as an index into the flattened ``batch pos``.
        """
        n_models, n_batch, _ = source_at.shape
        qkv = take_rows(qkv, source_at.flatten(1)).to(self.qkv.weight.dtype)
        pattern = "model (batch pos) (part head d_head) -> part (model batch) head pos d_head"
        q, k, v = rearrange(qkv, pattern, batch=n_batch, part=3, head=self.architecture.n_heads)
        if self.architecture.positions == "rotary":
            positions = torch.arange(source_at.shape[-1], device=q.device)
            q, k = rotated(q, positions), rotated(k, positions)
        z = self._mixed(q, k, v)
        return take_rows(heads_last(z, n_models), occurrence)

    def at_scored(
        self,
        normalised: Float[Tensor, "model row d_model"],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """Compute the mixed values of all heads at the scored positions, from the normalised residual at every prefix.

        Keys and values are linear in the residual, so where few positions are scored, the query goes through ``W_K``
        instead of every key, and the mixed residual through ``W_V`` instead of every value.
        """
        n_batch, n_pos = prefixes.row_at.shape[1:]
        n_models, _, n_scored = scored_positions.shape
        d_model, places = self.architecture.d_model, prefixes.row_at.flatten(1)
        scored_rows = prefixes.row_at.gather(-1, scored_positions).flatten(1)
        q = self.qkv.columns(0, d_model)(take_rows(normalised, scored_rows))
        visible = torch.arange(n_pos, device=q.device) <= scored_positions.reshape(-1, 1, n_scored, 1)
        by_sequence = "model (batch pos) columns -> (model batch) pos columns"
        n_heads, is_rotary = self.architecture.n_heads, self.architecture.positions == "rotary"
        needs_no_keys = self.architecture.compares_keys_as_they_are
        if needs_no_keys and is_clearly_cheaper(n_batch * n_scored, n_pos, normalised.shape[1], d_model, n_heads):
            keys = rearrange(take_rows(normalised.to(q.dtype), places), by_sequence, batch=n_batch)
            return self._mix_residuals(rearrange(q, by_sequence, batch=n_batch), keys, visible, n_models)
        kv = take_rows(self.qkv.columns(d_model, 3 * d_model)(normalised), places)
        pattern = "model (batch pos) (part head d_head) -> part (model batch) head pos d_head"
        (q,) = rearrange(q, pattern, batch=n_batch, part=1, head=n_heads)
        k, v = rearrange(kv, pattern, batch=n_batch, part=2, head=n_heads)
        if is_rotary:
            q = rotated(q, scored_positions.view(-1, 1, n_scored))
            k = rotated(k, torch.arange(n_pos, device=k.device))
        if self.architecture.attention == "prefix_sum":
            return heads_last(visible.to(v.dtype) @ v, n_models)
        if self.architecture.attention in LINEAR_KINDS:
            return heads_last(self._linear(q, k, v, scored_positions.view(-1, 1, n_scored, 1), visible), n_models)
        return heads_last(_fused(q, k, v, visible), n_models)

    def _mixed(
        self,
        q: Float[Tensor, "sequence head pos d_head"],
        k: Float[Tensor, "sequence head pos d_head"],
        v: Float[Tensor, "sequence head pos d_head"],
    ) -> Float[Tensor, "sequence head pos d_head"]:
        """The mixed values at every position."""
        if self.architecture.attention in LINEAR_KINDS:
            positions = torch.arange(q.shape[-2], device=q.device)[:, None]
            return self._linear(q, k, v, positions, _lower_triangle(q))
        return _causal(q, k, v) if self.architecture.attention == "softmax" else _prefix_sum(v)

    def _linear(
        self,
        q: Float[Tensor, "sequence head query_pos d_head"],
        k: Float[Tensor, "sequence head key_pos d_head"],
        v: Float[Tensor, "sequence head key_pos d_head"],
        query_positions: Int64[Tensor, "*sequence query_pos 1"],
        visible: Bool[Tensor, "*sequence query_pos key_pos"],
    ) -> Float[Tensor, "sequence head query_pos d_head"]:
        kind = cast("LinearKind", self.architecture.attention)
        distance = query_positions - torch.arange(k.shape[-2], device=k.device)
        return linear_pattern(kind, linear_scores(kind, q, k), distance, visible).to(v.dtype) @ v

    def _mix_residuals(
        self,
        q: Float[Tensor, "sequence scored d_model"],
        residual: Float[Tensor, "sequence pos d_model"],
        visible: Bool[Tensor, "sequence 1 scored pos"],
        n_models: int,
    ) -> Float[Tensor, "model scored_row d_model"]:
        """The mixed values without keys and values. A key bias moves all scores of a query alike and drops out."""
        d_model, n_heads = self.architecture.d_model, self.architecture.n_heads
        by_head = "model d_in (head d_head) -> model head d_in d_head"
        w_k = rearrange(self.qkv.weight[..., d_model : 2 * d_model], by_head, head=n_heads)
        pattern = self._scored_pattern(q, residual, w_k, visible, n_models)
        return mix_residuals(pattern, residual, self.qkv.columns(2 * d_model, 3 * d_model), n_models, n_heads)

    def _scored_pattern(
        self,
        q: Float[Tensor, "sequence scored d_model"],
        residual: Float[Tensor, "sequence pos d_model"],
        w_k: Float[Tensor, "model head d_model d_head"],
        visible: Bool[Tensor, "sequence 1 scored pos"],
        n_models: int,
    ) -> Float[Tensor, "sequence head_scored pos"]:
        n_heads = self.architecture.n_heads
        if self.architecture.attention == "prefix_sum":
            return visible.to(residual.dtype).expand(-1, n_heads, -1, -1).flatten(1, 2)
        q = rearrange(
            q, "(model batch) scored (head d_head) -> model head (batch scored) d_head", model=n_models, head=n_heads
        )
        through_keys = rearrange(
            q @ w_k.transpose(-1, -2), "model head (batch scored) d_in -> (model batch) (head scored) d_in",
            scored=visible.shape[2],
        )  # fmt: skip
        scores = (through_keys @ residual.transpose(1, 2)).float() / math.sqrt(self.architecture.d_head)
        hidden = ~visible.expand(-1, n_heads, -1, -1).flatten(1, 2)
        return scores.masked_fill(hidden, -math.inf).softmax(-1).to(residual.dtype)


def _causal(
    q: Float[Tensor, "sequence head pos d_head"],
    k: Float[Tensor, "sequence head pos d_head"],
    v: Float[Tensor, "sequence head pos d_head"],
) -> Float[Tensor, "sequence head pos d_head"]:
    if q.is_cuda or (q.dtype == torch.float32 and q.shape[-2] >= FUSED_FROM_POSITIONS):
        return _fused(q, k, v, is_causal=True)
    scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(q.shape[-1])
    return (scores.masked_fill(~_lower_triangle(q), -math.inf).softmax(-1)).to(v.dtype) @ v


def _fused(
    *inputs: Shaped[Tensor, "sequence _ _ _"], is_causal: bool = False
) -> Float[Tensor, "sequence head pos d_head"]:
    """Attention of queries, keys, values and, if it is given, a mask, by as many sequences as a kernel takes."""
    parts = zip(*(tensor.split(SEQUENCES_PER_KERNEL) for tensor in inputs), strict=True)
    first, *others = [F.scaled_dot_product_attention(*part, is_causal=is_causal) for part in parts]
    return torch.cat([first, *others]) if others else first


def _prefix_sum(v: Float[Tensor, "sequence head pos d_head"]) -> Float[Tensor, "sequence head pos d_head"]:
    """The linearised transformer: a lower triangle of ones in place of softmax (paper Table 9)."""
    return v.cumsum(-2)


def _lower_triangle(q: Float[Tensor, "sequence head pos d_head"]) -> Bool[Tensor, "pos pos"]:
    return torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool, device=q.device).tril()


def heads_last(z: Float[Tensor, "sequence head pos d_head"], n_models: int) -> Float[Tensor, "model position d_model"]:
    """Heads side by side."""
    return rearrange(z, "(model batch) head pos d_head -> model (batch pos) (head d_head)", model=n_models)
