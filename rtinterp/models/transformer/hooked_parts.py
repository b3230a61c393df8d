"""Which parts with hook points an architecture is made of. Importing this takes seconds."""

from __future__ import annotations

from torch import nn
from transformer_lens.config import TransformerBridgeConfig

from rtinterp.models.transformer.activations import activation_of
from rtinterp.models.transformer.architecture import TransformerArchitecture
from rtinterp.models.transformer.gates import GATED
from rtinterp.models.transformer.hooked_block import HookedAttention, HookedLayerNorm, HookedMLP, PrefixSumAttention
from rtinterp.models.transformer.hooked_gated_attention import HookedGatedAttention
from rtinterp.models.transformer.hooked_linear_attention import HookedLinearAttention
from rtinterp.models.transformer.hooked_variants import HookedGatedMLP, HookedRMSNorm, MixingAttention, RotaryAttention
from rtinterp.models.transformer.linear_attention import LINEAR_KINDS
from rtinterp.models.transformer.multipliers import Factors


def attention(cfg: TransformerBridgeConfig, architecture: TransformerArchitecture) -> nn.Module:
    """The heads of a block."""
    factors = Factors.of(architecture)
    if architecture.mixes_at_random:
        return MixingAttention(cfg, factors, architecture.mixing_length or cfg.n_ctx)
    if architecture.attention == "prefix_sum":
        return PrefixSumAttention(cfg, factors)
    if architecture.attention == GATED:
        return HookedGatedAttention(cfg, factors)
    if architecture.attention in LINEAR_KINDS:
        return HookedLinearAttention(cfg, factors, architecture.attention)
    kind = RotaryAttention if architecture.positions == "rotary" else HookedAttention
    return kind(cfg, factors)


def mlp(architecture: TransformerArchitecture) -> nn.Module:
    """The MLP of a block."""
    kind = HookedMLP if architecture.mlp == "plain" else HookedGatedMLP
    return kind(architecture.d_model, architecture.d_mlp, activation_of(architecture), Factors.of(architecture))


def norm(cfg: TransformerBridgeConfig, architecture: TransformerArchitecture, factor: float = 1.0) -> nn.Module:
    """A norm, and a factor of what it gives."""
    kind = HookedLayerNorm if architecture.norm == "layer_norm" else HookedRMSNorm
    return kind(cfg, factor)
