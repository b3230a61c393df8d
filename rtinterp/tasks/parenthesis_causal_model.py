"""The causal model of balancing: equal counts, a depth that is never negative, and kinds that match."""

from __future__ import annotations

import abc
from typing import ClassVar

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks import bracket_kinds
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers
from rtinterp.tasks.parenthesis_strings import CLOSE, OPEN

#: Strings drawn at once for each pair that is wanted, and rounds of that.
STRINGS_PER_PAIR, MAX_ROUNDS = 8, 100


class ParenthesisCausalModel(CausalTask):
    """A string is balanced if it has ``equal counts`` and its depth is ``never negative``; these are the variables.

    With several kinds of brackets there is ``matching kinds``, too: no bracket is closed by one of another kind.

    A pair has strings of one length of which one is balanced, and the other is not because of that variable alone; half
    of the bases are balanced.
    """

    QUERY: ClassVar[int]
    n_kinds: int

    @property
    def role_names(self) -> tuple[str, ...]:
        return ("pad", "open", "close", "query", "answer")

    @property
    def variables(self) -> tuple[str, ...]:
        return ("equal counts", "never negative", "matching kinds")[: 2 if self.n_kinds == 1 else 3]

    @abc.abstractmethod
    def query_position(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]: ...
    @abc.abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]: ...

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        is_query, symbols = tokens == self.QUERY, bracket_kinds.to_symbols(tokens)
        roles = torch.zeros_like(tokens)
        for token, name in ((OPEN, "open"), (CLOSE, "close"), (self.QUERY, "query")):
            roles[symbols == token] = self.role(name)
        roles[:, 1:][is_query[:, :-1]] = self.role("answer")
        return roles

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        bases: list[Tensor] = []
        sources: list[Tensor] = []
        for _ in range(MAX_ROUNDS):
            tokens = self._draw(STRINGS_PER_PAIR * n, generator)
            for balanced, broken in self._pairs(tokens, variable):
                half = len(balanced) // 2
                bases += [balanced[:half], broken[half:]]
                sources += [broken[:half], balanced[half:]]
            if sum(map(len, bases)) >= n:
                break
        else:
            raise ValueError(f"{self}: too few strings differ in {variable!r}; use a larger max_pairs")
        # Pairs come length by length.
        base, source = torch.cat(bases), torch.cat(sources)
        order = torch.randperm(len(base), generator=generator, device=generator.device)[:n]
        base, source = base[order], source[order]
        end = self.query_position(base)
        return Counterfactuals(with_answers(base, end, source.gather(1, end[:, None] + 1)[:, 0]), source)

    def _pairs(self, tokens: Int64[Tensor, "batch pos"], variable: str) -> list[tuple[Tensor, Tensor]]:
        """Of every length, as many balanced strings as strings that only this variable keeps from being so."""
        conditions = dict(zip(self.variables, self._conditions(tokens), strict=True))
        holds = conditions.pop(variable)
        others = torch.stack(list(conditions.values())).all(0)
        length, pairs = self.query_position(tokens), []
        for of_length in length.unique().tolist():
            chosen = (length == of_length) & others
            balanced, broken = tokens[chosen & holds], tokens[chosen & ~holds]
            n = min(len(balanced), len(broken))
            pairs.append((balanced[:n], broken[:n]))
        return pairs

    def _conditions(self, tokens: Int64[Tensor, "batch pos"]) -> list[Bool[Tensor, " batch"]]:
        """Whether each of the variables holds."""
        length, symbols = self.query_position(tokens), bracket_kinds.to_symbols(tokens)
        in_string = torch.arange(tokens.shape[1], device=tokens.device) < length[:, None]
        depth = (((symbols == OPEN).int() - (symbols == CLOSE).int()) * in_string).cumsum(1)
        conditions = [depth[:, -1] == 0, (depth >= 0).all(1)]
        if self.n_kinds > 1:
            conditions.append(bracket_kinds.match(symbols, bracket_kinds.to_kinds(tokens), length))
        return conditions
