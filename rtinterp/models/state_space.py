"""What stacks of state-space layers have in common: embeddings without positions, and layers over whole sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.initial_values import Constant, Normal
from rtinterp.models.layers import take_rows
from rtinterp.models.parameters import TOKEN_EMBEDDING, UNEMBEDDING, UNEMBEDDING_BIAS, Parameter, matrix
from rtinterp.models.prefixes import Prefixes

#: The component groups of a layer: its maps from and to the residual stream, and what lies between them.
PROJECTIONS, STATE_SPACE = "projections", "state_space"
EMBEDDING_STD = 0.02


def embedding_parameters(d_model: int, d_vocab: int, d_vocab_out: int) -> tuple[Parameter, ...]:
    """The embeddings, without positions, whose order a recurrence knows; the unembedding bias is never trained."""
    return (
        matrix(TOKEN_EMBEDDING, (d_vocab, d_model), Normal(EMBEDDING_STD)),
        matrix(UNEMBEDDING, (d_model, d_vocab_out), Normal(EMBEDDING_STD)),
        Parameter(UNEMBEDDING_BIAS, (d_vocab_out,), Constant(0.0), "unembedding", trains=False),
    )


class Layer(Protocol):
    """A norm and what is added to the residual stream after it, of M models."""

    def channels(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row columns"]:
        """What positions share that read the same."""
        ...

    def at_places(self, channels: Float[Tensor, "model batch pos columns"]) -> Float[Tensor, "model place channel"]:
        """What the recurrence gives at every place."""
        ...

    def added_to(
        self, x: Float[Tensor, "model row d_model"], given: Float[Tensor, "model row channel"]
    ) -> Float[Tensor, "model row d_model"]:
        """The residual stream after the layer, from what its recurrence gives."""
        ...


@dataclasses.dataclass(frozen=True)
class StackedLayers:
    """The layers of M models in one forward pass.

    Each distinct entry goes through the first layer's norm and first map once, each distinct prefix through those of
    the others once. The recurrences run over whole sequences; only scored positions go through the last map back.
    """

    layers: Sequence[Layer]
    ln_final: Callable[[Tensor], Tensor]

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
            given = layer.at_places(_spread(channels, source_at))
            x = layer.added_to(x, take_rows(given, prefixes.occurrence))
            channels, source_at = following.channels(x), prefixes.row_at
        last = self.layers[-1]
        given = last.at_places(_spread(channels, source_at))
        sequence = torch.arange(n_batch, device=scored_positions.device)[:, None]
        given = take_rows(given, (sequence * n_pos + scored_positions).flatten(1))
        x = take_rows(x, prefixes.row_at.gather(-1, scored_positions).flatten(1))
        return self.ln_final(last.added_to(x, given))


def _spread(
    channels: Float[Tensor, "model source columns"], source_at: Int64[Tensor, "model batch pos"]
) -> Float[Tensor, "model batch pos columns"]:
    """Padding has what the first source has, and no place reads it: it comes after the last scored position."""
    return take_rows(channels, source_at.flatten(1)).unflatten(1, source_at.shape[1:])


def of_mixer(tensors: Mapping[str, Float[Tensor, "model ..."]], layer: int) -> dict[str, Float[Tensor, "model ..."]]:
    """The tensors of a layer but for its norm, by their names within it."""
    prefix = f"blocks.{layer}.mixer."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
