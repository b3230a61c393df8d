"""The causal model of needle in a haystack: which marker is asked for, and what value stands there."""

from __future__ import annotations

import abc

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.tasks import draws
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers

#: Rounds of drawing sequences of at least two pairs.
MAX_ROUNDS = 100


class NeedleCausalModel(CausalTask):
    """The variables are the ``queried value``, and the ``asked marker``.

    Sources of the first differ from their base in the value that stands at the marker that is asked for, sources of the
    second in the query alone: another marker of the context.
    """

    max_pairs: int
    n_values: int

    @property
    def role_names(self) -> tuple[str, ...]:
        return ("pad", "marker", "value", "query", "answer")

    @property
    def variables(self) -> tuple[str, ...]:
        return ("queried value", "asked marker")

    @abc.abstractmethod
    def marker_token(self, marker: int) -> int: ...
    @abc.abstractmethod
    def query_token(self, marker: int) -> int: ...
    @abc.abstractmethod
    def query_position(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]: ...
    @abc.abstractmethod
    def queried_value_position(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]: ...
    @abc.abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]: ...

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        is_query = tokens >= self.query_token(0)
        is_marker = (tokens >= self.marker_token(0)) & ~is_query
        roles = (tokens > 0).long() * self.role("value")
        roles[is_marker], roles[is_query] = self.role("marker"), self.role("query")
        roles[:, 1:][is_query[:, :-1] & (tokens[:, 1:] > 0)] = self.role("answer")
        return roles

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        if variable == "queried value":
            return self._other_value(self._draw(n, generator), generator)
        return self._other_marker(self._drawn_with_a_choice(n, generator), generator)

    def _other_value(self, tokens: Int64[Tensor, "batch pos"], generator: torch.Generator) -> Counterfactuals:
        at, query = self.queried_value_position(tokens)[:, None], self.query_position(tokens)
        shift = draws.uniform(1, self.n_values - 1, (len(tokens), 1), generator)
        value = (tokens.gather(1, at) - 1 + shift) % self.n_values + 1
        sources = tokens.scatter(1, at, value).scatter(1, query[:, None] + 1, value)
        return Counterfactuals(with_answers(tokens, query, value[:, 0]), sources)

    def _other_marker(self, tokens: Int64[Tensor, "batch pos"], generator: torch.Generator) -> Counterfactuals:
        query, n_pairs = self.query_position(tokens), self.query_position(tokens) // 2
        asked = (self.queried_value_position(tokens) - 1) // 2
        other = (asked + 1 + draws.below(n_pairs - 1, generator)) % n_pairs
        marker, value = tokens.gather(1, 2 * other[:, None]), tokens.gather(1, 2 * other[:, None] + 1)
        sources = tokens.scatter(1, query[:, None], marker + self.max_pairs).scatter(1, query[:, None] + 1, value)
        return Counterfactuals(with_answers(tokens, query, value[:, 0]), sources)

    def _drawn_with_a_choice(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        """Sequences of at least two pairs whose other values all differ from the one that is asked for."""
        kept: list[Tensor] = []
        for _ in range(MAX_ROUNDS):
            tokens = self._draw(2 * n, generator)
            asked = tokens.gather(1, self.queried_value_position(tokens)[:, None])
            same = ((tokens == asked) & (self.roles(tokens) == self.role("value"))).sum(1)
            kept.append(tokens[(self.query_position(tokens) >= 4) & (same == 1)])
            if sum(map(len, kept)) >= n:
                return torch.cat(kept)[:n]
        raise ValueError(
            f"{self}: hardly any sequence has another value to ask for; use a larger max_pairs or n_values"
        )
