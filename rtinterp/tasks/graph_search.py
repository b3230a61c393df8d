"""Graph search: the edges of an acyclic graph, a start and a goal, then the first vertex on the way."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws, search_graphs
from rtinterp.tasks.distinct_test_rows import DistinctRowsTask
from rtinterp.tasks.held_out import check_distinct_sequences
from rtinterp.tasks.search_causal_model import SearchCausalModel
from rtinterp.tasks.search_graphs import N_BRANCHES, Graphs

#: "E", tail and head.
TOKENS_PER_EDGE = 3
#: "Q", start, goal, "P" and the answer.
N_OTHER_TOKENS = 5


@strict(repr=False)
class GraphSearch(DistinctRowsTask, SearchCausalModel):
    """Edges "E u v" of an acyclic graph in random order, then "Q start goal P", at which the next vertex is to be told.

    Two branches of equal length leave the start, and one of them ends at the goal: as many steps of search as it has,
    the lookahead, tell which (after Saparov et al. 2025). It is uniform in 1 .. max_lookahead. The other edges mislead:
    none of them is on a way from the start to the goal (rtinterp/tasks/search_graphs.py). Vertices are uniform tokens.
    The first vertex on the way, the only right one, is scored.

    Args:
        n_vertices: how many vertices there are.
        n_edges: edges of every graph.
        max_lookahead: the most steps from the start to the goal.
        test_rows: which rows are tested: "distinct" held-out ones, also unless given, or "validation". A graph is held
            out with its question, in every order of its edges.

    Raises:
        ValueError: if a parameter is not an int in its range (n_vertices 3 to 200, n_edges 2 to 500, max_lookahead 1 to
            99), if there are too few vertices or edges for two branches of such length, or too many edges for some
            lookahead, or if there may be fewer than 100 distinct questions.
    """

    name: ClassVar[str] = "graph_search"

    n_vertices: Annotated[int, Field(ge=3, le=200)] = 16
    n_edges: Annotated[int, Field(ge=2, le=500)] = 20
    max_lookahead: Annotated[int, Field(ge=1, le=99)] = 4
    test_rows: Literal["distinct", "validation"] | None = dataclasses.field(default=None, kw_only=True)

    @pydantic.model_validator(mode="after")
    def _is_large_enough(self) -> GraphSearch:
        n_on_branches = N_BRANCHES * self.max_lookahead
        if self.n_vertices <= n_on_branches:
            raise ValueError(
                f"max_lookahead={self.max_lookahead} makes branches of {n_on_branches + 1} vertices, and n_vertices is "
                f"{self.n_vertices}; use n_vertices of at least {n_on_branches + 1}"
            )
        if self.n_edges < n_on_branches:
            raise ValueError(
                f"max_lookahead={self.max_lookahead} makes branches of {n_on_branches} edges, and n_edges is "
                f"{self.n_edges}; use n_edges of at least {n_on_branches}"
            )
        lookaheads = range(1, self.max_lookahead + 1)
        pairs = {lookahead: search_graphs.n_pairs(self.n_vertices, lookahead) for lookahead in lookaheads}
        most = min(N_BRANCHES * lookahead + n for lookahead, n in pairs.items())
        if self.n_edges > most:
            raise ValueError(
                f"n_edges={self.n_edges} are more than n_vertices={self.n_vertices} have room for at every lookahead "
                f"up to {self.max_lookahead}; use at most {most}, or a larger n_vertices"
            )
        # Of one lookahead, the rows of different paths or further edges differ, whatever the rest of the graph is.
        further = {lookahead: math.comb(n, self.n_edges - N_BRANCHES * lookahead) for lookahead, n in pairs.items()}
        n_distinct = max(math.perm(self.n_vertices, lookahead + 1) * n for lookahead, n in further.items())
        check_distinct_sequences(n_distinct, "use a larger n_vertices")
        return self

    @property
    def d_vocab(self) -> int:
        return self.path_token + 1

    @property
    def sequence_length(self) -> int:
        return self.n_edge_tokens + N_OTHER_TOKENS

    @property
    def n_edge_tokens(self) -> int:
        """Tokens before "Q"."""
        return TOKENS_PER_EDGE * self.n_edges

    @property
    def edge_token(self) -> int:
        """The token of "E", behind those of the vertices."""
        return self.n_vertices

    @property
    def query_token(self) -> int:
        """The token of "Q"."""
        return self.edge_token + 1

    @property
    def path_token(self) -> int:
        """The token of "P", at which the answer is predicted."""
        return self.query_token + 1

    def edges(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, "batch edge 2"]:
        """The tail and head of every edge, in the order of the sequence."""
        return tokens[:, : self.n_edge_tokens].unflatten(1, (self.n_edges, TOKENS_PER_EDGE))[:, :, 1:]

    def lookahead(self, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]:
        """The steps of the shortest way from the start to the goal; 0 where none leads there in max_lookahead steps."""
        start, goal = tokens[:, self.n_edge_tokens + 1 :][:, :2].unbind(1)
        tails, heads = self.edges(tokens).unbind(2)
        reached = torch.nn.functional.one_hot(start, self.n_vertices)
        lookahead = torch.zeros_like(start)
        for step in range(1, self.max_lookahead + 1):
            reached = torch.zeros_like(reached).scatter_add_(1, heads, reached.gather(1, tails)).clamp(max=1)
            is_first = (reached.gather(1, goal[:, None])[:, 0] > 0) & (lookahead == 0)
            lookahead = torch.where(is_first, step, lookahead)
        return lookahead

    def _draw(self, n: int, generator: torch.Generator) -> Int64[Tensor, "batch pos"]:
        lookahead = draws.uniform(1, self.max_lookahead, (n,), generator)
        graphs = self._graphs(lookahead, generator)
        return self._rows(graphs, graphs.path.gather(1, lookahead[:, None])[:, 0], graphs.path[:, 1])

    def _graphs(self, lookahead: Int64[Tensor, " batch"], generator: torch.Generator) -> Graphs:
        return search_graphs.draw(lookahead, self.max_lookahead, self.n_vertices, self.n_edges, generator)

    def _rows(
        self, graphs: Graphs, goal: Int64[Tensor, " batch"], answer: Int64[Tensor, " batch"]
    ) -> Int64[Tensor, "batch pos"]:
        """Token rows of graphs, each with its question and the answer."""
        edges = torch.nn.functional.pad(graphs.edges, (1, 0), value=self.edge_token).flatten(1)
        query, path = torch.full_like(goal, self.query_token), torch.full_like(goal, self.path_token)
        return torch.cat([edges, torch.stack([query, graphs.path[:, 0], goal, path, answer], 1)], 1)

    def _scored(self, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        return tokens == self.path_token

    def _is_in_twentieth(self, number: int, tokens: Int64[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """Of the set of edges and the question, so that no graph is both trained on and tested, in other orders."""
        tails, heads = self.edges(tokens).unbind(2)
        edges = (tails * self.n_vertices + heads).sort(dim=1).values
        return super()._is_in_twentieth(number, torch.cat([edges, tokens[:, self.n_edge_tokens :]], 1))

    def _label(self, token: int) -> str:
        return {self.edge_token: "E", self.query_token: "Q", self.path_token: "P"}.get(token, str(token))

    def floors(self) -> dict[str, float]:
        """Any vertex; any head of an edge from the start; and, of these, the goal or else any that an edge leaves.

        The last two are the accuracies on the test rows that such guesses have on average.
        """
        return dict(_floors(self))


@functools.cache
def _floors(task: GraphSearch) -> dict[str, float]:
    tokens = task.test_set().tokens
    start, goal = tokens[:, task.n_edge_tokens + 1, None], tokens[:, task.n_edge_tokens + 2, None]
    tails, heads = task.edges(tokens).unbind(2)
    is_next = _are_among(heads.where(tails == start, -1), task.n_vertices)
    goes_on = is_next & _are_among(tails, task.n_vertices)
    is_goal = is_next.gather(1, goal)
    n_candidates = torch.where(is_goal[:, 0], 1, goes_on.sum(1))
    return {
        "chance": 1 / task.n_vertices,
        "next to the start": (1 / is_next.sum(1).double()).mean().item(),
        "the goal, or what goes on": (1 / n_candidates.double()).mean().item(),
    }


def _are_among(vertices: Int64[Tensor, "batch edge"], n_vertices: int) -> Bool[Tensor, "batch vertex"]:
    """Whether each vertex is among those of a row, which may be -1 for none."""
    counts = torch.zeros(len(vertices), n_vertices + 1, dtype=torch.int64)
    return counts.scatter_add_(1, vertices + 1, torch.ones_like(vertices))[:, 1:] > 0
