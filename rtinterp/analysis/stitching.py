"""Embeddings of one body in another: is what two bodies learnt the same, up to a map between their residual streams?

Rows of an embedding of one model are mapped to those of another by least squares: by a rotation (orthogonal Procrustes)
or by any affine map. With the rows so mapped in its place, the other model runs as it is; ``with_tensors`` makes it. If
the raw rows are useless there and the mapped ones are not, each body has a subspace of its own for the same algorithm.
Where there are no more rows than dimensions, any affine map fits exactly and shows nothing: fit it on some rows and
judge it on others.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


@dataclasses.dataclass(frozen=True, eq=False)
class Stitch:
    """An affine map between residual streams: ``rows @ linear + shift``.

    Attributes:
        linear: the map of directions.
        shift: what is added.
    """

    linear: Float[Tensor, "d_source d_target"]
    shift: Float[Tensor, " d_target"]

    def __call__(self, rows: Float[Tensor, "*batch d_source"]) -> Float[Tensor, "*batch d_target"]:
        """Map rows of the source's residual stream into the target's."""
        return rows @ self.linear.to(rows) + self.shift.to(rows)


def orthogonal_stitch(source: Float[Tensor, "n d_model"], target: Float[Tensor, "n d_model"]) -> Stitch:
    """Find the rotation, or reflection, about the means that brings rows closest to those of the target.

    Lengths and angles stay as they were (orthogonal Procrustes problem, Schönemann 1966).

    Raises:
        ValueError: rows of two shapes, or not finite.
    """
    source_mean, target_mean = _means(source, target)
    if source.shape != target.shape:
        raise ValueError(f"a rotation needs rows of one width, got {list(source.shape)} and {list(target.shape)}")
    left, _, right = torch.linalg.svd((source.double() - source_mean).T @ (target.double() - target_mean))
    linear = left @ right
    return Stitch(linear.to(source), (target_mean - source_mean @ linear).to(source))


def affine_stitch(
    source: Float[Tensor, "n d_source"], target: Float[Tensor, "n d_target"], ridge: float = 0.0
) -> Stitch:
    """Find the affine map that brings rows closest to those of the target, in the least squares sense.

    Args:
        ridge: how much a large map costs, in units of the mean squared deviation of the source from its mean; of the
            maps that fit equally well, the smallest is taken at 0.

    Raises:
        ValueError: not one row of the target for each of the source, rows that are not finite, or a negative ridge.
    """
    source_mean, target_mean = _means(source, target)
    if ridge < 0:
        raise ValueError(f"ridge is {ridge}; pass 0 or more")
    centred = source.double() - source_mean
    left, values, right = torch.linalg.svd(centred, full_matrices=False)
    rounding = values.max() * max(source.shape) * torch.finfo(torch.float64).eps
    penalty = ridge * values.square().sum() / source.shape[1]
    inverse = torch.where(values > rounding, values / (values.square() + penalty), 0)
    linear = right.T @ (inverse[:, None] * (left.T @ (target.double() - target_mean)))
    return Stitch(linear.to(source), (target_mean - source_mean @ linear).to(source))


def with_tensors(model: HookedModel, tensors: Mapping[str, Float[Tensor, "*shape"]]) -> HookedModel:
    """Copy a model, with some of its tensors replaced; the given one stays as it is.

    Args:
        tensors: by their names in ``model.state_dict()``, such as ``"embed.W_E"`` or ``"unembed.W_U"``.

    Raises:
        ValueError: the model has no such tensor, or one of another shape.
    """
    own = model.state_dict()
    for name, tensor in tensors.items():
        if name not in own:
            raise ValueError(f"the model has no tensor {name!r}; model.state_dict() lists those it has")
        if tensor.shape != own[name].shape:
            raise ValueError(f"{name} is of shape {list(own[name].shape)} in the model; got {list(tensor.shape)}")
    changed = copy.deepcopy(model)
    changed.load_state_dict(dict(tensors), strict=False)
    return changed


def _means(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if source.ndim != 2 or target.ndim != 2 or len(source) != len(target) or not len(source):
        raise ValueError(f"got rows of shapes {list(source.shape)} and {list(target.shape)}; pass [n d_model], twice")
    if not (source.isfinite().all() and target.isfinite().all()):
        raise ValueError("some rows are not finite; look for a diverged run")
    return source.double().mean(0), target.double().mean(0)
