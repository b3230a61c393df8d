"""Polynomial sequences in context: the terms are a polynomial's values, which is to be found from them."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws
from rtinterp.tasks.sequence_task import SequenceTask


@strict
class PolynomialSequence(SequenceTask):
    """x_t = p(t), with a polynomial of its own in every sequence; every next term is scored, by its squared error.

    Its coefficients are uniform in [-1, 1], and t goes from 0 to 1 in equal steps. Any degree + 1 terms in a row
    determine the next. "Interpreting Affine Recurrence Learning in GPT-style Transformers" (arXiv 2410.17438) names
    such sequences as future work; this law is our reading of it.

    Args:
        degree: of the polynomials, at most.
        n_terms: of a sequence, all of which but the last are read.
        dimension: of a term, whose entries are polynomials of their own.

    Raises:
        ValueError: degree is not an int from 0 to 8, n_terms not one from 4 to 1024, or dimension not from 1 to 64.
    """

    name: ClassVar[str] = "polynomial_sequence"

    degree: Annotated[int, Field(ge=0, le=8)] = 2
    n_terms: Annotated[int, Field(ge=4, le=1024)] = 20
    dimension: Annotated[int, Field(ge=1, le=64)] = 1

    def terms(self, n: int, generator: torch.Generator) -> Float[Tensor, "batch term dimension"]:
        coefficients = draws.signed_unit((n, self.degree + 1, 1, self.dimension), generator)
        time = torch.arange(self.n_terms, dtype=torch.float64, device=generator.device) / (self.n_terms - 1)
        terms = torch.zeros(n, self.n_terms, self.dimension, dtype=torch.float64, device=generator.device)
        # Horner's rule, whose order of additions is fixed.
        for power in range(self.degree, -1, -1):
            terms = terms * time[:, None] + coefficients[:, power]
        return terms.float()
