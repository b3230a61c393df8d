"""The bodies of "Is Random Attention Sufficient for Sequence Modeling?" (Dong, Noci, Khodak and Li 2025) by name."""

from __future__ import annotations

from rtinterp.models.transformer.spec import ModelSpec

#: What of the squared norm the residual stream keeps, on algorithmic tasks; in language it is a quarter.
SKIP_SHARE = 0.5


def llama_like(d_model: int, n_layers: int = 2, n_heads: int = 4) -> ModelSpec:
    """The body of their standard, Frozen-QK and Frozen-MLP models, which the regime tells apart.

    RMSNorm, rotary positions, SwiGLU of 4 d_model, biases of all maps, matrices from N(0, 0.02^2).

    Raises:
        ValueError: as ModelSpec; d_model / n_heads is odd.
    """
    return ModelSpec(
        d_model, n_layers, n_heads, init="normal", positions="rotary", norm="rms_norm", mlp="gated", activation="silu"
    )


def mixit(
    d_model: int,
    n_layers: int = 2,
    n_heads: int = 4,
    *,
    mixing_length: int | None = None,
    sink: bool = True,
    skip_share: float = SKIP_SHARE,
) -> ModelSpec:
    """MixiT: fixed random patterns in the place of attention, and a residual stream whose norm keeps its scale.

    Args:
        mixing_length: positions that patterns are drawn for, as published the task's ``sequence_length``; its ``n_ctx``
            if None, which some tasks have more of than they use.
        sink: whether the first head of every layer looks at the first token, as in the released code ("code"); the
            paper's text has no such head ("text").
        skip_share: what of the squared norm the residual stream keeps: half on algorithmic tasks, a quarter in
            language.

    Raises:
        ValueError: as ModelSpec.
    """
    return ModelSpec(
        d_model,
        n_layers,
        n_heads,
        init="normal",
        attention="random_mixing_with_sink" if sink else "random_mixing",
        norm="rms_norm",
        mlp="gated",
        activation="scaled_leaky_relu",
        skip_share=skip_share,
        width_multipliers=True,
        mixing_length=mixing_length,
    )
