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
from rtinterp.models.transformer.gates import GATED
from rtinterp.models.transformer.mixing_matrices import RandomMixing

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
    return (
        matrix(TOKEN_EMBEDDING, (d_vocab, d_model), Normal(GPT2_INIT_STD)),
        *_positions(architecture, n_ctx),
        matrix(UNEMBEDDING, (d_model, d_vocab_out), Normal(unembedding_std)),
        Parameter(UNEMBEDDING_BIAS, (d_vocab_out,), Constant(0.0), "unembedding", trains=False),
    )


def _positions(architecture: TransformerArchitecture, n_ctx: int) -> tuple[Parameter, ...]:
    shape = (n_ctx, architecture.d_model)
    if architecture.positions == "learned":
        return (matrix(POSITIONAL_EMBEDDING, shape, Normal(GPT2_INIT_STD)),)
    if architecture.positions == "sinusoidal":
        return (Parameter(POSITIONAL_EMBEDDING, shape, Sinusoidal(), "positional_embedding", trains=False),)
    return ()


def body_parameters(architecture: TransformerArchitecture, n_ctx: int = 1) -> tuple[Parameter, ...]:
    """The tensors between the embeddings, from the first block to the final norm.

    Args:
        n_ctx: positions that random mixing is drawn for, if the architecture does not say; nothing else depends on it.
    """
    blocks = (p for layer in range(architecture.n_layers) for p in _block_parameters(architecture, layer, n_ctx))
    return (*blocks, *_norm("ln_final", architecture))


def _block_parameters(architecture: TransformerArchitecture, layer: int, n_ctx: int) -> tuple[Parameter, ...]:
    block = f"blocks.{layer}"
    return (
        *_norm(f"{block}.ln1", architecture),
        *_attention(f"{block}.attn", architecture, n_ctx),
        *_norm(f"{block}.ln2", architecture),
        *_mlp(f"{block}.mlp", architecture),
    )


def _attention(attn: str, architecture: TransformerArchitecture, n_ctx: int) -> tuple[Parameter, ...]:
    n_heads, d_model, d_head = architecture.n_heads, architecture.d_model, architecture.d_head
    qkv_std = GPT2_INIT_STD * (TARGET_QKV_GAIN if architecture.init == "imitation_target" else 1.0)
    qk_std = qkv_std if architecture.qk_init_std == "as_init" else 1 / math.sqrt(d_model)
    stds = {"V": qkv_std} if architecture.mixes_at_random else {"Q": qk_std, "K": qk_std, "V": qkv_std}
    if architecture.attention == GATED:
        stds["G"] = GPT2_INIT_STD
    mixing = (_mixing(attn, architecture, n_ctx),) if architecture.mixes_at_random else ()
    return (
        *mixing,
        *(matrix(f"{attn}.W_{x}", (n_heads, d_model, d_head), Normal(std)) for x, std in stds.items()),
        *(vector(f"{attn}.b_{x}", (n_heads, d_head)) for x in stds),
        matrix(f"{attn}.W_O", (n_heads, d_head, d_model), Normal(_residual_std(architecture))),
        vector(f"{attn}.b_O", (d_model,)),
    )


def _mixing(attn: str, architecture: TransformerArchitecture, n_ctx: int) -> Parameter:
    length = architecture.mixing_length or n_ctx
    initial = RandomMixing(architecture.d_head, sink=architecture.attention == "random_mixing_with_sink")
    return Parameter(f"{attn}.mixing", (architecture.n_heads, length, length), initial, "qk", trains=False)


def _mlp(mlp: str, architecture: TransformerArchitecture) -> tuple[Parameter, ...]:
    d_model, d_mlp = architecture.d_model, architecture.d_mlp
    residual_std = _residual_std(architecture)
    in_std = residual_std if architecture.init == "paper_text" else GPT2_INIT_STD
    out_std = residual_std * (TARGET_MLP_OUT_GAIN if architecture.init == "imitation_target" else 1.0)
    read = ("gate", "in") if architecture.mlp == "gated" else ("in",)
    return (
        *(
            parameter
            for x in read
            for parameter in (
                matrix(f"{mlp}.W_{x}", (d_model, d_mlp), Normal(in_std)),
                vector(f"{mlp}.b_{x}", (d_mlp,)),
            )
        ),
        matrix(f"{mlp}.W_out", (d_mlp, d_model), Normal(out_std)),
        vector(f"{mlp}.b_out", (d_model,)),
    )


def _residual_std(architecture: TransformerArchitecture) -> float:
    """Of the matrices that write to the residual stream."""
    return GPT2_INIT_STD / (1.0 if architecture.init == "normal" else math.sqrt(2 * architecture.n_layers))


def _norm(name: str, architecture: TransformerArchitecture) -> tuple[Parameter, ...]:
    gain = vector(f"{name}.w", (architecture.d_model,), Constant(1.0))
    return (gain,) if architecture.norm == "rms_norm" else (gain, vector(f"{name}.b", (architecture.d_model,)))
