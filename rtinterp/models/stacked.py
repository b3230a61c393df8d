"""M transformers of one shape in one forward pass, computing only what the scored predictions read.

The frozen body gets no gradients, and in the last block only scored positions get queries, an MLP and logits. The
arithmetic is HookedTransformer's; tests hold the two together.
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
        self, tokens: Int64[Tensor, "model batch pos"], scored_positions: Int64[Tensor, "model batch scored"]
    ) -> Float[Tensor, "model batch scored d_vocab"]:
        """Logits of the next token at the scored positions alone."""
        n_models, n_batch, n_pos = tokens.shape
        x = self._embed(tokens)
        for block in self.blocks[:-1]:
            q, k, v = self._heads(block.qkv(block.ln1(x)), n_batch, 3)
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = self._finish(block, x, z)
        x = self._last_block(self.blocks[-1], x, scored_positions, n_pos)
        logits = self.unembedding(self.ln_final(x))
        return logits.view(n_models, n_batch, scored_positions.shape[-1], -1)

    def _embed(self, tokens: Int64[Tensor, "model batch pos"]) -> Float[Tensor, "model row d_model"]:
        n_models, d_vocab, d_model = self.W_E.shape
        first_row = torch.arange(n_models, device=tokens.device)[:, None, None] * d_vocab
        embedded = F.embedding(tokens + first_row, self.W_E.reshape(-1, d_model))
        embedded = embedded + self.W_pos[:, None, : tokens.shape[-1]]
        return embedded.flatten(1, 2)

    def _last_block(
        self,
        block: Block,
        x: Float[Tensor, "model row d_model"],
        scored_positions: Int64[Tensor, "model batch scored"],
        n_pos: int,
    ) -> Float[Tensor, "model scored_row d_model"]:
        n_batch, n_scored = scored_positions.shape[1:]
        d_model = self.spec.d_model
        first_row = torch.arange(n_batch, device=x.device)[:, None] * n_pos
        rows = (scored_positions + first_row).flatten(1)[..., None].expand(-1, -1, d_model)
        normalised = block.ln1(x)
        (q,) = self._heads(block.qkv.columns(0, d_model)(normalised.gather(1, rows)), n_batch, 1)
        k, v = self._heads(block.qkv.columns(d_model, 3 * d_model)(normalised), n_batch, 2)
        visible = torch.arange(n_pos, device=x.device) <= scored_positions.reshape(-1, 1, n_scored, 1)
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        return self._finish(block, x.gather(1, rows), z)

    def _heads(
        self, x: Float[Tensor, "model row columns"], n_batch: int, n_parts: int
    ) -> tuple[Float[Tensor, "sequence head pos d_head"], ...]:
        pattern = "model (batch pos) (part head d_head) -> part (model batch) head pos d_head"
        return tuple(rearrange(x, pattern, batch=n_batch, part=n_parts, head=self.spec.n_heads))

    def _finish(
        self, block: Block, x: Float[Tensor, "model row d_model"], z: Float[Tensor, "sequence head pos d_head"]
    ) -> Float[Tensor, "model row d_model"]:
        """From the mixed values to the end of the block."""
        z = rearrange(z, "(model batch) head pos d_head -> model (batch pos) (head d_head)", model=x.shape[0])
        x = block.attn_out.added_to(x, z)
        return block.mlp_out.added_to(x, F.gelu(block.mlp_in(block.ln2(x)), approximate="tanh"))


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
