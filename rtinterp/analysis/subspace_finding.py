"""How a subspace of the residual stream is found, and the controls that stand beside it.

=============================  ======================================================================================
``principal_subspace``         the directions of largest variance (PCA)
``sensitive_subspace``         those that are read, in the order of how much activity moves the output through them
``coordinate_subspace``        the residual coordinates of largest variance, the paper's "neurons"
``random_subspace``            directions drawn uniformly (Haar)
``variance_matched_subspace``  directions drawn at random, but so that a given share of the variance lies in them
=============================  ======================================================================================

The variance along the x axis is 4, along y 1:

>>> covariance = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
>>> principal = principal_subspace(covariance, centre=torch.zeros(2))
>>> principal.first(1).project(torch.tensor([3.0, 5.0]))
tensor([3., 0.])
>>> from rtinterp.analysis import variance_share
>>> round(variance_share(covariance, principal.first(1)), 2)
0.8
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rtinterp.analysis.subspaces import NEGLIGIBLE, Subspace, check_square, orthonormal

#: At most so many steps towards the exponent of ``variance_matched_subspace``; it takes about ten.
MAX_STEPS = 100
#: How far its share of the variance may be from the one that was asked for.
SHARE_TOLERANCE = 1e-6
#: Exponents beyond which directions are those of the largest, or the smallest, variance.
MAX_EXPONENT = 64.0


def principal_subspace(covariance: Float[Tensor, "d_model d_model"], centre: Float[Tensor, " d_model"]) -> Subspace:
    """Find all principal directions, those of largest variance first.

    Args:
        covariance: of the activations, as ``StreamingCovariance`` has it.
        centre: their mean.

    Raises:
        ValueError: a covariance that is not square or not finite.
    """
    _, directions = _principal(covariance)
    return Subspace(directions.to(centre), centre)


def sensitive_subspace(
    covariance: Float[Tensor, "d_model d_model"],
    gradient_moments: Float[Tensor, "d_model d_model"],
    centre: Float[Tensor, " d_model"],
) -> Subspace:
    """Find the directions that are read, those through which activity moves the output most first, to first order.

    Were the output linear, y = R^T (h - centre), then G = E[g g^T] = R R^T and the variance of y would be that of
    R^T C R. What a combination w of the outputs needs of h is the direction R w, and an orthogonal projection that
    keeps R w keeps w^T y exactly. So the combinations are taken in the order of their variance: the directions are
    G^(1/2) u, for the eigenvectors u of G^(1/2) C G^(1/2), made orthonormal in that order. Directions that nothing
    reads come last.

    Args:
        covariance: C, of the activations.
        gradient_moments: G, the mean of g g^T over gradients g of outputs with respect to the activations.

    Raises:
        ValueError: a matrix that is not square or not finite, or matrices of two sizes.
    """
    check_square("covariance", covariance)
    if gradient_moments.shape != covariance.shape:
        raise ValueError(f"gradient_moments is {list(gradient_moments.shape)}, covariance {list(covariance.shape)}")
    sensitivities, directions = _principal(gradient_moments, "gradient_moments")
    is_read = sensitivities > NEGLIGIBLE * sensitivities[0]
    root = directions[is_read] * sensitivities[is_read].sqrt()[:, None]  # G^(1/2) [component d_model]
    _, combinations = torch.linalg.eigh(root @ covariance.double() @ root.T)
    read = orthonormal(combinations.flip(1).T @ root)
    return Subspace(torch.cat([read, directions[~is_read]]).to(centre), centre)


def coordinate_subspace(covariance: Float[Tensor, "d_model d_model"], centre: Float[Tensor, " d_model"]) -> Subspace:
    """Take the coordinate axes, those of largest variance first.

    Raises:
        ValueError: a covariance that is not square or not finite.
    """
    check_square("covariance", covariance)
    order = covariance.diagonal().argsort(descending=True, stable=True)
    return Subspace(torch.eye(len(covariance)).to(centre)[order.to(centre.device)], centre)


def random_subspace(rank: int, centre: Float[Tensor, " d_model"], generator: torch.Generator) -> Subspace:
    """Draw ``rank`` orthonormal directions uniformly: every rotation of them is as likely.

    Args:
        generator: on the CPU, so that the directions are the same on every device.

    Raises:
        ValueError: rank is not in 0 .. d_model.
    """
    _check_rank(rank, len(centre))
    normal = torch.randn(rank, len(centre), generator=generator, dtype=torch.float64)
    return Subspace(orthonormal(normal).to(centre) if rank else normal.to(centre), centre)


def variance_matched_subspace(
    covariance: Float[Tensor, "d_model d_model"],
    rank: int,
    share: float,
    centre: Float[Tensor, " d_model"],
    generator: torch.Generator,
) -> Subspace:
    """Draw ``rank`` orthonormal directions at random, in which a given share of the variance lies.

    They span C^(x/2) times normal vectors. For x = 0 they are uniform; the larger x, the more they lean towards the
    principal directions, the smaller the more away from them. x is found for the vectors drawn.

    Args:
        share: of the variance of ``covariance``, in [0, 1], up to what ``rank`` directions can have.

    Raises:
        ValueError: rank is not in 1 .. d_model, or no such directions can have that share.
    """
    _check_rank(rank, len(centre))
    variances, directions = _principal(covariance)
    normal = torch.randn(rank, len(variances), generator=generator, dtype=torch.float64)
    # Exponents of the logarithm, so that no power overflows; what has no variance counts as having hardly any.
    logs = (variances.clamp(min=NEGLIGIBLE * variances[0]) / variances[0]).log()

    def drawn(exponent: float) -> Float64[Tensor, "rank component"]:
        if exponent >= 0:
            return torch.linalg.qr((normal * (exponent / 2 * logs).exp()).T)[0].T
        # The largest rows first, or QR loses all but the first few directions to rounding.
        scales = (exponent / 2 * (logs - logs[-1])).exp()
        return torch.linalg.qr((normal * scales).flip(1).T)[0].T.flip(1)

    def share_of(exponent: float) -> float:
        return ((drawn(exponent).square() @ variances).sum() / variances.sum()).item()

    exponent = _where_zero(lambda exponent: share_of(exponent) - share) if rank else None
    if exponent is None:
        possible = f"{share_of(-MAX_EXPONENT):.3g} to {share_of(MAX_EXPONENT):.3g}" if rank else "none"
        raise ValueError(f"{rank} such directions can have {possible} of the variance, not {share:.3g}")
    return Subspace((drawn(exponent) @ directions).to(centre), centre)


def _where_zero(rising: Callable[[float], float]) -> float | None:
    """Where a function that rises is zero, by false position (Illinois); None if not within ``MAX_EXPONENT``."""
    near, at_near = 0.0, rising(0.0)
    far = -1.0 if at_near > 0 else 1.0
    at_far = rising(far)
    while at_far * at_near > 0:
        if abs(far) >= MAX_EXPONENT:
            return None
        near, at_near = far, at_far
        far *= 2
        at_far = rising(far)
    for _ in range(MAX_STEPS):
        if abs(at_far) <= SHARE_TOLERANCE:
            break
        new = far - at_far * (far - near) / (at_far - at_near)
        at_new = rising(new)
        if at_new * at_far <= 0:
            near, at_near = far, at_far
        else:
            at_near /= 2
        far, at_far = new, at_new
    return far


def _principal(
    covariance: Float[Tensor, "d_model d_model"], name: str = "covariance"
) -> tuple[Float64[Tensor, " component"], Float64[Tensor, "component d_model"]]:
    """Variances, the largest first, and their directions; a sign for each that does not depend on the machine."""
    check_square(name, covariance)
    variances, vectors = torch.linalg.eigh(covariance.double())
    directions = vectors.flip(1).T
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return variances.flip(0).clamp(min=0), directions * largest.sign()


def _check_rank(rank: int, d_model: int) -> None:
    if not 0 <= rank <= d_model:
        raise ValueError(f"rank is {rank}; pass 0 to {d_model}, the dimension of the space")
