"""Which numbers of an activation change: at some positions, of some heads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import SupportsIndex, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

#: Positions: a mask, or a function from tokens to one; None for all.
Where: TypeAlias = (
    "Bool[Tensor, 'batch pos'] | Callable[[Int64[Tensor, 'batch pos']], Bool[Tensor, 'batch pos']] | None"
)

#: Attention scores and patterns, [batch head query_pos key_pos]. Everywhere else positions come before heads.
HEADS_FIRST = ("hook_pattern", "hook_attn_scores")


def check_selection(where: object, heads: object) -> None:
    """Raise ValueError for what can be no positions, or no heads, of any activation."""
    if isinstance(heads, int):
        raise ValueError(f"heads={heads}: pass a tuple, ({heads},)")
    numbers = heads if isinstance(heads, Iterable) else [heads]
    if heads is not None and not all(isinstance(head, SupportsIndex) for head in numbers):
        raise ValueError(f"heads={heads!r}: pass their numbers, such as (0, 2)")
    if where is not None and not callable(where) and not isinstance(where, Tensor):
        raise ValueError(f"where={where!r}: pass a mask [batch pos], or a function from tokens to one")


def selected(
    site: str,
    activation: Float[Tensor, "batch pos *shape"],
    tokens: Int64[Tensor, "batch pos"] | None,
    where: Where,
    heads: tuple[int, ...] | None,
) -> Bool[Tensor, "*broadcastable"] | None:
    """Make the mask of the numbers that change, in a shape that broadcasts to the activation; None for all.

    Args:
        site: the name of the hook point, which tells where its heads are.
        tokens: what the model reads; None where that is not known.

    Raises:
        ValueError: where or heads do not fit the activation, or tokens are needed and not known.
    """
    pos_axis, head_axis = (2, 1) if site.endswith(HEADS_FIRST) else (1, 2)
    chosen = None
    if where is not None:
        mask = (where(known(tokens)) if callable(where) else where).to(activation.device)
        expected = [activation.shape[0], activation.shape[pos_axis]]
        if mask.dtype != torch.bool or list(mask.shape) != expected:
            raise ValueError(
                f"where is of shape {list(mask.shape)} and {mask.dtype}; {site} needs truth values {expected}: pass a "
                "function of the tokens for batches that run in slices"
            )
        chosen = _along(mask, (0, pos_axis), activation)
    if heads is not None:
        if activation.ndim != 4 or not all(0 <= head < activation.shape[head_axis] for head in heads):
            raise ValueError(
                f"heads={heads}: {site} has activations of shape {list(activation.shape)}; choose a site "
                "[batch pos head d_head], such as blocks.0.attn.hook_z, or a hook_pattern, and heads that it has"
            )
        of_heads = torch.zeros(activation.shape[head_axis], dtype=torch.bool, device=activation.device)
        of_heads[list(heads)] = True
        of_heads = _along(of_heads, (head_axis,), activation)
        chosen = of_heads if chosen is None else chosen & of_heads
    return chosen


def known(tokens: Int64[Tensor, "batch pos"] | None) -> Int64[Tensor, "batch pos"]:
    """Return the tokens that something depends on.

    Raises:
        ValueError: they are not known.
    """
    if tokens is None:
        raise ValueError(
            "the model starts at a layer, so that its tokens are not known: run it on tokens, or pass where as a mask"
        )
    return tokens


def _along(mask: Tensor, axes: tuple[int, ...], activation: Tensor) -> Tensor:
    """A mask of some axes of the activation, with axes of length 1 in the place of its others."""
    return mask.view([activation.shape[axis] if axis in axes else 1 for axis in range(activation.ndim)])
