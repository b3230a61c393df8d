"""What the textbook pair does beside other pairs, read from the values of all subsets of heads and MLPs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from rtinterp.analysis import Node, minimal_circuits, nodes_in
from rtinterp.papers.random_attention.textbook_heads import LEAST_ACCURACY, Pair

#: A circuit reaches this share of what lies between guessing and the intact accuracy.
ENOUGH = 0.9


def bits(nodes: Sequence[Node], *chosen: Node) -> int:
    """Make the number that stands for some nodes."""
    return sum(1 << nodes.index(node) for node in chosen)


def pair_effects(values: Float[Tensor, " subset"], nodes: Sequence[Node], pair: Pair) -> dict[str, float]:
    """Compare the pair with all pairs of one other head of each of its two layers; needs two heads a layer or more.

    Returns:
        Accuracies: ``intact``, ``none`` (all heads and MLPs ablated), ``without_pair``, ``pair_alone``,
        ``pair_and_mlps``, ``mlps_alone``; the first, the third and the fifth again of the others:
        ``without_others_min``, ``_median`` and ``_max``, ``others_and_mlps_median`` and ``_max``.
    """
    whole, found = len(values) - 1, bits(nodes, *pair)
    mlps = bits(nodes, *(node for node in nodes if node.head is None))
    firsts, seconds = (_other_heads(nodes, head) for head in pair)
    others = [bits(nodes, first, second) for first in firsts for second in seconds]
    without = [values[whole & ~other].item() for other in others]
    kept = [values[other | mlps].item() for other in others]
    return {
        "intact": values[whole].item(),
        "none": values[0].item(),
        "mlps_alone": values[mlps].item(),
        "pair_alone": values[found].item(),
        "pair_and_mlps": values[found | mlps].item(),
        "others_and_mlps_median": statistics.median(kept),
        "others_and_mlps_max": max(kept),
        "without_pair": values[whole & ~found].item(),
        "without_others_min": min(without),
        "without_others_median": statistics.median(without),
        "without_others_max": max(without),
    }


def circuit_columns(
    values: Float[Tensor, " subset"], nodes: Sequence[Node], pair: Pair, floor: float
) -> dict[str, Any]:
    """Tell of the minimal circuits how many there are and how many have the pair; null where nothing was learnt.

    Returns:
        ``n_minimal``, ``n_with_pair``, ``smallest`` (nodes of the first) and ``first_circuit``.
    """
    intact = values[-1].item()
    circuits = minimal_circuits(values, floor + ENOUGH * (intact - floor)) if intact >= LEAST_ACCURACY else []
    if not circuits:
        return dict.fromkeys(("n_minimal", "n_with_pair", "smallest", "first_circuit"))
    found = bits(nodes, *pair)
    first = nodes_in(circuits[0])
    return {
        "n_minimal": len(circuits),
        "n_with_pair": sum(circuit & found == found for circuit in circuits),
        "smallest": len(first),
        "first_circuit": " + ".join(str(nodes[node]) for node in first),
    }


def part_of(node: Node, pair: Pair) -> str:
    """Name the part that a node plays."""
    if node in pair:
        return "previous-token head" if node == pair.previous else "retrieval head"
    return f"MLP of layer {node.layer}" if node.head is None else f"other heads of layer {node.layer}"


def _other_heads(nodes: Sequence[Node], head: Node) -> list[Node]:
    return [node for node in nodes if node.layer == head.layer and node.head is not None and node != head]
