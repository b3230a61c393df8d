"""The parameters of a GPT-2 style decoder, and how its variants start."""

from __future__ import annotations

import math

from rtinterp.models.initial_values import Constant, Normal, Sinusoidal
from rtinterp.models.parameters import (
    POSITIONAL_EMBEDDING,
    TOKEN_EMBEDDING,
    UNEMBEDDING,
    UNEMBEDDING_BIAS,
    Parameter,
    matrix,
    vector,
)
from rtinterp.models.transformer.architecture import TransformerArchitecture

GPT2_INIT_STD = 0.02

#: Of the target in circuit imitation (official code), so that its predictions depend on what it reads.
TARGET_QKV_GAIN = 10.0
TARGET_MLP_OUT_GAIN = 20.0
TARGET_UNEMBEDDING_GAIN = 100.0


def embedding_parameters(
    architecture: TransformerArchitecture, d_vocab: int, n_ctx: int, d_vocab_out: int
) -> tuple[Parameter, ...]:
    """What a random transformer trains, and the unembedding bias GPT-2 does not have: zero, never trained."""
    d_model = architecture.d_model
    is_target = architecture.init == "imitation_target"
    unembedding_std = GPT2_INIT_STD * (TARGET_UNEMBEDDING_GAIN / math.sqrt(d_model) if is_target else 1.0)
    sinusoidal = Parameter(POSITIONAL_EMBEDDING, (n_ctx, d_model), Sinusoidal(), "positional_embedding", trains=False)
    return (
        matrix(TOKEN_EMBEDDING, (d_vocab, d_model), Normal(GPT2_INIT_STD)),
        matrix(POSITIONAL_EMBEDDING, (n_ctx, d_model), Normal(GPT2_INIT_STD))
        if architecture.positions == "learned"
        else sinusoidal,
        matrix(UNEMBEDDING, (d_model, d_vocab_out), Normal(unembedding_std)),
        Parameter(UNEMBEDDING_BIAS, (d_vocab_out,), Constant(0.0), "unembedding", trains=False),
    )


def body_parameters(architecture: TransformerArchitecture) -> tuple[Parameter, ...]:
    """The tensors between the embeddings, from the first block to the final norm; they do not depend on the task."""
    blocks = (p for layer in range(architecture.n_layers) for p in _block_parameters(architecture, layer))
    return (*blocks, *_layer_norm("ln_final", architecture.d_model))


def _block_parameters(architecture: TransformerArchitecture, layer: int) -> tuple[Parameter, ...]:
    n_heads, d_model, d_head = architecture.n_heads, architecture.d_model, architecture.d_head
    d_mlp = architecture.d_mlp
    residual_std = GPT2_INIT_STD / math.sqrt(2 * architecture.n_layers)
    mlp_in_std = residual_std if architecture.init == "paper_text" else GPT2_INIT_STD
    is_target = architecture.init == "imitation_target"
    qkv_std = GPT2_INIT_STD * (TARGET_QKV_GAIN if is_target else 1.0)
    mlp_out_std = residual_std * (TARGET_MLP_OUT_GAIN if is_target else 1.0)
    block = f"blocks.{layer}"
    return (
        *_layer_norm(f"{block}.ln1", d_model),
        *(matrix(f"{block}.attn.W_{x}", (n_heads, d_model, d_head), Normal(qkv_std)) for x in "QKV"),
        *(vector(f"{block}.attn.b_{x}", (n_heads, d_head)) for x in "QKV"),
        matrix(f"{block}.attn.W_O", (n_heads, d_head, d_model), Normal(residual_std)),
        vector(f"{block}.attn.b_O", (d_model,)),
        *_layer_norm(f"{block}.ln2", d_model),
        matrix(f"{block}.mlp.W_in", (d_model, d_mlp), Normal(mlp_in_std)),
        vector(f"{block}.mlp.b_in", (d_mlp,)),
        matrix(f"{block}.mlp.W_out", (d_mlp, d_model), Normal(mlp_out_std)),
        vector(f"{block}.mlp.b_out", (d_model,)),
    )


def _layer_norm(name: str, d_model: int) -> tuple[Parameter, Parameter]:
    return vector(f"{name}.w", (d_model,), Constant(1.0)), vector(f"{name}.b", (d_model,))
