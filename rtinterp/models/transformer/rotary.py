"""Rotary positions: queries and keys turned by angles that grow with the position (Su et al. 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

ROTARY_BASE = 10_000.0


def rotated(
    x: Float[Tensor, "*batch pos d_head"], positions: Int64[Tensor, "*#batch pos"]
) -> Float[Tensor, "*batch pos d_head"]:
    """Each dimension of the first half turned with its partner in the second, as Llama has them.

    The product of a rotated query and a rotated key depends on their distance alone.
    """
    d_head = x.shape[-1]
    rates = ROTARY_BASE ** -(torch.arange(0, d_head, 2, device=x.device) / d_head)
    angles = positions[..., None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
