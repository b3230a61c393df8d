"""Parts of a transformer's forward pass, to go on from the middle of it."""

from __future__ import annotations

import contextlib
from typing import Any

from jaxtyping import Float
from torch import Tensor


class _EnoughError(Exception):
    """Ends a forward pass that is not needed any further."""


def gathered(
    model: Any, layer: int, residual: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos head d_head"]:
    """Compute what each head of a layer gathers from a residual stream (z), whatever kind of attention it is."""
    found: list[Tensor] = []

    def keep(z: Tensor, hook: object) -> None:
        found.append(z)
        raise _EnoughError

    hooks: list[Any] = [(f"blocks.{layer}.attn.hook_z", keep)]
    with contextlib.suppress(_EnoughError):
        model.run_with_hooks(residual, start_at_layer=layer, stop_at_layer=layer + 1, fwd_hooks=hooks)
    return found[0]


def after_mlp(model: Any, layer: int, resid_mid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
    """Add to a residual stream what the MLP of a layer makes of it."""
    block = model.blocks[layer]
    return resid_mid + block.mlp(block.ln2(resid_mid))


def logits_of(model: Any, residual: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab_out"]:
    """Read the residual stream after the last layer out."""
    return model.unembed(model.ln_final(residual))
