"""Affine recurrences themselves: their coefficients, and the terms that follow from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Recurrences:
    """Recurrences ``x_{t+1} = matrix x_t + offset``, and where each begins."""

    matrix: Float64[Tensor, "batch dimension dimension"]
    offset: Float64[Tensor, "batch dimension"]
    first: Float64[Tensor, "batch dimension"]

    def terms(self, n_terms: int) -> Float64[Tensor, "batch term dimension"]:
        """Compute the first terms, the same to the last bit on every machine."""
        terms = [self.first]
        while len(terms) < n_terms:
            terms.append(self.next_of(terms[-1]))
        return torch.stack(terms, dim=1)

    def next_of(self, terms: Float64[Tensor, "batch ... dimension"]) -> Float64[Tensor, "batch ... dimension"]:
        """Compute what follows terms, each under its own sequence's recurrence."""
        middle = (1,) * (terms.ndim - 2)
        result = self.offset.reshape(len(self.offset), *middle, -1).expand_as(terms)
        # Column after column: a matrix product may add in another order on another machine.
        for column in range(terms.shape[-1]):
            of_column = self.matrix[:, :, column].reshape(len(self.matrix), *middle, -1)
            result = result + of_column * terms[..., column : column + 1]
        return result

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, rows: slice | Tensor) -> Recurrences:
        return Recurrences(self.matrix[rows], self.offset[rows], self.first[rows])

    @staticmethod
    def joined(parts: Sequence[Recurrences]) -> Recurrences:
        """Put recurrences behind one another."""
        names = [field.name for field in dataclasses.fields(Recurrences)]
        return Recurrences(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
