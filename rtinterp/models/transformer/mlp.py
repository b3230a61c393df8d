"""The hidden layer of an MLP, of M stacked models."""

from __future__ import annotations

import dataclasses

from jaxtyping import Float
from torch import Tensor

from rtinterp.models.layers import Affine
from rtinterp.models.transformer.activations import Activation


@dataclasses.dataclass(frozen=True)
class PlainHidden:
    """The activation of one map."""

    mlp_in: Affine
    activation: Activation

    def __call__(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row d_mlp"]:
        return self.activation(self.mlp_in(x))


@dataclasses.dataclass(frozen=True)
class GatedHidden:
    """One map times the activation of another; both in one product, the gate's columns first."""

    gate_and_in: Affine
    activation: Activation

    def __call__(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row d_mlp"]:
        gate, mlp_in = self.gate_and_in(x).chunk(2, -1)
        return self.activation(gate) * mlp_in
