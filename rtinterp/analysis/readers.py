"""The part of a subspace that is read, and the part that nothing reads.

A learned subspace may make an interchange succeed through a pair of parts of which neither does what the whole does:
activity varies along a part that nothing reads, and moves the output along a part where it never varies (Makelov et al.
2023, arXiv 2311.17030). ``split_by_readers`` takes it apart, so that each part can be interchanged on its own.

After the last layer, the unembedding is the only reader, and what it cannot see has as many dimensions as d_model
exceeds the vocabulary. Before that, the matrices of one layer already read all of d_model, and the split is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.analysis.subspaces import Subspace

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Singular values below this share of the largest one are rounding, of float32 readers.
NOTHING = 1e-5


class Split(NamedTuple):
    """Two orthogonal subspaces, which together hold a third.

    Attributes:
        seen: what of its directions lies in the span of the readers.
        unseen: what of its directions is orthogonal to them.
        share_seen: the mean squared length, in [0, 1], of its directions' parts in the span.
    """

    seen: Subspace
    unseen: Subspace
    share_seen: float


def unembedding_readers(model: HookedModel) -> Float[Tensor, "d_vocab_out d_model"]:
    """List what the differences between logits read of the residual stream after the last layer, up to its norm.

    A final LayerNorm takes the mean over d_model away, and any norm scales each number by its weight; what all logits
    share changes no prediction. The norm's division by the standard deviation, which reads all of the stream, is left
    out.

    Raises:
        ValueError: the model has no final layer norm of its own.
    """
    norm: Any = getattr(model, "ln_final", None)
    if not hasattr(norm, "w"):
        raise ValueError("the model has no ln_final with a weight w; split by readers of your own")
    read = (norm.w[:, None] * model.W_U).detach().T.double()
    read = read - read.mean(0)
    centred = read - read.mean(1, keepdim=True) if hasattr(norm, "b") else read
    return centred.to(model.W_U)


def split_by_readers(subspace: Subspace, readers: Float[Tensor, "reader d_model"]) -> Split:
    """Split a subspace into the part in the span of what reads it, and the part that is orthogonal to all readers.

    Each part spans what is left of the directions there, so that ranks add up to more than the subspace's where
    directions have both parts.

    Raises:
        ValueError: readers of another width, or not finite.
    """
    if readers.ndim != 2 or readers.shape[1] != subspace.d_model or not readers.isfinite().all():
        raise ValueError(f"readers have shape {list(readers.shape)}; pass finite ones [reader {subspace.d_model}]")
    directions = subspace.directions.double()
    span = _span(readers.double().to(directions.device))
    seen = directions @ span.T @ span
    part, rest = (Subspace(_span(rows).to(subspace.directions), subspace.centre) for rows in (seen, directions - seen))
    return Split(part, rest, seen.square().sum(1).mean().item())


def _span(rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "rank d_model"]:
    """Orthonormal directions that span the rows, but for those along which hardly anything lies."""
    _, lengths, directions = torch.linalg.svd(rows, full_matrices=False)
    return directions[lengths > NOTHING * max(lengths.max().item(), NOTHING)]
