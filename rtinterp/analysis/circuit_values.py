"""What the values of all subsets of a model's nodes say: which nodes matter, together with which, and what suffices.

Everything here reads the tensor that ``circuits.subset_values`` returns, a number for every subset, where bit i of its
index says whether node i is in it. Two nodes of which each does half the work, and two of which either does all of it:

>>> half_each, either = torch.tensor([0.0, 0.5, 0.5, 1.0]), torch.tensor([0.0, 1.0, 1.0, 1.0])
>>> shapley_values(half_each), shapley_values(either)
(tensor([0.5000, 0.5000]), tensor([0.5000, 0.5000]))
>>> pair_interactions(half_each)[0, 1].item(), pair_interactions(either)[0, 1].item()
(0.0, -1.0)
>>> minimal_circuits(half_each, at_least=0.9), minimal_circuits(either, at_least=0.9)
([3], [1, 2])
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def nodes_in(subset: int) -> tuple[int, ...]:
    """List the nodes of a subset, by their numbers."""
    return tuple(node for node in range(subset.bit_length()) if subset >> node & 1)


def shapley_values(values: Float[Tensor, " subset"]) -> Float[Tensor, " node"]:
    """Share out what the intact model can do more than none of its nodes among them (Shapley 1953).

    A node's value is what it adds on average when nodes are put back in random order. The values add up to
    ``values[-1] - values[0]``; a node that never makes a difference has none, and interchangeable nodes have the same.

    Raises:
        ValueError: not a number for every subset.
    """
    n = _n_nodes(values)
    weights = _order_weights(n, 1).to(values)
    sizes = _sizes(values)
    shares = []
    for node in range(n):
        without = _without(values, node)
        shares.append((weights[sizes[without]] * (values[without | 1 << node] - values[without])).sum())
    return torch.stack(shares)


def pair_interactions(values: Float[Tensor, " subset"]) -> Float[Tensor, "node node"]:
    """Measure what two nodes add together beyond what each adds alone (Shapley interaction index, Grabisch 1997).

    It is positive where they need each other, negative where each can stand in for the other, and zero on the diagonal.

    Raises:
        ValueError: not a number for every subset.
    """
    n = _n_nodes(values)
    weights, sizes = _order_weights(n, 2).to(values), _sizes(values)
    table = values.new_zeros(n, n)
    for one in range(n):
        for other in range(one):
            without = _without(values, one, other)
            first, second = without | 1 << one, without | 1 << other
            joint = values[first | second] - values[first] - values[second] + values[without]
            table[one, other] = table[other, one] = (weights[sizes[without]] * joint).sum()
    return table


def minimal_circuits(values: Float[Tensor, " subset"], at_least: float) -> list[int]:
    """Find every subset that reaches a value while none of its proper subsets does, the smallest first.

    Raises:
        ValueError: not a number for every subset.
    """
    n = _n_nodes(values)
    suffices = values >= at_least
    contains: Bool[Tensor, " subset"] = torch.zeros_like(suffices)  # a proper subset that suffices
    for size in range(1, n + 1):
        for node in range(n):
            with_node = _without(values, node) | 1 << node
            of_size = with_node[_sizes(values)[with_node] == size]
            smaller = of_size & ~(1 << node)
            contains[of_size] |= suffices[smaller] | contains[smaller]
    found = (suffices & ~contains).nonzero().flatten().tolist()
    return sorted(found, key=lambda subset: (subset.bit_count(), subset))


def most_disjoint(circuits: Sequence[int]) -> list[int]:
    """Choose as many circuits as possible no two of which share a node: how redundant a model is.

    The exact answer, by trying each circuit with all that are disjoint from it.
    """
    best: list[int] = []
    for index, circuit in enumerate(circuits):
        others = [other for other in circuits[index + 1 :] if not other & circuit]
        if len(others) >= len(best):
            best = max(best, [circuit, *most_disjoint(others)], key=len)
    return best


def incompleteness(values: Float[Tensor, " subset"], circuit: int) -> float:
    """Measure how differently a circuit and the whole model suffer, at worst, when the same nodes are taken from both.

    The largest difference between the values of the circuit and of the model without K, over all parts K of the circuit
    (Wang et al. 2022, arXiv 2211.00593). Near zero, the circuit has all that the model uses; large, the model has other
    ways that the circuit lacks.

    Raises:
        ValueError: not a number for every subset.
    """
    whole = 2 ** _n_nodes(values) - 1
    taken = torch.arange(len(values))
    taken = taken[(taken & ~circuit) == 0]
    return (values[circuit & ~taken] - values[whole & ~taken]).abs().max().item()


def node_minimality(values: Float[Tensor, " subset"], circuit: int) -> dict[int, float]:
    """Measure of every node of a circuit how much it adds, at best, to a part of the circuit (arXiv 2211.00593).

    Raises:
        ValueError: not a number for every subset.
    """
    _n_nodes(values)
    parts = torch.arange(len(values))
    added = {}
    for node in nodes_in(circuit):
        without = parts[(parts & ~(circuit & ~(1 << node))) == 0]
        added[node] = (values[without | 1 << node] - values[without]).max().item()
    return added


def _n_nodes(values: Tensor) -> int:
    n = len(values).bit_length() - 1
    if values.ndim != 1 or len(values) != 2**n or n < 1:
        raise ValueError(f"values has shape {list(values.shape)}; pass one for each of the 2^n subsets of n nodes")
    return n


def _sizes(values: Tensor) -> Int64[Tensor, " subset"]:
    """How many nodes each subset has."""
    return torch.tensor([subset.bit_count() for subset in range(len(values))])


def _without(values: Tensor, *nodes: int) -> Int64[Tensor, " subset"]:
    """The subsets that lack some nodes."""
    subsets = torch.arange(len(values))
    return subsets[(subsets & sum(1 << node for node in nodes)) == 0]


def _order_weights(n: int, n_together: int) -> Float[Tensor, " size"]:
    """The chance that a subset of each size comes before ``n_together`` nodes that stay together, in random order."""
    n_items = n - n_together + 1
    return torch.tensor([1 / (n_items * math.comb(n_items - 1, size)) for size in range(n_items)])
