"""What can be said of the next term of a sequence of vectors without a model, and how far off it is.

Each estimate of x_{t+1} reads the terms up to x_t alone:

- ``copy``: x_t.
- ``mean of two``: (x_t + x_{t-1}) / 2.
- ``gradient step``: the map from x_{i-1} and 1 to x_i that a single step of least squares from zero makes of the pairs
  so far. Its rate, one number a position, is the best for the batch that it is measured on.
- ``three terms``: of one dimension, x_t + d_t^2 / d_{t-1} with d_t = x_t - x_{t-1}, which is exact for an affine
  recurrence, up to rounding; where d_{t-1} is as good as 0, x_t.
- ``least squares``: the affine map of least norm among those that fit the pairs so far best.

Where there are too few terms for an estimate, it is not a number.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rtinterp.tasks import Batch

#: A difference of terms below this share of their size tells more of rounding than of the recurrence.
NO_DIFFERENCE = 1e-5
#: Singular values below this share of the largest count as zero: what float32 terms are rounded to.
ROUNDING = 1e-5


def next_term_estimates(batch: Batch) -> dict[str, Float64[Tensor, "batch pos dimension"]]:
    """Estimate after each term the next one, in the ways above.

    Args:
        batch: of a ``SequenceTask``.

    Raises:
        ValueError: its sequences are not of vectors, or it does not say what follows them.
    """
    if batch.targets is None or not batch.tokens.is_floating_point():
        raise ValueError("the batch is not of vectors and the terms that follow them; pass one of a SequenceTask")
    terms = batch.tokens.double()
    estimates = {
        "copy": terms,
        "mean of two": (terms + _before(terms)) / 2,
        "gradient step": _gradient_step(terms, batch.targets.double()),
        "least squares": _least_squares(terms),
    }
    if terms.shape[2] == 1:
        estimates["three terms"] = _three_terms(terms)
    return estimates


def squared_errors(
    estimates: Float[Tensor, "batch pos dimension"], targets: Float[Tensor, "batch pos dimension"]
) -> Float64[Tensor, " pos"]:
    """Compute the mean square of what estimates are off by, over sequences and dimensions; nan where there are none."""
    return (estimates.double() - targets.double()).square().mean(dim=(0, 2))


def _before(terms: Float64[Tensor, "batch pos dimension"]) -> Float64[Tensor, "batch pos dimension"]:
    nothing = torch.full_like(terms[:, :1], torch.nan)
    return torch.cat([nothing, terms[:, :-1]], dim=1)


def _three_terms(terms: Float64[Tensor, "batch pos 1"]) -> Float64[Tensor, "batch pos 1"]:
    difference = terms - _before(terms)
    before = _before(difference)
    told = before.abs() > NO_DIFFERENCE * (1 + terms.abs())
    estimate = terms + torch.where(told, difference.square() / before, 0.0)
    return torch.where(before.isnan(), torch.nan, estimate)


def _pairs(
    terms: Float64[Tensor, "batch pos dimension"], t: int
) -> tuple[Float64[Tensor, "batch pair feature"], Float64[Tensor, "batch pair dimension"]]:
    """The terms before x_t with a 1 beside each, and what followed each."""
    read = terms[:, :t]
    return torch.cat([read, torch.ones_like(read[..., :1])], dim=2), terms[:, 1 : t + 1]


def _now(terms: Float64[Tensor, "batch pos dimension"], t: int) -> Float64[Tensor, "batch 1 feature"]:
    read = terms[:, t : t + 1]
    return torch.cat([read, torch.ones_like(read[..., :1])], dim=2)


def _gradient_step(
    terms: Float64[Tensor, "batch pos dimension"], targets: Float64[Tensor, "batch pos dimension"]
) -> Float64[Tensor, "batch pos dimension"]:
    estimates = torch.full_like(terms, torch.nan)
    for t in range(1, terms.shape[1]):
        features, followed = _pairs(terms, t)
        step = (_now(terms, t) @ features.mT @ followed)[:, 0] / t
        rate = (step * targets[:, t]).sum() / step.square().sum()
        estimates[:, t] = rate * step
    return estimates


def _least_squares(terms: Float64[Tensor, "batch pos dimension"]) -> Float64[Tensor, "batch pos dimension"]:
    estimates = torch.full_like(terms, torch.nan)
    for t in range(1, terms.shape[1]):
        features, followed = _pairs(terms, t)
        estimates[:, t] = (_now(terms, t) @ torch.linalg.pinv(features, rtol=ROUNDING) @ followed)[:, 0]
    return estimates
