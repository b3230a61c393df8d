"""Acyclic graphs in which only so many steps of search tell which of two branches leads to a goal."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks import draws

#: The path and its rival take an edge each with every step.
N_BRANCHES = 2


@dataclasses.dataclass(frozen=True)
class Graphs:
    """Directed acyclic graphs, and the two branches of equal length in each that leave the start.

    Attributes:
        edges: every edge, from its tail to its head, in random order.
        path: the vertices from the start to the goal, then -1.
        rival: the vertices of the other branch, from the start too, then -1.
    """

    edges: Int64[Tensor, "batch edge 2"]
    path: Int64[Tensor, "batch step"]
    rival: Int64[Tensor, "batch step"]


def n_pairs(n_vertices: int, lookahead: int) -> int:
    """How many further edges a graph can have, beside those of its branches.

    They join two of the vertices that are on no branch, or one of these to one of a branch.
    """
    n_others = n_vertices - N_BRANCHES * lookahead - 1
    return n_others * (n_vertices - 1) - n_others * (n_others - 1) // 2


def draw(
    lookahead: Int64[Tensor, " batch"], max_lookahead: int, n_vertices: int, n_edges: int, generator: torch.Generator
) -> Graphs:
    """Draw a graph for each lookahead: the steps of the path from start to goal, and of its rival.

    The vertices on no branch come, in the order of the graph, either before all branches or behind them, half and half.
    Further edges are uniform among the ``n_pairs``, each in that order. So nothing before the branches is reached from
    the start and nothing behind them leads to the goal: only the path does, and up to the goal its rival looks alike.
    """
    n, device = len(lookahead), lookahead.device
    name = draws.permutations(n, n_vertices, generator)
    # Vertices are numbered from the other end by start, path, rival; those on no branch come first.
    step, last = torch.arange(max_lookahead + 1, device=device), n_vertices - 1
    on_path = (last - step).expand(n, -1)
    on_rival = torch.where(step == 0, last, last - step - lookahead[:, None])
    path, rival = (_named(branch, name, step <= lookahead[:, None]) for branch in (on_path, on_rival))

    n_others = n_vertices - N_BRANCHES * lookahead - 1
    further = _further_edges(n_others, n_vertices, n_edges, generator)
    further = _named(further.flatten(1), name, further.flatten(1) >= 0).view(n, -1, 2)
    branches = [torch.stack([branch[:, :-1], branch[:, 1:]], 2) for branch in (path, rival)]
    edges = torch.cat([*branches, further], 1)
    return Graphs(_shuffled(edges, n_edges, generator), path, rival)


def _named(
    number: Int64[Tensor, "batch place"], name: Int64[Tensor, "batch vertex"], is_there: Bool[Tensor, "batch place"]
) -> Int64[Tensor, "batch place"]:
    return name.gather(1, number.clamp(min=0)).where(is_there, -1)


def _further_edges(
    n_others: Int64[Tensor, " batch"], n_vertices: int, n_edges: int, generator: torch.Generator
) -> Int64[Tensor, "batch edge 2"]:
    """Edges of vertices on no branch, as numbers of vertices; -1 where a longer path leaves room for fewer."""
    number = torch.arange(n_vertices, device=n_others.device)
    # The pairs of vertex i with every later one are counted from here on.
    first_pair = number * (n_vertices - 1) - number * (number - 1) // 2
    n_further = n_edges - (n_vertices - 1 - n_others)
    pair = draws.subsets(first_pair[n_others], n_further, n_edges - N_BRANCHES, generator)
    one = torch.searchsorted(first_pair, pair.clamp(min=0), right=True) - 1
    other = pair - first_pair[one] + one + 1
    side = 2 * draws.uniform(0, 1, (len(pair), n_vertices), generator) - 1
    rank = (side * (number + 1)).where(number < n_others[:, None], 0)
    ascends = rank.gather(1, one) < rank.gather(1, other.clamp(min=0))
    edges = torch.stack([torch.where(ascends, one, other), torch.where(ascends, other, one)], 2)
    return edges.where((pair >= 0)[:, :, None], -1)


def _shuffled(
    edges: Int64[Tensor, "batch candidate 2"], n_edges: int, generator: torch.Generator
) -> Int64[Tensor, "batch edge 2"]:
    """Those that are edges, in random order."""
    order = draws.uniform(0, draws.RAW_RANGE - 1, tuple(edges.shape[:2]), generator)
    order = order.where(edges[:, :, 1] >= 0, draws.RAW_RANGE).argsort(dim=1, stable=True)[:, :n_edges]
    return edges.gather(1, order[:, :, None].expand(-1, -1, 2))
