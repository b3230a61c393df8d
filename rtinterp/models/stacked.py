"""M transformers of one shape in one forward pass, computing only what the scored predictions read.

The frozen body gets no gradients, each distinct prefix is computed once, and in the last block only scored positions
get queries, an MLP and logits. The arithmetic is HookedTransformer's; tests hold the two together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.parameters import POSITIONAL_EMBEDDING, TOKEN_EMBEDDING, UNEMBEDDING
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.spec import LAYER_NORM_EPS, ModelSpec


@dataclasses.dataclass(frozen=True)
class Affine:
    """``x @ weight + bias`` per model; the bias is None where it is frozen at zero."""

    weight: Float[Tensor, "model d_in d_out"]
    bias: Float[Tensor, "model 1 d_out"] | None

    def __call__(self, x: Float[Tensor, "model row d_in"]) -> Float[Tensor, "model row d_out"]:
        return torch.bmm(x, self.weight) if self.bias is None else torch.baddbmm(self.bias, x, self.weight)

    def added_to(
        self, residual: Float[Tensor, "model row d_out"], x: Float[Tensor, "model row d_in"]
    ) -> Float[Tensor, "model row d_out"]:
        return torch.baddbmm(residual if self.bias is None else residual + self.bias, x, self.weight)

    def columns(self, start: int, stop: int) -> Affine:
        return Affine(self.weight[..., start:stop], None if self.bias is None else self.bias[..., start:stop])


@dataclasses.dataclass(frozen=True)
class LayerNorm:
    """LayerNorm per model; gain and bias are None where they are frozen at one and zero."""

    gain: Float[Tensor, "model 1 d_model"] | None
    bias: Float[Tensor, "model 1 d_model"] | None

    def __call__(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row d_model"]:
        x = F.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS)
        if self.gain is not None:
            x = x * self.gain
        return x if self.bias is None else x + self.bias


@dataclasses.dataclass(frozen=True)
class Block:
    """One transformer block; ``qkv`` computes queries, keys and values in one multiplication."""

    ln1: LayerNorm
    qkv: Affine
    attn_out: Affine
    ln2: LayerNorm
    mlp_in: Affine
    mlp_out: Affine

    def finish(
        self, x: Float[Tensor, "model row d_model"], z: Float[Tensor, "model row d_model"]
    ) -> Float[Tensor, "model row d_model"]:
        """From the mixed values ``z`` of all heads to the end of the block."""
        x = self.attn_out.added_to(x, z)
        return self.mlp_out.added_to(x, F.gelu(self.mlp_in(self.ln2(x)), approximate="tanh"))


@dataclasses.dataclass(frozen=True)
class StackedTransformer:
    """The weights of M models, laid out for batched matrix multiplication."""

    spec: ModelSpec
    W_E: Float[Tensor, "model d_vocab d_model"]
    W_pos: Float[Tensor, "model n_ctx d_model"]
    blocks: tuple[Block, ...]
    ln_final: LayerNorm
    unembedding: Affine

    def scored_logits(
        self, prefixes: Prefixes, scored_positions: Int64[Tensor, "model batch scored"]
    ) -> Float[Tensor, "model batch scored d_vocab"]:
        """Logits of the next token at the scored positions alone."""
        n_batch, n_scored = scored_positions.shape[1:]
        x = _rows(self.W_E, prefixes.tokens) + _rows(self.W_pos, prefixes.positions)
        for block in self.blocks[:-1]:
            qkv = _rows(block.qkv(block.ln1(x)), prefixes.row_at.flatten(1))
            q, k, v = self._heads(qkv, n_batch, 3)
            z = self._concatenate(F.scaled_dot_product_attention(q, k, v, is_causal=True))
            x = block.finish(x, _rows(z, prefixes.occurrence))
        x = self._last_block(self.blocks[-1], x, prefixes, scored_positions)
        return self.unembedding(self.ln_final(x)).unflatten(1, (n_batch, n_scored))

    def _last_block(
        self,
        block: Block,
        x: Float[Tensor, "model row d_model"],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """Keys and values of every prefix, all the rest for the scored ones."""
        n_batch, n_pos = prefixes.row_at.shape[1:]
        n_scored, d_model = scored_positions.shape[-1], self.spec.d_model
        scored_rows = prefixes.row_at.gather(-1, scored_positions).flatten(1)
        normalised = block.ln1(x)
        (q,) = self._heads(block.qkv.columns(0, d_model)(_rows(normalised, scored_rows)), n_batch, 1)
        kv = block.qkv.columns(d_model, 3 * d_model)(normalised)
        k, v = self._heads(_rows(kv, prefixes.row_at.flatten(1)), n_batch, 2)
        visible = torch.arange(n_pos, device=x.device) <= scored_positions.reshape(-1, 1, n_scored, 1)
        z = self._concatenate(F.scaled_dot_product_attention(q, k, v, attn_mask=visible))
        return block.finish(_rows(x, scored_rows), z)

    def _heads(
        self, x: Float[Tensor, "model row columns"], n_batch: int, n_parts: int
    ) -> tuple[Float[Tensor, "sequence head pos d_head"], ...]:
        pattern = "model (batch pos) (part head d_head) -> part (model batch) head pos d_head"
        return tuple(rearrange(x, pattern, batch=n_batch, part=n_parts, head=self.spec.n_heads))

    def _concatenate(self, z: Float[Tensor, "sequence head pos d_head"]) -> Float[Tensor, "model position d_model"]:
        pattern = "(model batch) head pos d_head -> model (batch pos) (head d_head)"
        return rearrange(z, pattern, model=self.W_E.shape[0])


def _rows(
    x: Float[Tensor, "model row columns"], rows: Int64[Tensor, "model chosen"]
) -> Float[Tensor, "model chosen columns"]:
    """Each model's chosen rows; an embedding look-up, whose gradient is a deterministic sum."""
    n_models, n_rows, n_columns = x.shape
    offsets = torch.arange(n_models, device=x.device)[:, None] * n_rows
    return F.embedding(rows + offsets, x.reshape(-1, n_columns))


def stack_transformers(
    spec: ModelSpec, tensors: Mapping[str, Float[Tensor, "model ..."]], frozen: Set[str] = frozenset()
) -> StackedTransformer:
    """Lay out stacked parameters, by TransformerLens name, for the forward pass; differentiable.

    Args:
        frozen: names that will never change; those at the identity (zero biases, unit gains) cost nothing.
    """

    def row(*names: str, identity: float = 0.0) -> Float[Tensor, "model 1 columns"] | None:
        flat = torch.cat([tensors[name].flatten(1) for name in names], -1).unsqueeze(1)
        return None if frozen.issuperset(names) and bool((flat == identity).all()) else flat

    def norm(name: str) -> LayerNorm:
        return LayerNorm(row(f"{name}.w", identity=1.0), row(f"{name}.b"))

    def block(prefix: str) -> Block:
        attn, mlp = f"{prefix}.attn", f"{prefix}.mlp"
        qkv_weight = [rearrange(tensors[f"{attn}.W_{x}"], "model head d h -> model d (head h)") for x in "QKV"]
        return Block(
            ln1=norm(f"{prefix}.ln1"),
            qkv=Affine(torch.cat(qkv_weight, -1), row(*(f"{attn}.b_{x}" for x in "QKV"))),
            attn_out=Affine(tensors[f"{attn}.W_O"].flatten(1, 2), row(f"{attn}.b_O")),
            ln2=norm(f"{prefix}.ln2"),
            mlp_in=Affine(tensors[f"{mlp}.W_in"], row(f"{mlp}.b_in")),
            mlp_out=Affine(tensors[f"{mlp}.W_out"], row(f"{mlp}.b_out")),
        )

    return StackedTransformer(
        spec=spec,
        W_E=tensors[TOKEN_EMBEDDING],
        W_pos=tensors[POSITIONAL_EMBEDDING],
        blocks=tuple(block(f"blocks.{layer}") for layer in range(spec.n_layers)),
        ln_final=norm("ln_final"),
        unembedding=Affine(tensors[UNEMBEDDING], row("unembed.b_U")),
    )
