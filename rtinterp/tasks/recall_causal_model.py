"""The causal model of multi-query recall: which key is asked for, and what value stands at it."""

from __future__ import annotations

import abc

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks import draws
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers


class RecallCausalModel(CausalTask):
    """The variables are the ``queried value``, and the ``asked key``.

    Sources of the first differ from their base in the value of a key, whose query is scored; the other value stands
    nowhere else in the context. Sources of the second have two queries exchanged, of which one is scored.
    """

    n_pairs: int

    @property
    @abc.abstractmethod
    def d_vocab(self) -> int: ...
    @abc.abstractmethod
    def answers(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]: ...
    @abc.abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]: ...

    @property
    def role_names(self) -> tuple[str, ...]:
        return ("key", "value", "query", "filler")

    @property
    def variables(self) -> tuple[str, ...]:
        return ("queried value", "asked key")

    @property
    def context_length(self) -> int:
        """Tokens before the first that can be a query: a key and a value for each pair."""
        return 2 * self.n_pairs

    @property
    def first_value(self) -> int:
        """The token of the smallest value; keys run from 1 up to it."""
        return self.d_vocab // 2

    def asks_for(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch later pair"]:
        """Whether each position behind the context asks for each pair of it: where the pair's key stands again."""
        keys, later = tokens[:, : self.context_length : 2], tokens[:, self.context_length :]
        return later[:, :, None] == keys[:, None]

    def query_positions(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pair"]:
        """Where each pair is asked for, in the order of the context; ``tokens`` are whole sequences."""
        return self.asks_for(tokens).int().argmax(1) + self.context_length

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        roles = torch.full_like(tokens, self.role("filler"))
        roles[:, : self.context_length : 2] = self.role("key")
        roles[:, 1 : self.context_length : 2] = self.role("value")
        later = roles[:, self.context_length :]
        later[self.asks_for(tokens).any(2)] = self.role("query")
        return roles

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        base = self._draw(n, generator)
        change = self._other_value if variable == "queried value" else self._other_query
        sources, position = change(base, generator)
        answer = self.answers(sources).gather(1, position)[:, 0]
        return Counterfactuals(with_answers(base, position[:, 0], answer), sources, self.answers(base))

    def _other_value(self, base: Int64[Tensor, "batch pos"], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        pair = draws.uniform(0, self.n_pairs - 1, (len(base), 1), generator)
        values = base[:, 1 : self.context_length : 2] - self.first_value
        value = draws.other_than(values, self.d_vocab - self.first_value, 1, generator) + self.first_value
        return base.scatter(1, 2 * pair + 1, value), self.query_positions(base).gather(1, pair)

    def _other_query(self, base: Int64[Tensor, "batch pos"], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.n_pairs == 1:
            raise ValueError(f"{self}: there is no other key to ask for; use n_pairs of at least 2")
        pairs = draws.permutations(len(base), self.n_pairs, generator)[:, :2]
        positions = self.query_positions(base).gather(1, pairs)
        return base.scatter(1, positions, base.gather(1, positions.flip(1))), positions[:, :1]
