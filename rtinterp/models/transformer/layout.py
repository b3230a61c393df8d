"""The parts of a transformer block from the stacked tensors of M models, by TransformerLens name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from typing import Protocol

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine, LayerNorm
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.transformer.activations import activation_of
from rtinterp.models.transformer.architecture import TransformerArchitecture
from rtinterp.models.transformer.attention import Attention
from rtinterp.models.transformer.gated_attention import GatedAttention
from rtinterp.models.transformer.gates import GATED
from rtinterp.models.transformer.mixing_attention import MixingAttention
from rtinterp.models.transformer.mlp import GatedHidden, PlainHidden
from rtinterp.models.transformer.multipliers import Factors, times
from rtinterp.models.transformer.norms import RMSNorm
from rtinterp.models.transformer.residual import ScaledSkip


class Heads(Protocol):
    """The heads of one block up to, not including, W_O."""

    def project(self, normalised: Float[Tensor, "model source d_model"]) -> Float[Tensor, "model source columns"]: ...
    def at_every_prefix(
        self,
        projected: Float[Tensor, "model source columns"],
        source_at: Int64[Tensor, "model batch pos"],
        occurrence: Int64[Tensor, "model row"],
        /,
    ) -> Float[Tensor, "model row d_model"]: ...
    def at_scored(
        self,
        normalised: Float[Tensor, "model row d_model"],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]: ...


@dataclasses.dataclass(frozen=True)
class Layout:
    """Parts of M models as the forward pass reads them; differentiable.

    Attributes:
        frozen: names that will never change; those at the identity (zero biases, unit gains) cost nothing.
        dtype: of matrix products.
    """

    architecture: TransformerArchitecture
    tensors: Mapping[str, Float[Tensor, "model ..."]]
    frozen: Set[str]
    dtype: torch.dtype

    def norm(self, name: str, factor: float = 1.0) -> LayerNorm | RMSNorm:
        """A norm whose output is multiplied by a factor."""
        gain = self._row(f"{name}.w", identity=1.0)
        if factor != 1.0:
            gain = factor * self.tensors[f"{name}.w"].unsqueeze(1)
        if self.architecture.norm == "rms_norm":
            return RMSNorm(gain)
        bias = self._row(f"{name}.b")
        return LayerNorm(gain, None if bias is None else times(factor, bias))

    def heads(self, attn: str) -> Heads:
        """The heads up to, not including, W_O."""
        is_gated = self.architecture.attention == GATED
        # Values come last.
        names = "V" if self.architecture.mixes_at_random else "QGKV" if is_gated else "QKV"
        value_factor = Factors.of(self.architecture).usual
        weights = [rearrange(self.tensors[f"{attn}.W_{x}"], "model head d h -> model d (head h)") for x in names]
        bias = self._row(*(f"{attn}.b_{x}" for x in names))
        weight = torch.cat([*weights[:-1], times(value_factor, weights[-1])], -1)
        if bias is not None and value_factor != 1.0:
            *others, value = bias.chunk(len(names), -1)
            bias = torch.cat([*others, value_factor * value], -1)
        affine = self._affine(weight, bias)
        if self.architecture.mixes_at_random:
            return MixingAttention(self.architecture, affine, self.tensors[f"{attn}.mixing"])
        return (GatedAttention if is_gated else Attention)(self.architecture, affine)

    def attn_out(self, attn: str) -> Affine | ScaledSkip:
        """The map from mixed values to the residual stream."""
        weight, bias = self.tensors[f"{attn}.W_O"].flatten(1, 2), self._row(f"{attn}.b_O")
        return self._to_residual(weight, bias, Factors.of(self.architecture).attn_out)

    def mlp_hidden(self, mlp: str) -> PlainHidden | GatedHidden:
        """The MLP's hidden layer."""
        factor, activation = Factors.of(self.architecture).usual, activation_of(self.architecture)
        if self.architecture.mlp == "plain":
            return PlainHidden(self._scaled(self.tensors[f"{mlp}.W_in"], self._row(f"{mlp}.b_in"), factor), activation)
        weight = torch.cat([self.tensors[f"{mlp}.W_gate"], self.tensors[f"{mlp}.W_in"]], -1)
        bias = self._row(f"{mlp}.b_gate", f"{mlp}.b_in")
        return GatedHidden(self._scaled(weight, bias, factor), activation)

    def mlp_out(self, mlp: str) -> Affine | ScaledSkip:
        """The map from the hidden layer to the residual stream."""
        weight, bias = self.tensors[f"{mlp}.W_out"], self._row(f"{mlp}.b_out")
        return self._to_residual(weight, bias, Factors.of(self.architecture).mlp_out)

    def _to_residual(
        self, weight: Float[Tensor, "model d_in d_out"], bias: Float[Tensor, "model 1 d_out"] | None, factor: float
    ) -> Affine | ScaledSkip:
        out, skip = self._scaled(weight, bias, factor), Factors.of(self.architecture).skip
        return out if skip == 1.0 else ScaledSkip(out, skip)

    def _scaled(
        self, weight: Float[Tensor, "model d_in d_out"], bias: Float[Tensor, "model 1 d_out"] | None, factor: float
    ) -> Affine:
        return self._affine(times(factor, weight), None if bias is None else times(factor, bias))

    def _affine(self, weight: Float[Tensor, "model d_in d_out"], bias: Float[Tensor, "model 1 d_out"] | None) -> Affine:
        return Affine(weight, bias).to(self.dtype).as_convolution()

    def _row(self, *names: str, identity: float = 0.0) -> Float[Tensor, "model 1 columns"] | None:
        flat = torch.cat([self.tensors[name].flatten(1) for name in names], -1).unsqueeze(1)
        return None if self.frozen >= set(names) and bool((flat == identity).all()) else flat
