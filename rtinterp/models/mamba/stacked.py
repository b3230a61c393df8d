"""M Mambas of one shape in one forward pass; states are float32.

Each distinct entry goes through the first layer's norm and its first map once, each distinct prefix through those of
the others once. The recurrences run over whole sequences; only scored positions go through the last layer's map back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import take_rows
from rtinterp.models.mamba.architecture import MambaArchitecture
from rtinterp.models.mamba.mixer import Mixer
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.transformer.norms import RMSNorm

#: The official code's.
NORM_EPS = 1e-5


@dataclasses.dataclass(frozen=True)
class Layer:
    """A norm and what is added to the residual stream after it."""

    norm: RMSNorm
    mixer: Mixer

    def channels(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row two_channels"]:
        """What positions share that read the same."""
        return self.mixer.to_channels(self.norm(x)).float()


@dataclasses.dataclass(frozen=True)
class StackedMamba:
    """The layers of M models, laid out for batched matrix multiplication."""

    layers: tuple[Layer, ...]
    ln_final: RMSNorm

    def shared(self, x: Float[Tensor, "model entry d_model"]) -> list[Float[Tensor, "model entry columns"]]:
        """What entries share: their embedding, and what the first layer makes of it alone."""
        return [x, self.layers[0].channels(x)]

    def scored_residual(
        self,
        shared: list[Float[Tensor, "model entry columns"]],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """What the unembedding reads at the scored positions: the residual stream after the final norm."""
        n_batch, n_pos = prefixes.row_at.shape[1:]
        x = take_rows(shared[0], prefixes.entries)
        channels, source_at = shared[1], prefixes.entry_at
        for layer, following in zip(self.layers[:-1], self.layers[1:], strict=True):
            y = self._at_places(layer, channels, source_at)
            x = layer.mixer.to_residual.added_to(x, take_rows(y, prefixes.occurrence))
            channels, source_at = following.channels(x), prefixes.row_at
        last = self.layers[-1]
        y = self._at_places(last, channels, source_at)
        sequence = torch.arange(n_batch, device=scored_positions.device)[:, None]
        y = take_rows(y, (sequence * n_pos + scored_positions).flatten(1))
        x = take_rows(x, prefixes.row_at.gather(-1, scored_positions).flatten(1))
        return self.ln_final(last.mixer.to_residual.added_to(x, y))

    @staticmethod
    def _at_places(
        layer: Layer, channels: Float[Tensor, "model source two_channels"], source_at: Int64[Tensor, "model batch pos"]
    ) -> Float[Tensor, "model place channel"]:
        """Padding has what the first source has, and no place reads it: it comes after the last scored position."""
        return layer.mixer(take_rows(channels, source_at.flatten(1)).unflatten(1, source_at.shape[1:]))


def stack_mamba(
    architecture: MambaArchitecture,
    tensors: Mapping[str, Float[Tensor, "model ..."]],
    dtype: torch.dtype = torch.float32,
) -> StackedMamba:
    """Lay out stacked parameters, by name, for the forward pass; differentiable.

    Args:
        dtype: of the layers' matrix products. Norms, convolutions and states stay float32.
    """

    def layer(block: str) -> Layer:
        prefix = f"{block}.mixer."
        of_mixer = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        return Layer(_norm(tensors[f"{block}.ln1.w"]), Mixer.of(architecture, of_mixer, dtype))

    layers = tuple(layer(f"blocks.{index}") for index in range(architecture.n_layers))
    return StackedMamba(layers, _norm(tensors["ln_final.w"]))


def _norm(gain: Float[Tensor, "model d_model"]) -> RMSNorm:
    return RMSNorm(gain.unsqueeze(1), NORM_EPS)
