"""Tasks with a causal model: roles of positions, variables, and pairs of sequences that differ in one variable."""

from __future__ import annotations

import abc
import dataclasses

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.tasks.base import Task, check_sample_size
from rtinterp.tasks.batch import Batch


@dataclasses.dataclass(frozen=True)
class Counterfactuals:
    """Pairs of sequences that differ in one variable of the task's causal model, and in what it must entail.

    Attributes:
        base: sequences; expected at the scored positions is what they would call for with the source's value.
        sources: a sequence for each, of equal length.
        answers: what the base itself calls for at each position; None where that is its next token.
    """

    base: Batch
    sources: Int64[Tensor, "batch pos"] | Float[Tensor, "batch pos dimension"]
    answers: Int64[Tensor, "batch pos"] | Float[Tensor, "batch pos dimension"] | None = None

    def __len__(self) -> int:
        return len(self.base)

    @property
    def factual(self) -> Batch:
        """The same sequences, expected as they are."""
        return Batch(self.base.tokens, self.base.scored, self.answers)


class CausalTask(Task):
    """A task that says what its positions are for, and which variables its answer depends on.

    A subclass says ``role_names`` and ``variables``, the ``roles`` of positions, and draws ``_counterfactuals``.
    """

    @property
    @abc.abstractmethod
    def role_names(self) -> tuple[str, ...]:
        """What each role is called; roles are numbers from 0."""

    @property
    @abc.abstractmethod
    def variables(self) -> tuple[str, ...]:
        """The variables of the causal model of the task, which ``counterfactuals`` takes."""

    @abc.abstractmethod
    def roles(
        self, tokens: Int64[Tensor, "batch pos"] | Float[Tensor, "batch pos dimension"]
    ) -> Int64[Tensor, "batch pos"]:
        """The role of every position of some sequences. A mean over positions is taken over those of one role."""

    @abc.abstractmethod
    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        """Draw pairs that differ in a variable that is known to exist."""

    def role(self, name: str) -> int:
        """The number of a role, as ``roles`` has it.

        Raises:
            ValueError: there is no role of that name.
        """
        if name not in self.role_names:
            raise ValueError(f"{self.name} has no role {name!r}; it has {', '.join(self.role_names)}")
        return self.role_names.index(name)

    def counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        """Draw ``n`` pairs that differ in one variable, on the generator's device, so that the answers differ.

        Both sequences are of the task's distribution as far as the variable allows, test sequences included: an
        intervention trains nothing.

        Raises:
            ValueError: ``n`` is less than 1, the task has no such variable, or too few such pairs exist.
        """
        check_sample_size(n)
        if variable not in self.variables:
            raise ValueError(f"{self.name} has no variable {variable!r}; it has {', '.join(self.variables)}")
        return self._counterfactuals(n, variable, generator)


def with_answers(
    tokens: Int64[Tensor, "batch pos"], position: Int64[Tensor, " batch"], answer: Int64[Tensor, " batch"]
) -> Batch:
    """Sequences of which one prediction each is scored, and what is expected there."""
    at = position[:, None]
    scored = torch.zeros_like(tokens, dtype=torch.bool).scatter_(1, at, True)
    return Batch(tokens, scored, torch.zeros_like(tokens).scatter_(1, at, answer[:, None]))
