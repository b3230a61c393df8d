"""The causal model of affine recurrences: a matrix and an offset make every next term of the one before."""

from __future__ import annotations

import abc
import dataclasses

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rtinterp.tasks.causal_task import CausalTask, Counterfactuals
from rtinterp.tasks.recurrences import Recurrences
from rtinterp.tasks.sequence_task import SequenceTask


class AffineCausalModel(SequenceTask, CausalTask):
    """The roles are the positions; the variables are the ``matrix`` A and the ``offset`` b.

    Pairs begin with the same term and differ in the one variable. Expected at every position is what follows the
    base's term under the source's variable.
    """

    @abc.abstractmethod
    def recurrences(self, n: int, generator: torch.Generator) -> Recurrences:
        """Draw ``n`` recurrences, on the generator's device."""

    @abc.abstractmethod
    def _keep_to_limit(self, drawn: Recurrences) -> Bool[Tensor, " batch"]:
        """Which recurrences are of the task's law."""

    @property
    def role_names(self) -> tuple[str, ...]:
        return tuple(f"x_{term}" for term in range(self.sequence_length))

    @property
    def variables(self) -> tuple[str, ...]:
        return ("matrix", "offset")

    def roles(self, tokens: Float[Tensor, "batch pos dimension"]) -> Int64[Tensor, "batch pos"]:
        return torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[:2])

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        pairs: list[tuple[Recurrences, Recurrences]] = []
        while sum(len(base) for base, _ in pairs) < n:
            base, other = (self.recurrences(n, generator) for _ in range(2))
            source = dataclasses.replace(base, **{variable: getattr(other, variable)})
            keep = self._keep_to_limit(source)
            pairs.append((base[keep], source[keep]))
        base, source = (Recurrences.joined(parts)[:n] for parts in zip(*pairs, strict=True))
        terms = base.terms(self.n_terms)
        batch, read = self.batch(terms), terms[:, :-1]
        entailed = dataclasses.replace(batch, targets=source.next_of(read).float())
        return Counterfactuals(entailed, self.batch(source.terms(self.n_terms)).tokens, batch.targets)
