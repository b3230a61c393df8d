"""The causal model of decimal addition: the carry into each digit."""

from __future__ import annotations

import abc

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers

#: Digits are drawn anew until the carry is another one; half of all draws change it.
MAX_ROUNDS = 200
BASE = 10


class DecimalCausalModel(CausalTask):
    """The roles are the positions, since a position means the same in every sum; the variables are the carries.

    ``carry 1`` is what the units hand on to the tens, and so on. A source has the digits of its base from there on, and
    lower digits that carry otherwise; only the digit that the carry goes into is scored.
    """

    n_digits: int

    @property
    def role_names(self) -> tuple[str, ...]:
        a, b = ([f"{name}{digit}" for digit in range(self.n_digits)] for name in "ab")
        return (*a, "+", *b, "=", *(f"sum{digit}" for digit in range(self.n_digits + 1)), "end")

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(f"carry {digit}" for digit in range(1, self.n_digits + 1))

    @property
    @abc.abstractmethod
    def equals_position(self) -> int: ...
    @abc.abstractmethod
    def _rows(self, a: Int64[Tensor, "batch digit"], b: Int64[Tensor, "batch digit"]) -> Int64[Tensor, "batch pos"]: ...
    @abc.abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]: ...

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        return torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        digit = self.variables.index(variable) + 1
        base = self._draw(n, generator)
        numbers = self._digits(base)
        others = numbers.clone()
        remaining = torch.arange(n, device=base.device)
        for _ in range(MAX_ROUNDS):
            others[:, remaining, :digit] = self._digits(self._draw(len(remaining), generator))[:, :, :digit]
            same = self._carry(others[:, remaining], digit) == self._carry(numbers[:, remaining], digit)
            remaining = remaining[same]
            if not len(remaining):
                break
        else:
            raise ValueError(f"{self}: the lower digits of {len(remaining)} of {n} sums never carried otherwise")
        sources = self._rows(others[0], others[1])
        position = torch.full((n,), self.equals_position + digit, device=base.device)
        # The digit of the base's column with the other carry, which the source has in the same place.
        return Counterfactuals(with_answers(base, position, sources[:, self.equals_position + 1 + digit]), sources)

    def _digits(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "number batch digit"]:
        return torch.stack([tokens[:, : self.n_digits], tokens[:, self.n_digits + 1 : self.equals_position]])

    @staticmethod
    def _carry(numbers: Int64[Tensor, "number batch digit"], digit: int) -> Int64[Tensor, " batch"]:
        """What the digits below hand on: 0 or 1."""
        carry = torch.zeros_like(numbers[0, :, 0])
        for column in range(digit):
            carry = (numbers[:, :, column].sum(0) + carry) // BASE
        return carry
