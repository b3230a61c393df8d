"""Subspaces of the residual stream: what lies in one, and how two compare.

A ``Subspace`` is an affine one: orthonormal directions, the most important first, through a centre. What is kept of an
activation h is ``centre + P (h - centre)``; what is removed is the rest. ``first(k)`` of a subspace of all directions
makes the nested ones of a curve over k. ``subspace_finding`` finds them.

>>> plane = Subspace(torch.eye(3)[:2], centre=torch.tensor([0.0, 0.0, 7.0]))
>>> plane.project(torch.tensor([1.0, 2.0, 3.0]))
tensor([1., 2., 7.])
>>> plane.first(1).remove(torch.tensor([1.0, 2.0, 3.0]))
tensor([0., 2., 3.])
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float, Float64
from torch import Tensor

#: How far from orthonormal directions may be that are given as float32.
ORTHONORMAL_TOLERANCE = 1e-4
#: What is below this share of the largest is rounding.
NEGLIGIBLE = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Subspace:
    """Orthonormal directions through a centre, in the space of the activations at one site.

    Attributes:
        directions: one row each, the most important first.
        centre: a point that the subspace goes through, usually the mean of the activations.

    Raises:
        ValueError: the directions are not orthonormal, or not in the space of the centre.
    """

    directions: Float[Tensor, "rank d_model"]
    centre: Float[Tensor, " d_model"]

    def __post_init__(self) -> None:
        directions, centre = self.directions, self.centre
        if directions.ndim != 2 or centre.shape != directions.shape[1:]:
            raise ValueError(
                f"directions have shape {list(directions.shape)}, the centre {list(centre.shape)}; "
                "pass [rank d_model] and [d_model]"
            )
        error = (directions @ directions.T - torch.eye(len(directions)).to(directions)).abs()
        if not error.numel() == 0 and not error.max() < ORTHONORMAL_TOLERANCE:
            raise ValueError(
                f"the directions are not orthonormal: off by {error.max():.2g}; orthonormal(directions) makes them so"
            )

    @property
    def rank(self) -> int:
        """The number of directions."""
        return len(self.directions)

    @property
    def d_model(self) -> int:
        """The dimension of the space around it."""
        return len(self.centre)

    def first(self, k: int) -> Subspace:
        """The subspace of the ``k`` most important directions; of none for k = 0.

        Raises:
            ValueError: k is not in 0 .. rank.
        """
        if not 0 <= k <= self.rank:
            raise ValueError(f"k is {k}; this subspace has {self.rank} directions, take 0 to {self.rank}")
        return Subspace(self.directions[:k], self.centre)

    def to(self, like: Tensor) -> Subspace:
        """The same subspace on the device and in the precision of a tensor."""
        if (like.device, like.dtype) == (
            self.directions.device,
            self.directions.dtype,
        ) and like.dtype == self.centre.dtype:
            return self
        return Subspace(self.directions.to(like), self.centre.to(like))

    def coordinates(self, activations: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch rank"]:
        """Where activations lie along each direction, from the centre."""
        return (activations - self.centre) @ self.directions.T

    def project(self, activations: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Keep what lies in the subspace, and put the centre in the place of the rest."""
        return self.centre + self.coordinates(activations) @ self.directions

    def remove(self, activations: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Put the centre in the place of what lies in the subspace, and keep the rest."""
        return activations - self.coordinates(activations) @ self.directions

    def interchange(
        self, activations: Float[Tensor, "*batch d_model"], sources: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_model"]:
        """Put what lies in the subspace of the sources in the place of the activations' own; the centre drops out."""
        return activations + ((sources - activations) @ self.directions.T) @ self.directions


def orthonormal(vectors: Float[Tensor, "rank d_model"]) -> Float[Tensor, "rank d_model"]:
    """Make rows orthonormal one after the other (Gram and Schmidt), so that the first k span what they spanned.

    Raises:
        ValueError: the rows are linearly dependent.
    """
    q, r = torch.linalg.qr(vectors.double().T)
    diagonal = r.diagonal()
    if len(diagonal) < len(vectors) or (diagonal.abs() <= NEGLIGIBLE * diagonal.abs().max()).any():
        raise ValueError(f"the {len(vectors)} vectors of {vectors.shape[1]} numbers are linearly dependent; pass fewer")
    return (q * diagonal.sign()).T.to(vectors)


def variance_share(covariance: Float[Tensor, "d_model d_model"], subspace: Subspace) -> float:
    """Compute the share of the variance, in [0, 1], that lies in a subspace.

    Raises:
        ValueError: a covariance that is not square or not finite, or of another size, or without variance.
    """
    check_square("covariance", covariance)
    directions, covariance = subspace.directions.double(), covariance.double()
    if len(covariance) != subspace.d_model:
        raise ValueError(f"the covariance is of {len(covariance)} numbers, the subspace of {subspace.d_model}")
    if covariance.trace() <= 0:
        raise ValueError("no variance at all: a share needs activations that differ")
    return ((directions @ covariance * directions).sum() / covariance.trace()).item()


def principal_angles(one: Subspace, other: Subspace) -> Float64[Tensor, " direction"]:
    """Compute the angles between two subspaces, in radians in [0, pi / 2], the smallest first.

    There are as many as the smaller one has directions. All are zero if it lies in the other; all are pi / 2 if the
    two are orthogonal. The mean of their squared cosines has the expectation ``expected_overlap`` at random.

    Raises:
        ValueError: subspaces of two spaces.
    """
    if one.d_model != other.d_model:
        raise ValueError(f"one subspace is of {one.d_model} numbers, the other of {other.d_model}")
    smaller, larger = sorted((one.directions.double(), other.directions.double()), key=len)
    cosines = torch.linalg.svdvals(smaller @ larger.T)
    # Near zero the cosine cannot tell angles apart; the sine, of what lies outside the larger, can.
    sines = torch.linalg.svdvals(smaller - smaller @ larger.T @ larger).flip(0)[: len(cosines)]
    return torch.where(cosines.square() > 0.5, sines.clamp(max=1).asin(), cosines.clamp(max=1).acos())


def overlap(one: Subspace, other: Subspace) -> float:
    """Compute the mean squared cosine of the principal angles, in [0, 1]: the share of the smaller in the larger.

    Raises:
        ValueError: subspaces of two spaces, or of no directions.
    """
    if not min(one.rank, other.rank):
        raise ValueError("a subspace of no directions overlaps with nothing; compare ranks of at least 1")
    return principal_angles(one, other).cos().square().mean().item()


def expected_overlap(rank: int, other_rank: int, d_model: int) -> float:
    """Compute the expectation of ``overlap`` where one of the subspaces is drawn uniformly: the larger rank / d_model.

    The trace of the product of two projections is their ranks' product over d_model on average.
    """
    return max(rank, other_rank) / d_model


def check_square(name: str, matrix: Tensor) -> None:
    """Raise ValueError, under the name of the matrix, if it is not square or not finite."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} has shape {list(matrix.shape)}; pass [d_model d_model]")
    if not matrix.isfinite().all():
        raise ValueError(f"{name} is not finite; look for a diverged run")
