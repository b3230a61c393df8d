"""M S4Ds of one shape in one forward pass; the recurrences are float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import LayerNorm, take_rows
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.s4d.architecture import S4DArchitecture
from rtinterp.models.s4d.mixer import Mixer


@dataclasses.dataclass(frozen=True)
class StackedS4D:
    """The layers of M models: norms, and what is added to the residual stream after each."""

    layers: tuple[tuple[LayerNorm, Mixer], ...]
    ln_final: LayerNorm

    def shared(self, x: Float[Tensor, "model entry d_model"]) -> list[Float[Tensor, "model entry columns"]]:
        """What entries share: their embedding, and its norm."""
        return [x, self.layers[0][0](x)]

    def scored_residual(
        self,
        shared: list[Float[Tensor, "model entry columns"]],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """What the unembedding reads at the scored positions: the residual stream after the final norm."""
        n_batch, n_pos = prefixes.row_at.shape[1:]
        x = take_rows(shared[0], prefixes.entries)
        normalised, source_at = shared[1], prefixes.entry_at
        for (_, mixer), (norm, _) in zip(self.layers[:-1], self.layers[1:], strict=True):
            given = self._at_places(mixer, normalised, source_at)
            x = x + mixer.written(take_rows(given, prefixes.occurrence))
            normalised, source_at = norm(x), prefixes.row_at
        mixer = self.layers[-1][1]
        given = self._at_places(mixer, normalised, source_at)
        sequence = torch.arange(n_batch, device=scored_positions.device)[:, None]
        x = take_rows(x, prefixes.row_at.gather(-1, scored_positions).flatten(1))
        return self.ln_final(x + mixer.written(take_rows(given, (sequence * n_pos + scored_positions).flatten(1))))

    @staticmethod
    def _at_places(
        mixer: Mixer, normalised: Float[Tensor, "model source d_model"], source_at: Int64[Tensor, "model batch pos"]
    ) -> Float[Tensor, "model place channel"]:
        """Padding has what the first source has, and no place reads it: it comes after the last scored position."""
        u = take_rows(normalised, source_at.flatten(1)).unflatten(1, source_at.shape[1:])
        return mixer.recurrence(u).flatten(1, 2)


def stack_s4d(
    architecture: S4DArchitecture,
    tensors: Mapping[str, Float[Tensor, "model ..."]],
    dtype: torch.dtype = torch.float32,
) -> StackedS4D:
    """Lay out stacked parameters, by name, for the forward pass; differentiable.

    Args:
        dtype: of the layers' matrix products.
    """

    def norm(name: str) -> LayerNorm:
        return LayerNorm(tensors[f"{name}.w"].unsqueeze(1), tensors[f"{name}.b"].unsqueeze(1))

    def layer(block: str) -> tuple[LayerNorm, Mixer]:
        prefix = f"{block}.mixer."
        of_mixer = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        return norm(f"{block}.ln1"), Mixer.of(of_mixer, dtype)

    return StackedS4D(tuple(layer(f"blocks.{index}") for index in range(architecture.n_layers)), norm("ln_final"))
