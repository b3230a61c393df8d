"""Parts of a transformer block that HookedTransformer has not, with its names. Importing this takes seconds."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformer_lens import FactoredMatrix
from transformer_lens.cache.key_value_cache_entry import TransformerLensKeyValueCacheEntry
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.hook_points import HookPoint

from rtinterp.models.hooked_embedding import zeros
from rtinterp.models.transformer.activations import Activation
from rtinterp.models.transformer.hooked_block import HookedAttention, to_heads, written_by
from rtinterp.models.transformer.multipliers import Factors, times
from rtinterp.models.transformer.rotary import rotated


class HookedRMSNorm(nn.Module):
    """RMSNorm with a gain; ``hook_normalized`` is before it."""

    def __init__(self, cfg: TransformerBridgeConfig, factor: float = 1.0) -> None:
        super().__init__()
        self.eps, self.factor = cfg.eps, factor
        self.w = zeros(cfg.d_model)
        self.hook_scale, self.hook_normalized = HookPoint(), HookPoint()

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        scale = self.hook_scale((x.square().mean(-1, keepdim=True) + self.eps).sqrt())
        return times(self.factor, self.hook_normalized(x / scale) * self.w)


class RotaryAttention(HookedAttention):
    """Softmax attention between rotated queries and keys, which ``hook_rot_q`` and ``hook_rot_k`` have.

    Positions count from the first key. Scores depend on distances alone, so padding to the left makes no difference.
    """

    def __init__(self, cfg: TransformerBridgeConfig, factors: Factors) -> None:
        super().__init__(cfg, factors)
        self.hook_rot_q, self.hook_rot_k = HookPoint(), HookPoint()

    def pattern(
        self,
        q: Float[Tensor, "batch query_pos head d_head"],
        k: Float[Tensor, "batch key_pos head d_head"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
    ) -> Float[Tensor, "batch head query_pos key_pos"]:
        """How much each query takes from each key."""
        positions = torch.arange(k.shape[1], device=k.device)
        # Queries are those of the last positions where there is a cache of keys.
        q = rotated(q.transpose(1, 2), positions[k.shape[1] - q.shape[1] :]).transpose(1, 2)
        k = rotated(k.transpose(1, 2), positions).transpose(1, 2)
        return super().pattern(self.hook_rot_q(q), self.hook_rot_k(k), visible)


class MixingAttention(nn.Module):
    """Heads without queries and keys, of which ``mixing`` is the pattern in every sequence.

    ``hook_pattern`` has it for each sequence, and what is written there changes the run.
    """

    def __init__(self, cfg: TransformerBridgeConfig, factors: Factors, length: int) -> None:
        super().__init__()
        self.cfg, self.factors = cfg, factors
        self.mixing = zeros(cfg.n_heads, length, length)
        self.W_V, self.b_V = zeros(cfg.n_heads, cfg.d_model, cfg.d_head), zeros(cfg.n_heads, cfg.d_head)
        self.W_O, self.b_O = zeros(cfg.n_heads, cfg.d_head, cfg.d_model), zeros(cfg.d_model)
        self.hook_v, self.hook_z = HookPoint(), HookPoint()
        self.hook_pattern, self.hook_result = HookPoint(), HookPoint()

    @property
    def OV(self) -> FactoredMatrix:
        return FactoredMatrix(self.W_V, times(self.factors.head, self.W_O))

    def forward(
        self,
        query_input: Float[Tensor, "batch pos *head d_model"],
        key_input: Float[Tensor, "batch pos *head d_model"],
        value_input: Float[Tensor, "batch pos *head d_model"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
        past_kv_cache_entry: TransformerLensKeyValueCacheEntry | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """What the heads write to the residual stream, which does not depend on what queries and keys would read.

        Raises:
            ValueError: there are more positions than the patterns have.
        """
        v = self.hook_v(times(self.factors.usual, to_heads(value_input, self.W_V) + self.b_V))
        if past_kv_cache_entry is not None:
            # There are no keys to keep.
            _, v = past_kv_cache_entry.append(v, v)
        n_keys, n_queries, length = v.shape[1], visible.shape[2], self.mixing.shape[-1]
        if n_keys > length:
            raise ValueError(f"sequences of {n_keys} positions are longer than the {length} of random mixing; cut them")
        rows = self.mixing[:, n_keys - n_queries : n_keys, :n_keys]
        pattern = self.hook_pattern((rows * visible).expand(len(v), -1, -1, -1).clone())
        return written_by(self, torch.einsum("bhqk,bkhd->bqhd", pattern, v))


class HookedGatedMLP(nn.Module):
    """A map times the activation of another, the gate; ``hook_pre`` is before that, ``hook_pre_linear`` the first."""

    def __init__(self, d_model: int, d_mlp: int, activation: Activation, factors: Factors) -> None:
        super().__init__()
        self.activation, self.factors = activation, factors
        self.W_gate, self.b_gate = zeros(d_model, d_mlp), zeros(d_mlp)
        self.W_in, self.b_in = zeros(d_model, d_mlp), zeros(d_mlp)
        self.W_out, self.b_out = zeros(d_mlp, d_model), zeros(d_model)
        self.hook_pre, self.hook_pre_linear, self.hook_post = HookPoint(), HookPoint(), HookPoint()

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        gate = self.hook_pre(times(self.factors.usual, x @ self.W_gate + self.b_gate))
        linear = self.hook_pre_linear(times(self.factors.usual, x @ self.W_in + self.b_in))
        post = self.hook_post(self.activation(gate) * linear)
        return times(self.factors.mlp_out, post @ self.W_out + self.b_out)
