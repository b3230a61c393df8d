"""The causal model of multiplication: each digit of the factors."""

from __future__ import annotations

import abc

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.tasks import draws
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers

BASE = 10


class ProductCausalModel(CausalTask):
    """The roles are the positions; the variables are the digits of the factors, ``a0`` and ``b0`` the units.

    A source has another digit there, and so its own product. Scored is the first place at which the two products
    differ, the units first: up to there, base and source have been multiplied alike.
    """

    n_digits_a: int
    n_digits_b: int

    @property
    @abc.abstractmethod
    def equals_position(self) -> int: ...
    @abc.abstractmethod
    def _rows(self, a: Int64[Tensor, "batch a_digit"], b: Int64[Tensor, "batch b_digit"]) -> Tensor: ...
    @abc.abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]: ...

    @property
    def role_names(self) -> tuple[str, ...]:
        a, b = self.variables[: self.n_digits_a], self.variables[self.n_digits_a :]
        product = (f"product{digit}" for digit in range(self.n_digits_a + self.n_digits_b))
        return (*a, "*", *b, "=", *product, "end")

    @property
    def variables(self) -> tuple[str, ...]:
        factors = (("a", self.n_digits_a), ("b", self.n_digits_b))
        return tuple(f"{name}{digit}" for name, n_digits in factors for digit in range(n_digits))

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        return torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)

    def factors(
        self, tokens: Int64[Tensor, "batch pos"]
    ) -> tuple[Int64[Tensor, "batch a_digit"], Int64[Tensor, "batch b_digit"]]:
        """The digits of both factors, units first."""
        return tokens[:, : self.n_digits_a], tokens[:, self.n_digits_a + 1 : self.equals_position]

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        base = self._draw(n, generator)
        a, b = (factor.clone() for factor in self.factors(base))
        changed, place = (a if variable[0] == "a" else b), int(variable[1:])
        # No number begins with 0.
        least = int(place == changed.shape[1] - 1)
        shift = draws.uniform(1, BASE - 1 - least, (n,), generator)
        changed[:, place] = (changed[:, place] - least + shift) % (BASE - least) + least
        sources = self._rows(a, b)
        behind = self.equals_position + 1
        first = (base[:, behind:] != sources[:, behind:]).int().argmax(1) + behind
        return Counterfactuals(with_answers(base, first - 1, sources.gather(1, first[:, None])[:, 0]), sources)
