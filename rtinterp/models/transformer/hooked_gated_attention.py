"""Gated linear attention with hook points, those of its gates and its state too. Importing this takes seconds."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformer_lens.cache.key_value_cache_entry import TransformerLensKeyValueCacheEntry
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.hook_points import HookPoint

from rtinterp.models.hooked_embedding import zeros
from rtinterp.models.transformer.gates import (
    LEAST_LOG_GATE,
    gate_logarithms,
    gated_pattern,
    gated_states,
    running_sum,
)
from rtinterp.models.transformer.hooked_block import HookedAttention, to_heads, written_by
from rtinterp.models.transformer.multipliers import Factors


class HookedGatedAttention(HookedAttention):
    """Heads that are linear recurrent networks, whose states fade by as much as each token says.

    ``hook_gate`` [batch pos head d_head] is what each position leaves of every row of the state; what is written there
    is held between exp(-10) and 1, and gates read what keys read. ``hook_pattern`` has what a query takes from each key
    once that has faded, positive or not; ``hook_attn_scores`` is never called, since there is nothing before it.
    ``hook_state`` [batch pos head d_head d_head], rows for keys and columns for values, is what a query reads, after
    every position. It is computed where something is hooked on it, as caching everything does, and a change there moves
    what the queries of its position take. A masked position adds nothing and leaves all.
    """

    def __init__(self, cfg: TransformerBridgeConfig, factors: Factors) -> None:
        super().__init__(cfg, factors)
        self.W_G, self.b_G = zeros(cfg.n_heads, cfg.d_model, cfg.d_head), zeros(cfg.n_heads, cfg.d_head)
        self.hook_gate, self.hook_state = HookPoint(), HookPoint()

    def forward(
        self,
        query_input: Float[Tensor, "batch pos *head d_model"],
        key_input: Float[Tensor, "batch pos *head d_model"],
        value_input: Float[Tensor, "batch pos *head d_model"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
        past_kv_cache_entry: TransformerLensKeyValueCacheEntry | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """What the heads write to the residual stream. Inputs have an axis head if each head has its own."""
        q, k, v = self.read(query_input, key_input, value_input)
        gates = self.hook_gate(gate_logarithms(to_heads(key_input, self.W_G) + self.b_G).exp())
        log_gates = gates.log().clamp(min=LEAST_LOG_GATE, max=0.0)
        if past_kv_cache_entry is not None:
            # The cache has keys as they have faded until now; within it nothing fades.
            n_past = past_kv_cache_entry.past_keys.shape[1]
            log_gates = torch.cat([log_gates.new_zeros(len(k), n_past, *k.shape[2:]), log_gates], 1)
            k, v = past_kv_cache_entry.append(k, v)
        # The last query sees whatever any does.
        seen = visible[:, 0, -1]
        log_gates = log_gates.masked_fill(~seen[..., None, None], 0.0)
        left = running_sum(log_gates.transpose(1, 2))
        if past_kv_cache_entry is not None and not past_kv_cache_entry.frozen:
            past_kv_cache_entry.past_keys = k * (left[:, :, -1:] - left).exp().transpose(1, 2).to(k.dtype)
        n_queries = q.shape[1]
        pattern = gated_pattern(q.transpose(1, 2), k.transpose(1, 2), left[:, :, -n_queries:], left, visible)
        z = torch.einsum("bhqk,bkhd->bqhd", self.hook_pattern(pattern), v)
        if self.hook_state.has_hooks():
            state = gated_states(k, v, log_gates, seen)[:, -n_queries:]
            changed_by = self.hook_state(state) - state
            z = z + torch.einsum("bqhi,bqhij->bqhj", q, changed_by) / self.cfg.d_head**0.5
        return written_by(self, z)
