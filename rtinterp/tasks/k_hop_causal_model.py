"""The causal model of k-hop induction: how many hops are asked for, and which character they lead to."""

from __future__ import annotations

import abc

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks import draws, k_hop_strings
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers

#: Rounds of drawing sequences, a few for each pair that is wanted.
ROWS_PER_PAIR, MAX_ROUNDS = 4, 100


class KHopCausalModel(CausalTask):
    """The variables are the number of ``hops``, and the ``reached character``.

    Sources of the first differ from their base in the number of hops alone. Sources of the second have another
    character where the hops of the scored position lead, so that they lead there all the same. Of a pair, one position
    is scored, at which both answers are characters.
    """

    max_hops: int
    alphabet: int

    @property
    def role_names(self) -> tuple[str, ...]:
        return ("hops", "new character", "seen character")

    @property
    def variables(self) -> tuple[str, ...]:
        return ("hops", "reached character")

    @abc.abstractmethod
    def answers(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]: ...
    @abc.abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]: ...

    def character_token(self, character: int) -> int:
        """Token of a character, 0 to alphabet - 1."""
        if not 0 <= character < self.alphabet:
            raise ValueError(f"characters run from 0 to {self.alphabet - 1}, got {character}")
        return self.max_hops + 1 + character

    def reached(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch character"]:
        """The place in the string, from 0, that the hops lead to from every character; -1 where they lead nowhere."""
        return k_hop_strings.reached(self._characters(tokens), self.alphabet, tokens[:, 0], self.max_hops)

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        has_hop = k_hop_strings.one_hop(self._characters(tokens), self.alphabet) != k_hop_strings.NOWHERE
        roles = torch.where(has_hop, self.role("seen character"), self.role("new character"))
        return torch.cat([torch.full_like(roles[:, :1], self.role("hops")), roles], 1)

    def _characters(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch character"]:
        return tokens[:, 1:] - self.character_token(0)

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        change = self._other_hops if variable == "hops" else self._other_character
        kept: list[tuple[Tensor, ...]] = []
        for _ in range(MAX_ROUNDS):
            kept.append(change(self._draw(ROWS_PER_PAIR * n, generator), generator))
            if sum(len(of_round[0]) for of_round in kept) >= n:
                break
        else:
            raise ValueError(f"{self}: too few sequences differ in {variable!r}; use a larger length")
        base, sources, position = (torch.cat(parts)[:n] for parts in zip(*kept, strict=True))
        answer = self.answers(sources).gather(1, position[:, None])[:, 0]
        return Counterfactuals(with_answers(base, position, answer), sources, self.answers(base))

    def _other_hops(self, base: Int64[Tensor, "batch pos"], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Pairs and the position that is scored, of the bases that have one."""
        shift = draws.uniform(1, self.max_hops, (len(base), 1), generator)
        sources = torch.cat([(base[:, :1] + shift) % (self.max_hops + 1), base[:, 1:]], 1)
        both_lead = (self.reached(base) >= 0) & (self.reached(sources) >= 0)
        differ = self.answers(base)[:, 1:] != self.answers(sources)[:, 1:]
        position, found = self._any(both_lead & differ, generator)
        return base[found], sources[found], position[found] + 1

    def _other_character(self, base: Int64[Tensor, "batch pos"], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Pairs and the position that is scored, of the bases of which a change leaves the hops as they are."""
        reached = self.reached(base)
        position, found = self._any((reached >= 0) & (base[:, :1] > 0), generator)
        place = reached.gather(1, position[:, None]).clamp(min=0)
        characters = self._characters(base)
        shift = draws.uniform(1, self.alphabet - 1, (len(base), 1), generator)
        changed = characters.scatter(1, place, (characters.gather(1, place) + shift) % self.alphabet)
        sources = torch.cat([base[:, :1], changed + self.character_token(0)], 1)
        found &= (changed[:, 1:] != changed[:, :-1]).all(1)
        found &= self.reached(sources).gather(1, position[:, None])[:, 0] == place[:, 0]
        return base[found], sources[found], position[found] + 1

    def _any(
        self, allowed: Bool[Tensor, "batch character"], generator: torch.Generator
    ) -> tuple[Int64[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """One place of those that are allowed, each equally likely, and whether there is any."""
        order = draws.permutations(len(allowed), allowed.shape[1], generator)
        return (order + 1).where(allowed, 0).argmax(1), allowed.any(1)
