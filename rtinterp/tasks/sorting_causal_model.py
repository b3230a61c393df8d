"""The causal model of sorting: each of the numbers."""

from __future__ import annotations

import abc

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.tasks import draws
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers


class SortingCausalModel(CausalTask):
    """The roles are the positions; the variables are the numbers, ``x1`` and so on.

    A source has another number there, and so the right order behind "=". Scored is the first place at which the two
    orders differ: up to there, base and source have been sorted alike.
    """

    length: int
    vocabulary: int

    @abc.abstractmethod
    def _rows(self, numbers: Int64[Tensor, "batch number"]) -> Int64[Tensor, "batch pos"]: ...
    @abc.abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]: ...

    @property
    def role_names(self) -> tuple[str, ...]:
        return (*self.variables, "=", *(f"sorted{rank}" for rank in range(1, self.length + 1)))

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(f"x{i}" for i in range(1, self.length + 1))

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        return torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        place = self.variables.index(variable)
        base = self._draw(n, generator)
        numbers = base[:, : self.length].clone()
        shift = draws.uniform(1, self.vocabulary - 1, (n,), generator)
        numbers[:, place] = (numbers[:, place] + shift) % self.vocabulary
        sources = self._rows(numbers)
        behind = self.length + 1
        first = (base[:, behind:] != sources[:, behind:]).int().argmax(1) + behind
        return Counterfactuals(with_answers(base, first - 1, sources.gather(1, first[:, None])[:, 0]), sources)
