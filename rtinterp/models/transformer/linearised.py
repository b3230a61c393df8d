"""Attention of the linearised transformer with TransformerLens's hook points. Importing this takes seconds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import HookedTransformer
from transformer_lens.cache.key_value_cache_entry import TransformerLensKeyValueCacheEntry
from transformer_lens.components import Attention


class PrefixSumAttention(Attention):
    """Attention whose pattern is a lower triangle of ones, not normalised (paper Table 9).

    The hook points are the usual ones and change the run as usual, ``hook_pattern`` included. ``hook_attn_scores`` is
    never called, since there are no scores; queries and keys are computed for their hooks alone.
    """

    def forward(
        self,
        query_input: Float[Tensor, "batch pos *head d_model"],
        key_input: Float[Tensor, "batch pos *head d_model"],
        value_input: Float[Tensor, "batch pos *head d_model"],
        past_kv_cache_entry: TransformerLensKeyValueCacheEntry | None = None,
        additive_attention_mask: None = None,
        attention_mask: Int[Tensor, "batch key_pos"] | None = None,
        position_bias: None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """What the heads write to the residual stream. Positions that ``attention_mask`` hides are not summed."""
        q, k, v = self.calculate_qkv_matrices(query_input, key_input, value_input)
        if past_kv_cache_entry is not None:
            k, v = past_kv_cache_entry.append(k, v)
        n_queries, n_keys = q.shape[1], k.shape[1]
        visible = torch.ones(n_queries, n_keys, device=v.device, dtype=v.dtype).tril(n_keys - n_queries)
        if attention_mask is not None:
            visible = visible * attention_mask[:, None, None].to(visible)
        pattern = self.hook_pattern(visible.expand(len(q), self.cfg.n_heads, -1, -1).clone())
        z = self.calculate_z_scores(v, pattern)
        if self.cfg.use_attn_result:
            return self.hook_result(torch.einsum("bphd,hdm->bphm", z, self.W_O)).sum(2) + self.b_O
        return F.linear(z.flatten(2), self.W_O.flatten(0, 1).T, self.b_O)


def linearise(model: HookedTransformer) -> None:
    """Give every block, in place, prefix-sum attention; its weights are still to be loaded."""
    for layer, block in enumerate(model.blocks):
        block.attn = PrefixSumAttention(block.attn.cfg, "global", layer).to(block.attn.W_Q.device)
    model.setup()
