"""Attention without softmax with HookedTransformer's hook points, and its state. Importing this takes seconds."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.hook_points import HookPoint

from rtinterp.models.transformer.hooked_block import HookedAttention
from rtinterp.models.transformer.linear_attention import (
    LinearKind,
    featured,
    linear_pattern,
    linear_scores,
    states,
)
from rtinterp.models.transformer.multipliers import Factors


class HookedLinearAttention(HookedAttention):
    """Heads whose scores are what they take: each a linear recurrent network as well.

    ``hook_attn_scores`` has the products of queries and keys, 0 where nothing is visible, and ``hook_pattern`` what is
    left of them once they have faded or been divided; only with ``linear_normalised`` it is positive and adds up to 1.
    ``hook_state`` [batch pos head d_head d_head], rows for keys and columns for values, is what a query reads, after
    every position. It is computed where something is hooked on it, as caching everything does, and a change there moves
    what the queries of its position take.
    """

    def __init__(self, cfg: TransformerBridgeConfig, factors: Factors, kind: LinearKind) -> None:
        super().__init__(cfg, factors)
        self.kind: LinearKind = kind
        self.hook_state = HookPoint()

    def pattern(
        self,
        q: Float[Tensor, "batch query_pos head d_head"],
        k: Float[Tensor, "batch key_pos head d_head"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
    ) -> Float[Tensor, "batch head query_pos key_pos"]:
        """How much each query takes from each key: nothing where nothing is visible."""
        scores = linear_scores(self.kind, q.transpose(1, 2), k.transpose(1, 2)).masked_fill(~visible, 0.0)
        key_position = torch.arange(k.shape[1], device=k.device)
        # Queries are those of the last positions where there is a cache of keys.
        distance = key_position[k.shape[1] - q.shape[1] :, None] - key_position
        return self.hook_pattern(
            linear_pattern(self.kind, self.hook_attn_scores(scores), distance[None, None], visible)
        )

    def mixed(
        self,
        q: Float[Tensor, "batch query_pos head d_head"],
        k: Float[Tensor, "batch key_pos head d_head"],
        v: Float[Tensor, "batch key_pos head d_head"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
    ) -> Float[Tensor, "batch query_pos head d_head"]:
        """The values of all keys, as far as each query takes them, and what a change of the state adds."""
        z = super().mixed(q, k, v, visible)
        if not self.hook_state.has_hooks():
            return z
        # The last query sees whatever any does.
        state = states(self.kind, k, v, visible[:, 0, -1])[:, k.shape[1] - q.shape[1] :]
        added = self.hook_state(state) - state
        return z + torch.einsum("bqhi,bqhij->bqhj", self._read_by(q, k, visible), added)

    def _read_by(
        self,
        q: Float[Tensor, "batch query_pos head d_head"],
        k: Float[Tensor, "batch key_pos head d_head"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
    ) -> Float[Tensor, "batch query_pos head d_head"]:
        """The row of the state, over the key's dimensions, that each query reads."""
        if self.kind != "linear_normalised":
            return q / self.cfg.d_head**0.5
        scores = linear_scores(self.kind, q.transpose(1, 2), k.transpose(1, 2)).masked_fill(~visible, 0.0)
        return featured(self.kind, q) / scores.sum(-1).clamp(min=torch.finfo(q.dtype).tiny).transpose(1, 2)[..., None]
