"""The next value of a polynomial from the last ones, all in equal steps."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def extrapolations(terms: Float[Tensor, "batch pos dimension"], degree: int) -> Float64[Tensor, "batch pos dimension"]:
    """Estimate after each term the next one, by the polynomial through the last degree + 1 terms.

    Of degree 0 that is the last term again, of degree 1 the line through two. It is exact, but for rounding, on
    polynomials of this degree or a lower one. Where there are fewer terms, it is not a number.

    Raises:
        ValueError: the degree is negative.
    """
    if degree < 0:
        raise ValueError(f"degree is {degree}; pass 0 or more")
    read = terms.double()
    estimates = torch.zeros_like(read)
    # The difference of order degree + 1, which is 0 for such polynomials, solved for its newest term.
    for back in range(degree + 1):
        earlier = torch.full_like(read, torch.nan)
        earlier[:, back:] = read[:, : read.shape[1] - back]
        estimates += (-1) ** back * math.comb(degree + 1, back + 1) * earlier
    return estimates
