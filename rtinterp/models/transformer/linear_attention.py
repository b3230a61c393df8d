"""Attention without softmax, in its parallel form: every score is what a query takes from a key.

A head of it is a linear recurrent network as well: its state is a matrix, to which every position adds what its key
stands for, and which a query reads. Of three kinds, with d the head's dimension and all sums over the positions up to
the query's:

- ``linear``: the sum of q . k / sqrt(d) times v; the state is the sum of k v^T.
- ``linear_normalised``: phi(q) . phi(k) in its place, divided by the sum of these, with phi = elu + 1, which is
  positive (Katharopoulos, Vyas, Pappas and Fleuret 2020, arXiv 2006.16236).
- ``retention``: as ``linear``, and of head h everything fades by 1 - 2^(-5 - h) with every position (Sun et al. 2023,
  arXiv 2307.08621, without its rotation and norm).
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

LinearKind: TypeAlias = Literal["linear", "linear_normalised", "retention"]
LINEAR_KINDS: tuple[LinearKind, ...] = get_args(LinearKind)

#: The first head of retention forgets a thirty-second at every position.
FIRST_FADING_BITS = 5


def decays(kind: LinearKind, n_heads: int, device: torch.device | None = None) -> Float[Tensor, " head"]:
    """What of each head's state is left after a position."""
    if kind != "retention":
        return torch.ones(n_heads, device=device)
    return 1 - 2.0 ** -(FIRST_FADING_BITS + torch.arange(n_heads, device=device, dtype=torch.float32))


def featured(kind: LinearKind, x: Float[Tensor, "*batch d_head"]) -> Float[Tensor, "*batch d_head"]:
    """What a query or a key stands for."""
    return F.elu(x) + 1 if kind == "linear_normalised" else x


def linear_scores(
    kind: LinearKind, q: Float[Tensor, "*batch query_pos d_head"], k: Float[Tensor, "*batch key_pos d_head"]
) -> Float[Tensor, "*batch query_pos key_pos"]:
    """How much each query takes from each key, before anything fades or is divided."""
    scores = (featured(kind, q) @ featured(kind, k).transpose(-1, -2)).float()
    return scores if kind == "linear_normalised" else scores / math.sqrt(q.shape[-1])


def linear_pattern(
    kind: LinearKind,
    scores: Float[Tensor, "batch head query_pos key_pos"],
    distance: Int64[Tensor, "#batch 1 query_pos key_pos"],
    visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
) -> Float[Tensor, "batch head query_pos key_pos"]:
    """What each query takes from each key in the end: nothing where nothing is visible.

    Args:
        distance: positions from the key to the query.
    """
    pattern = scores.masked_fill(~visible, 0.0)
    if kind == "retention":
        left = decays(kind, scores.shape[1], scores.device)[:, None, None]
        pattern = pattern * left ** distance.clamp(min=0)
    if kind == "linear_normalised":
        # Of a query that sees nothing, nothing is divided.
        pattern = pattern / pattern.sum(-1, keepdim=True).clamp(min=torch.finfo(pattern.dtype).tiny)
    return pattern


def states(
    kind: LinearKind,
    k: Float[Tensor, "batch pos head d_head"],
    v: Float[Tensor, "batch pos head d_head"],
    seen: Bool[Tensor, "#batch pos"],
) -> Float[Tensor, "batch pos head d_head_of_key d_head"]:
    """Each head's state after every position: what has been added to it, as far as it has not faded.

    Args:
        seen: False at positions that add nothing.
    """
    added = torch.einsum("bphi,bphj->bphij", featured(kind, k), v) * seen[..., None, None, None]
    n_pos = k.shape[1]
    position = torch.arange(n_pos, device=k.device)
    distance = position[:, None] - position
    left = decays(kind, k.shape[2], k.device)[:, None, None] ** distance.clamp(min=0) * (distance >= 0)
    return torch.einsum("hqp,bphij->bqhij", left, added)
