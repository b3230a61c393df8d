"""Parts of a transformer's forward pass, to go on from the middle of it."""

from __future__ import annotations

import contextlib
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from rtinterp.models.transformer.multipliers import NO_FACTORS, Factors, times


def is_plain(model: Any) -> bool:
    """Whether nobody has hooks on a model, so that its parts do what the model itself does."""
    return not any(point.fwd_hooks for point in model.hook_dict.values())


def check_plain(model: Any) -> None:
    """Raise ValueError if a model has hooks, which its parts would leave out."""
    hooked = next((name for name, point in model.hook_dict.items() if point.fwd_hooks), None)
    if hooked is not None:
        raise ValueError(
            f"the model has hooks, at {hooked}, which would be left out here; take them away, or measure within "
            "intervene() with accuracy() or prediction_table()"
        )


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
    return kept(model, layer, resid_mid) + block.mlp(block.ln2(resid_mid))


def after_heads(
    model: Any,
    layer: int,
    resid_pre: Float[Tensor, "*batch d_model"],
    z: Float[Tensor, "*batch head d_head"],
) -> Float[Tensor, "*batch d_model"]:
    """Add to a residual stream what the heads of a layer write of what they gathered."""
    attention, factor = model.blocks[layer].attn, factors_of(model, layer).attn_out
    written = z.flatten(-2) @ attention.W_O.flatten(0, 1) + attention.b_O
    return kept(model, layer, resid_pre) + times(factor, written)


def kept(model: Any, layer: int, residual: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
    """What is left of a residual stream when a part of the layer adds to it: all of it, unless the body scales it."""
    return times(factors_of(model, layer).skip, residual)


def factors_of(model: Any, layer: int) -> Factors:
    """The fixed factors in a block; GPT-2's has none."""
    return getattr(model.blocks[layer], "factors", NO_FACTORS)


def check_adds_up(model: Any) -> None:
    """Raise ValueError unless the last residual stream is the sum of all that was written to it."""
    if any(factors_of(model, layer).skip != 1.0 for layer in range(model.cfg.n_layers)):
        raise ValueError(
            "the body scales its residual stream (skip_share), so what is written early counts less than what is "
            "written late; pass a model without skip_share"
        )


def logits_of(model: Any, residual: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab_out"]:
    """Read the residual stream after the last layer out."""
    return model.unembed(model.ln_final(residual))


def logits_from(
    model: Any, site: str, residual: Float[Tensor, "batch pos d_model"], scored: Bool[Tensor, "batch pos"]
) -> Float[Tensor, "prediction d_vocab_out"]:
    """Go on from one site of a residual stream to scored predictions, which are all that the last layer computes.

    Differentiable. Hooks of the model are not called.
    """
    _, number, name = site.split(".")
    h, first, last = residual, int(number), model.cfg.n_layers - 1
    if name == "hook_resid_mid":
        h = after_mlp(model, first, h if first < last else h[scored])
    for layer in range(first + (name != "hook_resid_pre"), model.cfg.n_layers):
        z = gathered(model, layer, h)
        if layer == last:
            z, h = z[scored], h[scored]
        h = after_mlp(model, layer, after_heads(model, layer, h, z))
    return logits_of(model, h if h.ndim == 2 else h[scored])


def logits_from_part(
    model: Any,
    site: str,
    stream: Float[Tensor, "batch pos d_model"],
    activation: Float[Tensor, "batch pos *shape"],
    scored: Bool[Tensor, "batch pos"],
) -> Float[Tensor, "prediction d_vocab_out"]:
    """Go on from what heads have gathered (``hook_z``) or what an MLP writes (``hook_mlp_out``), as ``logits_from``.

    Args:
        stream: the residual stream that the heads, or the MLP, read.
        activation: what is at the site.
    """
    layer = int(site.split(".")[1])
    is_last, is_mlp = layer == model.cfg.n_layers - 1, site.endswith("hook_mlp_out")
    if is_last:
        stream, activation = stream[scored], activation[scored]
    after = kept(model, layer, stream) + activation if is_mlp else after_heads(model, layer, stream, activation)
    if not is_last:
        return logits_from(model, f"blocks.{layer}.hook_resid_{'post' if is_mlp else 'mid'}", after, scored)
    return logits_of(model, after if is_mlp else after_mlp(model, layer, after))
