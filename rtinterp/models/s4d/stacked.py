"""M S4Ds of one shape in one forward pass; the recurrences are float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.layers import LayerNorm
from rtinterp.models.s4d.architecture import S4DArchitecture
from rtinterp.models.s4d.mixer import Mixer
from rtinterp.models.state_space import StackedLayers, of_mixer


@dataclasses.dataclass(frozen=True)
class S4DLayer:
    """A norm and what is added to the residual stream after it."""

    norm: LayerNorm
    mixer: Mixer

    def channels(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row d_model"]:
        """What positions share that read the same: the norm."""
        return self.norm(x)

    def at_places(self, channels: Float[Tensor, "model batch pos d_model"]) -> Float[Tensor, "model place d_model"]:
        """What the recurrence gives at every place."""
        return self.mixer.recurrence(channels).flatten(1, 2)

    def added_to(
        self, x: Float[Tensor, "model row d_model"], given: Float[Tensor, "model row d_model"]
    ) -> Float[Tensor, "model row d_model"]:
        """The residual stream after the layer."""
        return x + self.mixer.written(given)


def stack_s4d(
    architecture: S4DArchitecture,
    tensors: Mapping[str, Float[Tensor, "model ..."]],
    dtype: torch.dtype = torch.float32,
) -> StackedLayers:
    """Lay out stacked parameters, by name, for the forward pass; differentiable.

    Args:
        dtype: of the layers' matrix products.
    """

    def norm(name: str) -> LayerNorm:
        return LayerNorm(tensors[f"{name}.w"].unsqueeze(1), tensors[f"{name}.b"].unsqueeze(1))

    layers = [
        S4DLayer(norm(f"blocks.{index}.ln1"), Mixer.of(of_mixer(tensors, index), dtype))
        for index in range(architecture.n_layers)
    ]
    return StackedLayers(layers, norm("ln_final"))
