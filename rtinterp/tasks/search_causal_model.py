"""The causal model of graph search: which branch ends at the goal, and how the branches go on at each step."""

from __future__ import annotations

import abc

import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.tasks import draws
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals, with_answers
from rtinterp.tasks.search_graphs import Graphs


class SearchCausalModel(CausalTask):
    """The variables are the ``goal``, and each ``step`` from the second on.

    Sources of the first have the end of the other branch as their goal. Sources of a step have the heads of its two
    edges exchanged, so that each branch goes on as the other did. Either way, the other branch leads to the goal.
    """

    max_lookahead: int

    @abc.abstractmethod
    def _graphs(self, lookahead: Int64[Tensor, " batch"], generator: torch.Generator) -> Graphs: ...
    @abc.abstractmethod
    def _rows(self, graphs: Graphs, goal: Int64[Tensor, " batch"], answer: Int64[Tensor, " batch"]) -> Tensor: ...

    @property
    @abc.abstractmethod
    def n_edge_tokens(self) -> int: ...

    @property
    def role_names(self) -> tuple[str, ...]:
        return ("edge", "tail", "head", "query", "start", "goal", "path", "answer")

    @property
    def variables(self) -> tuple[str, ...]:
        return ("goal", *(f"step {step}" for step in range(2, self.max_lookahead + 1)))

    def roles(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch pos"]:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        behind = place - self.n_edge_tokens
        return torch.where(behind < 0, place % 3, behind + self.role("query")).expand_as(tokens)

    def _counterfactuals(self, n: int, variable: str, generator: torch.Generator) -> Counterfactuals:
        step = 1 if variable == "goal" else int(variable.split()[1])
        lookahead = draws.uniform(step, self.max_lookahead, (n,), generator)
        graphs = self._graphs(lookahead, generator)
        goal, other_goal = (branch.gather(1, lookahead[:, None])[:, 0] for branch in (graphs.path, graphs.rival))
        base = self._rows(graphs, goal, graphs.path[:, 1])
        if variable == "goal":
            sources = self._rows(graphs, other_goal, graphs.rival[:, 1])
        else:
            sources = self._rows(_crossed(graphs, step), goal, graphs.rival[:, 1])
        position = torch.full_like(lookahead, self.role("answer") - self.role("query") + self.n_edge_tokens - 1)
        return Counterfactuals(with_answers(base, position, graphs.rival[:, 1]), sources)


def _crossed(graphs: Graphs, step: int) -> Graphs:
    """The same graphs, but for the two edges of a step, of which each leads to where the other did."""
    tails, heads = graphs.edges.unbind(2)
    crossed = heads.clone()
    for branch, other in ((graphs.path, graphs.rival), (graphs.rival, graphs.path)):
        is_edge = (tails == branch[:, step - 1, None]) & (heads == branch[:, step, None])
        crossed = torch.where(is_edge, other[:, step, None], crossed)
    return Graphs(torch.stack([tails, crossed], 2), graphs.path, graphs.rival)
