"""The causal model of modular addition: a and b make the sum."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.tasks import draws
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers


class ModularCausalModel(CausalTask):
    """The roles are the positions; the variables are ``a``, ``b`` and the ``sum`` mod p.

    Pairs for ``a`` share b, those for ``b`` share a, and those for the ``sum`` share nothing.
    """

    p: int

    @property
    def role_names(self) -> tuple[str, ...]:
        return ("a", "b", "sum")

    @property
    def variables(self) -> tuple[str, ...]:
        return ("a", "b", "sum")

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        return torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        base = draws.uniform(0, self.p - 1, (n, 2), generator)
        shift = draws.uniform(1, self.p - 1, (n,), generator)
        sources = base.clone()
        if variable == "sum":
            sources[:, 0] = draws.uniform(0, self.p - 1, (n,), generator)
            sources[:, 1] = (base.sum(1) + shift - sources[:, 0]) % self.p
        else:
            column = self.variables.index(variable)
            sources[:, column] = (base[:, column] + shift) % self.p
        rows = [torch.cat([pairs, pairs.sum(1, keepdim=True) % self.p], dim=1) for pairs in (base, sources)]
        return Counterfactuals(with_answers(rows[0], torch.ones_like(shift), rows[1][:, 2]), rows[1])
