"""Values mixed by patterns without being made: the mixed residual goes through ``W_V`` in their place.

This is fewer multiplications where few positions of long sequences are scored.
"""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.layers import Affine

#: Small products reach less of a device's peak than large ones, so a few operations saved are time lost.
CLEARLY_CHEAPER = 1.5


def is_clearly_cheaper(n_queries: int, n_keys: int, n_rows: int, d_model: int, n_heads: int) -> bool:
    """Whether mixing the residual beats making values.

    Args:
        n_queries: scored positions of all sequences.
        n_keys: positions of a sequence.
        n_rows: distinct prefixes, each of which would have values.
    """
    return CLEARLY_CHEAPER * n_queries * (d_model + n_keys * n_heads) < n_rows * d_model


def mix_residuals(
    pattern: Float[Tensor, "sequence head_scored pos"],
    residual: Float[Tensor, "sequence pos d_model"],
    value: Affine,
    n_models: int,
    n_heads: int,
) -> Float[Tensor, "model scored_row d_model"]:
    """The mixed values of all heads.

    Args:
        pattern: of every head in turn, what each scored position takes from every position.
        residual: what ``value`` would have read.
        value: makes the values of all heads, side by side.
    """
    n_scored = pattern.shape[1] // n_heads
    w_v = rearrange(value.weight, "model d_in (head d_head) -> model head d_in d_head", head=n_heads)
    mixed = rearrange(
        pattern @ residual, "(model batch) (head scored) d_in -> model head (batch scored) d_in",
        model=n_models, head=n_heads,
    )  # fmt: skip
    z = rearrange(mixed @ w_v, "model head row d_head -> model row (head d_head)")
    if value.bias is None:
        return z
    weight = pattern.sum(-1).view(n_models, -1, n_heads, n_scored).transpose(2, 3).flatten(1, 2)
    return z + weight.repeat_interleave(w_v.shape[-1], -1) * value.bias
