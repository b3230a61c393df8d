"""M transformers of one shape in one forward pass, computing only what the scored predictions read.

The frozen body gets no gradients. Each distinct entry (token and position) goes through the first block's norm and
QKV once, each distinct prefix through the rest once, and the last block computes nothing but the scored positions.
The arithmetic is HookedTransformer's; tests hold the two together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine, LayerNorm, take_rows
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.transformer.architecture import TransformerArchitecture
from rtinterp.models.transformer.layout import Heads, Layout
from rtinterp.models.transformer.mlp import GatedHidden, PlainHidden
from rtinterp.models.transformer.multipliers import Factors
from rtinterp.models.transformer.norms import RMSNorm
from rtinterp.models.transformer.residual import ScaledSkip


@dataclasses.dataclass(frozen=True)
class Block:
    """One transformer block."""

    ln1: LayerNorm | RMSNorm
    attention: Heads
    attn_out: Affine | ScaledSkip
    ln2: LayerNorm | RMSNorm
    mlp_hidden: PlainHidden | GatedHidden
    mlp_out: Affine | ScaledSkip

    def finish(
        self, x: Float[Tensor, "model row d_model"], z: Float[Tensor, "model row d_model"]
    ) -> Float[Tensor, "model row d_model"]:
        """The residual stream at the end of the block, from the mixed values ``z`` of all heads."""
        x = self.attn_out.added_to(x, z)
        return self.mlp_out.added_to(x, self.mlp_hidden(self.ln2(x)))


@dataclasses.dataclass(frozen=True)
class StackedTransformer:
    """The blocks of M models, laid out for batched matrix multiplication; norms are float32."""

    blocks: tuple[Block, ...]
    ln_final: LayerNorm | RMSNorm

    def shared(self, x: Float[Tensor, "model entry d_model"]) -> list[Float[Tensor, "model entry columns"]]:
        """What entries share: their embedding and, unless the first block is the last, its queries, keys, values."""
        if len(self.blocks) == 1:
            return [x]
        first = self.blocks[0]
        return [x, first.attention.project(first.ln1(x)).float()]

    def scored_residual(
        self,
        shared: list[Float[Tensor, "model entry columns"]],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """What the unembedding reads at the scored positions: the residual stream after the final norm."""
        x = take_rows(shared[0], prefixes.entries)
        for layer, block in enumerate(self.blocks[:-1]):
            if layer == 0:
                projected, source_at = shared[1], prefixes.entry_at
            else:
                projected, source_at = block.attention.project(block.ln1(x)), prefixes.row_at
            x = block.finish(x, block.attention.at_every_prefix(projected, source_at, prefixes.occurrence))
        last = self.blocks[-1]
        z = last.attention.at_scored(last.ln1(x), prefixes, scored_positions)
        scored_rows = prefixes.row_at.gather(-1, scored_positions).flatten(1)
        return self.ln_final(last.finish(take_rows(x, scored_rows), z))


def stack_transformers(
    architecture: TransformerArchitecture,
    tensors: Mapping[str, Float[Tensor, "model ..."]],
    frozen: Set[str] = frozenset(),
    dtype: torch.dtype = torch.float32,
) -> StackedTransformer:
    """Lay out stacked parameters, by TransformerLens name, for the forward pass; differentiable.

    Args:
        frozen: names that will never change; those at the identity (zero biases, unit gains) cost nothing.
        dtype: of the blocks' matrix products. Norms and softmax stay float32.
    """

    layout = Layout(architecture, tensors, frozen, dtype)

    def block(prefix: str) -> Block:
        attn, mlp = f"{prefix}.attn", f"{prefix}.mlp"
        return Block(
            ln1=layout.norm(f"{prefix}.ln1"),
            attention=layout.heads(attn),
            attn_out=layout.attn_out(attn),
            ln2=layout.norm(f"{prefix}.ln2"),
            mlp_hidden=layout.mlp_hidden(mlp),
            mlp_out=layout.mlp_out(mlp),
        )

    blocks = tuple(block(f"blocks.{layer}") for layer in range(architecture.n_layers))
    # The unembedding's factor is on what it reads.
    return StackedTransformer(blocks, layout.norm("ln_final", Factors.of(architecture).usual))
