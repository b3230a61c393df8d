"""M transformers of one shape in one forward pass, computing only what the scored predictions read.

The frozen body gets no gradients. Each distinct entry (token and position) goes through the first block's norm and
QKV once, each distinct prefix through the rest once, and the last block computes nothing but the scored positions.
The arithmetic is HookedTransformer's; tests hold the two together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine, LayerNorm, take_rows
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.transformer.architecture import TransformerArchitecture
from rtinterp.models.transformer.attention import Attention


@dataclasses.dataclass(frozen=True)
class Block:
    """One transformer block."""

    ln1: LayerNorm
    attention: Attention
    attn_out: Affine
    ln2: LayerNorm
    mlp_in: Affine
    mlp_out: Affine

    def finish(
        self, x: Float[Tensor, "model row d_model"], z: Float[Tensor, "model row d_model"]
    ) -> Float[Tensor, "model row d_model"]:
        """The residual stream at the end of the block, from the mixed values ``z`` of all heads."""
        x = self.attn_out.added_to(x, z)
        return self.mlp_out.added_to(x, F.gelu(self.mlp_in(self.ln2(x)), approximate="tanh"))


@dataclasses.dataclass(frozen=True)
class StackedTransformer:
    """The blocks of M models, laid out for batched matrix multiplication; norms are float32."""

    blocks: tuple[Block, ...]
    ln_final: LayerNorm

    def shared(self, x: Float[Tensor, "model entry d_model"]) -> list[Float[Tensor, "model entry columns"]]:
        """What entries share: their embedding and, unless the first block is the last, its queries, keys, values."""
        if len(self.blocks) == 1:
            return [x]
        first = self.blocks[0]
        return [x, first.attention.qkv(first.ln1(x)).float()]

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
                qkv, source_at = shared[1], prefixes.entry_at
            else:
                qkv, source_at = block.attention.qkv(block.ln1(x)), prefixes.row_at
            x = block.finish(x, block.attention.at_every_prefix(qkv, source_at, prefixes.occurrence))
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

    def row(*names: str, identity: float = 0.0) -> Float[Tensor, "model 1 columns"] | None:
        flat = torch.cat([tensors[name].flatten(1) for name in names], -1).unsqueeze(1)
        return None if frozen >= set(names) and bool((flat == identity).all()) else flat

    def norm(name: str) -> LayerNorm:
        return LayerNorm(row(f"{name}.w", identity=1.0), row(f"{name}.b"))

    def affine(weight: Float[Tensor, "model d_in d_out"], bias: Float[Tensor, "model 1 d_out"] | None) -> Affine:
        return Affine(weight, bias).to(dtype).as_convolution()

    def block(prefix: str) -> Block:
        attn, mlp = f"{prefix}.attn", f"{prefix}.mlp"
        qkv_weight = [rearrange(tensors[f"{attn}.W_{x}"], "model head d h -> model d (head h)") for x in "QKV"]
        qkv = affine(torch.cat(qkv_weight, -1), row(*(f"{attn}.b_{x}" for x in "QKV")))
        return Block(
            ln1=norm(f"{prefix}.ln1"),
            attention=Attention(architecture, qkv),
            attn_out=affine(tensors[f"{attn}.W_O"].flatten(1, 2), row(f"{attn}.b_O")),
            ln2=norm(f"{prefix}.ln2"),
            mlp_in=affine(tensors[f"{mlp}.W_in"], row(f"{mlp}.b_in")),
            mlp_out=affine(tensors[f"{mlp}.W_out"], row(f"{mlp}.b_out")),
        )

    blocks = tuple(block(f"blocks.{layer}") for layer in range(architecture.n_layers))
    return StackedTransformer(blocks, norm("ln_final"))
