"""Every parameter of a model: its TransformerLens name, its shape and how it starts."""

from __future__ import annotations

import dataclasses
import math

from rtinterp.models.transformer.spec import ModelSpec

GPT2_INIT_STD = 0.02

#: Of the target in circuit imitation (official code), so that its predictions depend on what it reads.
TARGET_QKV_GAIN = 10.0
TARGET_MLP_OUT_GAIN = 20.0
TARGET_UNEMBEDDING_GAIN = 100.0

TOKEN_EMBEDDING = "embed.W_E"
POSITIONAL_EMBEDDING = "pos_embed.W_pos"
UNEMBEDDING = "unembed.W_U"
UNEMBEDDING_BIAS = "unembed.b_U"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One named tensor and how it starts: drawn from N(0, std^2), or from U(-bound, bound), or sinusoidal, or constant.

    Attributes:
        name: key in ``HookedTransformer.state_dict()``, or of that form where the body is another.
        fill: value of a constant tensor.
        decays: whether weight decay applies: to matrices and embeddings, not to biases and norms.
        trains: False for what no regime trains.
    """

    name: str
    shape: tuple[int, ...]
    std: float = 0.0
    bound: float = 0.0
    sinusoidal: bool = False
    fill: float = 0.0
    decays: bool = False
    trains: bool = True


def matrix(name: str, shape: tuple[int, ...], std: float = GPT2_INIT_STD) -> Parameter:
    """A normal tensor to which weight decay applies."""
    return Parameter(name, shape, std=std, decays=True)


def transformer_parameters(spec: ModelSpec, d_vocab: int, n_ctx: int) -> tuple[Parameter, ...]:
    """Every parameter of the model, embeddings first, then the body from the first block to the final norm."""
    return (*embedding_parameters(spec, d_vocab, n_ctx), *body_parameters(spec))


def embedding_parameters(spec: ModelSpec, d_vocab: int, n_ctx: int) -> tuple[Parameter, ...]:
    """What a random transformer trains, and the unembedding bias GPT-2 does not have: zero, never trained."""
    positions = (n_ctx, spec.d_model)
    unembedding_gain = TARGET_UNEMBEDDING_GAIN / math.sqrt(spec.d_model) if spec.init == "imitation_target" else 1.0
    return (
        matrix(TOKEN_EMBEDDING, (d_vocab, spec.d_model)),
        matrix(POSITIONAL_EMBEDDING, positions)
        if spec.positions == "learned"
        else Parameter(POSITIONAL_EMBEDDING, positions, sinusoidal=True, trains=False),
        matrix(UNEMBEDDING, (spec.d_model, d_vocab), GPT2_INIT_STD * unembedding_gain),
        Parameter(UNEMBEDDING_BIAS, (d_vocab,), trains=False),
    )


def body_parameters(spec: ModelSpec) -> tuple[Parameter, ...]:
    """The tensors between the embeddings; they do not depend on the task."""
    blocks = (parameter for layer in range(spec.n_layers) for parameter in _block_parameters(spec, layer))
    return (*blocks, *_layer_norm("ln_final", spec.d_model))


def _block_parameters(spec: ModelSpec, layer: int) -> tuple[Parameter, ...]:
    n_heads, d_model, d_head, d_mlp = spec.n_heads, spec.d_model, spec.d_head, spec.d_mlp
    residual_std = GPT2_INIT_STD / math.sqrt(2 * spec.n_layers)
    mlp_in_std = residual_std if spec.init == "paper_text" else GPT2_INIT_STD
    is_target = spec.init == "imitation_target"
    qkv_std = GPT2_INIT_STD * (TARGET_QKV_GAIN if is_target else 1.0)
    mlp_out_std = residual_std * (TARGET_MLP_OUT_GAIN if is_target else 1.0)
    block = f"blocks.{layer}"
    return (
        *_layer_norm(f"{block}.ln1", d_model),
        *(matrix(f"{block}.attn.W_{x}", (n_heads, d_model, d_head), qkv_std) for x in "QKV"),
        *(Parameter(f"{block}.attn.b_{x}", (n_heads, d_head)) for x in "QKV"),
        matrix(f"{block}.attn.W_O", (n_heads, d_head, d_model), residual_std),
        Parameter(f"{block}.attn.b_O", (d_model,)),
        *_layer_norm(f"{block}.ln2", d_model),
        matrix(f"{block}.mlp.W_in", (d_model, d_mlp), mlp_in_std),
        Parameter(f"{block}.mlp.b_in", (d_mlp,)),
        matrix(f"{block}.mlp.W_out", (d_mlp, d_model), mlp_out_std),
        Parameter(f"{block}.mlp.b_out", (d_model,)),
    )


def _layer_norm(name: str, d_model: int) -> tuple[Parameter, Parameter]:
    return Parameter(f"{name}.w", (d_model,), fill=1.0), Parameter(f"{name}.b", (d_model,))
