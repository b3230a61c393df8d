"""M Mambas of one shape in one forward pass; states are float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.mamba.architecture import MambaArchitecture
from rtinterp.models.mamba.mixer import Mixer
from rtinterp.models.state_space import StackedLayers, of_mixer
from rtinterp.models.transformer.norms import RMSNorm

#: The official code's.
NORM_EPS = 1e-5


@dataclasses.dataclass(frozen=True)
class MambaLayer:
    """A norm and what is added to the residual stream after it."""

    norm: RMSNorm
    mixer: Mixer

    def channels(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row two_channels"]:
        """What positions share that read the same: channels and their gates."""
        return self.mixer.to_channels(self.norm(x)).float()

    def at_places(
        self, channels: Float[Tensor, "model batch pos two_channels"]
    ) -> Float[Tensor, "model place channel"]:
        """What channels give, gated, at every place."""
        return self.mixer(channels)

    def added_to(
        self, x: Float[Tensor, "model row d_model"], given: Float[Tensor, "model row channel"]
    ) -> Float[Tensor, "model row d_model"]:
        """The residual stream after the layer."""
        return self.mixer.to_residual.added_to(x, given)


def stack_mamba(
    architecture: MambaArchitecture,
    tensors: Mapping[str, Float[Tensor, "model ..."]],
    dtype: torch.dtype = torch.float32,
) -> StackedLayers:
    """Lay out stacked parameters, by name, for the forward pass; differentiable.

    Args:
        dtype: of the layers' matrix products. Norms, convolutions and states stay float32.
    """
    layers = [
        MambaLayer(_norm(tensors[f"blocks.{index}.ln1.w"]), Mixer.of(architecture, of_mixer(tensors, index), dtype))
        for index in range(architecture.n_layers)
    ]
    return StackedLayers(layers, _norm(tensors["ln_final.w"]))


def _norm(gain: Float[Tensor, "model d_model"]) -> RMSNorm:
    return RMSNorm(gain.unsqueeze(1), NORM_EPS)
