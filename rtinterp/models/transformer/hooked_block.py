"""The parts of a transformer block with HookedTransformer's hook points. Importing this takes seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformer_lens import FactoredMatrix
from transformer_lens.cache.key_value_cache_entry import TransformerLensKeyValueCacheEntry
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.hook_points import HookPoint

from rtinterp.models.hooked_embedding import zeros
from rtinterp.models.transformer.activations import Activation, gelu_new
from rtinterp.models.transformer.multipliers import NO_FACTORS, Factors, times


class HookedLayerNorm(nn.Module):
    """LayerNorm with a gain and a bias; ``hook_normalized`` is before both, and a factor after."""

    def __init__(self, cfg: TransformerBridgeConfig, factor: float = 1.0) -> None:
        super().__init__()
        self.eps, self.factor = cfg.eps, factor
        self.w, self.b = zeros(cfg.d_model), zeros(cfg.d_model)
        self.hook_scale, self.hook_normalized = HookPoint(), HookPoint()

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        x = x - x.mean(-1, keepdim=True)
        scale = self.hook_scale((x.square().mean(-1, keepdim=True) + self.eps).sqrt())
        return times(self.factor, self.hook_normalized(x / scale) * self.w + self.b)


class HookedAttention(nn.Module):
    """Softmax attention. Subclasses have another ``pattern``."""

    def __init__(self, cfg: TransformerBridgeConfig, factors: Factors = NO_FACTORS) -> None:
        super().__init__()
        self.cfg, self.factors = cfg, factors
        read, biases = (cfg.n_heads, cfg.d_model, cfg.d_head), (cfg.n_heads, cfg.d_head)
        self.W_Q, self.W_O = zeros(*read), zeros(cfg.n_heads, cfg.d_head, cfg.d_model)
        self.b_Q, self.b_O = zeros(*biases), zeros(cfg.d_model)
        self.W_K, self.W_V, self.b_K, self.b_V = zeros(*read), zeros(*read), zeros(*biases), zeros(*biases)
        # Not used: they make the state dict one that HookedTransformer loads.
        self.register_buffer("mask", torch.empty((0, 0), dtype=torch.bool))
        self.register_buffer("IGNORE", torch.tensor(-torch.inf))
        self.hook_k, self.hook_q, self.hook_v, self.hook_z = HookPoint(), HookPoint(), HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern, self.hook_result = HookPoint(), HookPoint(), HookPoint()

    @property
    def QK(self) -> FactoredMatrix:
        return FactoredMatrix(self.W_Q, self.W_K.transpose(-2, -1))

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
        """What the heads write to the residual stream. Inputs have an axis head if each head has its own."""
        q, k, v = self.read(query_input, key_input, value_input)
        if past_kv_cache_entry is not None:
            k, v = past_kv_cache_entry.append(k, v)
        return written_by(self, self.mixed(q, k, v, visible))

    def read(
        self,
        query_input: Float[Tensor, "batch pos *head d_model"],
        key_input: Float[Tensor, "batch pos *head d_model"],
        value_input: Float[Tensor, "batch pos *head d_model"],
    ) -> tuple[Float[Tensor, "batch pos head d_head"], ...]:
        """Queries, keys and values."""
        q = self.hook_q(to_heads(query_input, self.W_Q) + self.b_Q)
        k = self.hook_k(to_heads(key_input, self.W_K) + self.b_K)
        v = self.hook_v(times(self.factors.usual, to_heads(value_input, self.W_V) + self.b_V))
        return q, k, v

    def mixed(
        self,
        q: Float[Tensor, "batch query_pos head d_head"],
        k: Float[Tensor, "batch key_pos head d_head"],
        v: Float[Tensor, "batch key_pos head d_head"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
    ) -> Float[Tensor, "batch query_pos head d_head"]:
        """The values of all keys, as far as each query takes them."""
        return torch.einsum("bhqk,bkhd->bqhd", self.pattern(q, k, visible), v)

    def pattern(
        self,
        q: Float[Tensor, "batch query_pos head d_head"],
        k: Float[Tensor, "batch key_pos head d_head"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
    ) -> Float[Tensor, "batch head query_pos key_pos"]:
        """How much each query takes from each key: nothing where nothing is visible."""
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(self.cfg.d_head)
        scores = self.hook_attn_scores(scores.masked_fill(~visible, -torch.inf))
        return self.hook_pattern(scores.softmax(-1).nan_to_num(nan=0.0))


class PrefixSumAttention(HookedAttention):
    """Attention whose pattern is a lower triangle of ones, not normalised (paper Table 9).

    The hook points are the usual ones and change the run as usual, ``hook_pattern`` included. ``hook_attn_scores`` is
    never called, since there are no scores; queries and keys are computed for their hooks alone.
    """

    def pattern(
        self,
        q: Float[Tensor, "batch query_pos head d_head"],
        k: Float[Tensor, "batch key_pos head d_head"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
    ) -> Float[Tensor, "batch head query_pos key_pos"]:
        """One where a key is visible, and zero elsewhere."""
        return self.hook_pattern(visible.to(q.dtype).expand(len(q), self.cfg.n_heads, -1, -1).clone())


class HookedMLP(nn.Module):
    """Two linear maps with an activation between them."""

    def __init__(
        self,
        d_model: int,
        d_mlp: int,
        activation: Activation = gelu_new,
        factors: Factors = NO_FACTORS,
    ) -> None:
        super().__init__()
        self.activation, self.factors = activation, factors
        self.W_in, self.b_in = zeros(d_model, d_mlp), zeros(d_mlp)
        self.W_out, self.b_out = zeros(d_mlp, d_model), zeros(d_model)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        pre = self.hook_pre(times(self.factors.usual, x @ self.W_in + self.b_in))
        return times(self.factors.mlp_out, self.hook_post(self.activation(pre)) @ self.W_out + self.b_out)


class HookedBlock(nn.Module):
    """Attention, then an MLP, each after a norm and added to the residual stream.

    Args:
        attn: called as HookedAttention is.
        mlp: maps the normalised residual stream to what is added to it.
        norm: makes a norm from the configuration.
        factors: of the residual stream; what attention and MLP give has theirs already.
    """

    #: TransformerLens 4's logit lens asks for it: ``hook_resid_post`` is what the next layer or ``ln_final`` reads.
    hook_out_is_single_residual_stream: ClassVar[bool] = True

    def __init__(
        self,
        cfg: TransformerBridgeConfig,
        attn: nn.Module,
        mlp: nn.Module,
        norm: Callable[[TransformerBridgeConfig], nn.Module] = HookedLayerNorm,
        factors: Factors = NO_FACTORS,
    ) -> None:
        super().__init__()
        self.cfg, self.factors = cfg, factors
        self.ln1, self.ln2, self.attn, self.mlp = norm(cfg), norm(cfg), attn, mlp
        self.hook_attn_in, self.hook_q_input, self.hook_k_input = HookPoint(), HookPoint(), HookPoint()
        self.hook_v_input, self.hook_mlp_in = HookPoint(), HookPoint()
        self.hook_attn_out, self.hook_mlp_out = HookPoint(), HookPoint()
        self.hook_resid_pre, self.hook_resid_mid, self.hook_resid_post = HookPoint(), HookPoint(), HookPoint()

    @property
    def is_gpt2(self) -> bool:
        """Whether the block computes what GPT-2's does."""
        parts = (type(self.attn), type(self.mlp), type(self.ln1), type(self.ln2))
        is_gpt2 = parts == (HookedAttention, HookedMLP, HookedLayerNorm, HookedLayerNorm)
        return is_gpt2 and self.factors == NO_FACTORS and self.mlp.activation is gelu_new

    def forward(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
        past_kv_cache_entry: TransformerLensKeyValueCacheEntry | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        resid_pre = self.hook_resid_pre(resid_pre)
        inputs = (self.ln1(x) for x in self._attention_inputs(resid_pre))
        attn_out = self.hook_attn_out(self.attn(*inputs, visible, past_kv_cache_entry))
        resid_mid = self.hook_resid_mid(times(self.factors.skip, resid_pre) + attn_out)
        mlp_in = self.hook_mlp_in(resid_mid.clone()) if self.cfg.use_hook_mlp_in else resid_mid
        return self.hook_resid_post(times(self.factors.skip, resid_mid) + self.hook_mlp_out(self.mlp(self.ln2(mlp_in))))

    def _attention_inputs(
        self, resid_pre: Float[Tensor, "batch pos d_model"]
    ) -> tuple[Float[Tensor, "batch pos *head d_model"], ...]:
        """What queries, keys and values read; a copy for each head where its hook is switched on."""

        def for_heads() -> Float[Tensor, "batch pos head d_model"]:
            return resid_pre.unsqueeze(2).repeat(1, 1, self.cfg.n_heads, 1)

        attn_in = self.hook_attn_in(for_heads()) if self.cfg.use_attn_in else resid_pre
        if not self.cfg.use_split_qkv_input:
            return attn_in, attn_in, attn_in
        return self.hook_q_input(for_heads()), self.hook_k_input(for_heads()), self.hook_v_input(for_heads())


def to_heads(
    x: Float[Tensor, "batch pos *head d_model"], weight: Float[Tensor, "head d_model d_head"]
) -> Float[Tensor, "batch pos head d_head"]:
    return torch.einsum("bpm,hmd->bphd" if x.ndim == 3 else "bphm,hmd->bphd", x, weight)


def written_by(attn: Any, z: Float[Tensor, "batch pos head d_head"]) -> Float[Tensor, "batch pos d_model"]:
    """What heads add to the residual stream from their mixed values, which ``hook_z`` of the module gets."""
    z, factor = attn.hook_z(z), attn.factors.attn_out
    if attn.cfg.use_attn_result:
        result = attn.hook_result(times(factor, torch.einsum("bphd,hdm->bphm", z, attn.W_O)))
        return result.sum(2) + times(factor, attn.b_O)
    return times(factor, z.flatten(2) @ attn.W_O.flatten(0, 1) + attn.b_O)
