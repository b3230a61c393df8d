"""Fixed patterns in the place of attention, of M stacked models: at every position, or at the scored ones alone.

The interface, and how rows and places go together, are those of ``rtinterp.models.transformer.attention``.
"""

from __future__ import annotations

import dataclasses

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine, take_rows
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.transformer.architecture import TransformerArchitecture
from rtinterp.models.transformer.value_mixing import is_clearly_cheaper, mix_residuals


@dataclasses.dataclass(frozen=True)
class MixingAttention:
    """The heads of one block up to, not including, W_O; a position's row of ``mixing`` is its pattern.

    Nothing is masked: entries for later positions are zero.
    """

    architecture: TransformerArchitecture
    value: Affine
    mixing: Float[Tensor, "model head query_pos key_pos"]

    def project(self, normalised: Float[Tensor, "model source d_model"]) -> Float[Tensor, "model source d_model"]:
        """What positions share that read the same: the values."""
        return self.value(normalised)

    def at_every_prefix(
        self,
        values: Float[Tensor, "model source d_model"],
        source_at: Int64[Tensor, "model batch pos"],
        occurrence: Int64[Tensor, "model row"],
    ) -> Float[Tensor, "model row d_model"]:
        """Mixed values of all heads at every prefix."""
        return take_rows(self._mixed(take_rows(values, source_at.flatten(1)), source_at.shape[-1]), occurrence)

    def at_scored(
        self,
        normalised: Float[Tensor, "model row d_model"],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """Mixed values of all heads at the scored positions, from the normalised residual at every prefix."""
        n_models, n_batch, n_pos = prefixes.row_at.shape
        n_scored, n_heads = scored_positions.shape[-1], self.architecture.n_heads
        places = prefixes.row_at.flatten(1)
        by_sequence = "model (batch pos) columns -> (model batch) pos columns"
        if is_clearly_cheaper(n_batch * n_scored, n_pos, normalised.shape[1], normalised.shape[2], n_heads):
            residual = take_rows(normalised.to(self.value.weight.dtype), places)
            pattern = self._rows_of_pattern(scored_positions, n_pos)
            return mix_residuals(
                pattern, rearrange(residual, by_sequence, batch=n_batch), self.value, n_models, n_heads
            )
        # One product of all positions beats as many small ones as there are sequences.
        z = self._mixed(take_rows(self.value(normalised), places), n_pos)
        starts = torch.arange(0, n_batch * n_pos, n_pos, device=z.device)
        return take_rows(z, (scored_positions + starts[:, None]).flatten(1))

    def _mixed(
        self, values: Float[Tensor, "model position d_model"], n_pos: int
    ) -> Float[Tensor, "model position d_model"]:
        """The values at all places, mixed within each sequence."""
        n_models, n_heads = self.mixing.shape[:2]
        values = values.to(self.value.weight.dtype)
        by_head = rearrange(
            values, "model (batch pos) (head d_head) -> (model head) pos (batch d_head)", pos=n_pos, head=n_heads
        )
        z = self._pattern(n_pos).flatten(0, 1) @ by_head
        return rearrange(
            z, "(model head) pos (batch d_head) -> model (batch pos) (head d_head)",
            model=n_models, d_head=self.architecture.d_head,
        )  # fmt: skip

    def _rows_of_pattern(
        self, scored_positions: Int64[Tensor, "model batch scored"], n_pos: int
    ) -> Float[Tensor, "sequence head_scored pos"]:
        by_position = rearrange(self._pattern(n_pos), "model head q k -> model q (head k)")
        return rearrange(
            take_rows(by_position, scored_positions.flatten(1)),
            "model (batch scored) (head pos) -> (model batch) (head scored) pos",
            scored=scored_positions.shape[-1], head=self.architecture.n_heads,
        )  # fmt: skip

    def _pattern(self, n_pos: int) -> Float[Tensor, "model head pos pos"]:
        return self.mixing[..., :n_pos, :n_pos].to(self.value.weight.dtype)
