"""Affine recurrences in context: ``x_{t+1} = A x_t + b``, of which A and b are to be found from the terms."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws
from rtinterp.tasks.affine_causal_model import AffineCausalModel
from rtinterp.tasks.base import check_sample_size
from rtinterp.tasks.recurrences import Recurrences
from rtinterp.tasks.sequence_task import SequenceTask


@strict
class AffineRecurrence(AffineCausalModel, SequenceTask):
    """x_{t+1} = A x_t + b, with A and b of its own in every sequence; every next term is scored, by its squared error.

    Entries of b and of the first term are uniform in [-1, 1], those of A too, over the square root of the dimension.
    Sequences of which a term exceeds the limit are drawn again. Only the abstract of "Interpreting Affine Recurrence
    Learning in GPT-style Transformers" (arXiv 2410.17438) is public: this law is our reading of it.

    Args:
        n_terms: of a sequence, all of which but the last are read.
        dimension: of a term; 1 is the abstract's.
        limit: the largest absolute value of a term's entries.

    Raises:
        ValueError: n_terms is not an int from 4 to 1024, dimension not one from 1 to 64, or limit below 1.
    """

    name: ClassVar[str] = "affine_recurrence"

    n_terms: Annotated[int, Field(ge=4, le=1024)] = 20
    dimension: Annotated[int, Field(ge=1, le=64)] = 1
    #: First terms lie in [-1, 1], and none of them is to be refused.
    limit: Annotated[float, Field(ge=1)] = 5.0

    def recurrences(self, n: int, generator: torch.Generator) -> Recurrences:
        """Draw ``n`` recurrences whose terms keep to the limit, on the generator's device."""
        check_sample_size(n)
        kept: list[Recurrences] = []
        while sum(map(len, kept)) < n:
            drawn = self._draw(n, generator)
            kept.append(drawn[self._keep_to_limit(drawn)])
        return Recurrences.joined(kept)[:n]

    def terms(self, n: int, generator: torch.Generator) -> Float[Tensor, "batch term dimension"]:
        return self.recurrences(n, generator).terms(self.n_terms).float()

    def _draw(self, n: int, generator: torch.Generator) -> Recurrences:
        matrix = draws.signed_unit((n, self.dimension, self.dimension), generator) / self.dimension**0.5
        offset, first = (draws.signed_unit((n, self.dimension), generator) for _ in range(2))
        return Recurrences(matrix, offset, first)

    def _keep_to_limit(self, drawn: Recurrences) -> Bool[Tensor, " batch"]:
        return (drawn.terms(self.n_terms).abs() <= self.limit).all(dim=(1, 2))
