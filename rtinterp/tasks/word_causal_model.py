"""The causal model of the group word problem: the elements, and the products so far."""

from __future__ import annotations

import abc

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.tasks import draws
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers
from rtinterp.tasks.groups import Group


class WordCausalModel(CausalTask):
    """The roles are the positions; the variables are every ``element i`` and every ``product i``, i from 1.

    A source differs from its base in the element alone; or it has other elements up to there, of another product, and
    the same ones behind it. One position is scored, there or behind, all equally likely: its product is another one.
    """

    length: int

    @property
    @abc.abstractmethod
    def elements(self) -> Group: ...
    @abc.abstractmethod
    def answers(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]: ...
    @abc.abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]: ...

    @property
    def role_names(self) -> tuple[str, ...]:
        return tuple(f"element {i}" for i in range(1, self.length + 1))

    @property
    def variables(self) -> tuple[str, ...]:
        return (*self.role_names, *(f"product {i}" for i in range(1, self.length + 1)))

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        return torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        kind, number = variable.split()
        place = int(number) - 1
        base, sources = self._draw(n, generator), self._draw(n, generator)
        sources[:, place + 1 :] = base[:, place + 1 :]
        if kind == "element":
            sources[:, :place] = base[:, :place]
            sources[:, place] = self._another(base[:, place], generator)
        else:
            self._end_at(sources, place, self._another(self.answers(base)[:, place], generator))
        position = draws.uniform(place, self.length - 1, (n,), generator)
        answer = self.answers(sources).gather(1, position[:, None])[:, 0]
        return Counterfactuals(with_answers(base, position, answer), sources, self.answers(base))

    def _another(self, element: Int64[Tensor, " batch"], generator: torch.Generator) -> Int64[Tensor, " batch"]:
        order = self.elements.order
        return (element + draws.uniform(1, order - 1, tuple(element.shape), generator)) % order

    def _end_at(self, tokens: Int64[Tensor, "batch pos"], place: int, product: Int64[Tensor, " batch"]) -> None:
        """Write the element at a place that makes the product there what it is to be."""
        if not place:
            tokens[:, 0] = product
            return
        table, inverses = self.elements.table.to(tokens.device), self.elements.inverses.to(tokens.device)
        tokens[:, place] = table[inverses[self.answers(tokens)[:, place - 1]], product]
