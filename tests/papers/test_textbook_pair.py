"""The two heads of retrieval, and what they do beside others: cases with known answers."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from rtinterp.analysis import Node
from rtinterp.papers.random_attention.pair_effects import bits, circuit_columns, pair_effects, part_of
from rtinterp.papers.random_attention.textbook_heads import Pair, has_pair, pair_of

NODES = tuple(Node(layer, head) for layer in range(2) for head in (0, 1, 2, 3, None))
PAIR = Pair(Node(0, 2), Node(1, 1))


def scores(previous: dict[Node, float], retrieval: dict[Node, float]) -> pl.DataFrame:
    heads = [node for node in NODES if node.head is not None]
    return pl.DataFrame(
        {
            "layer": [node.layer for node in heads],
            "head": [node.head for node in heads],
            "prev_score": [previous.get(node, 0.1) for node in heads],
            "retr_score": [retrieval.get(node, 0.1) for node in heads],
        }
    )


def test_the_pair_is_looked_for_in_its_own_layers() -> None:
    planted = scores({PAIR.previous: 0.6, Node(1, 3): 0.9}, {PAIR.retrieval: 0.5, Node(0, 0): 0.8})
    assert pair_of(planted) == PAIR
    assert has_pair(planted)
    assert not has_pair(scores({Node(1, 3): 0.9}, {PAIR.retrieval: 0.9})), "of layer 1 only"
    assert not has_pair(scores({PAIR.previous: 0.9}, {PAIR.retrieval: 0.4})), "not above the threshold"


def test_effects_of_a_planted_pair() -> None:
    """The answer needs both heads and the MLP of layer 1; without any it is a tenth."""
    needed = bits(NODES, *PAIR, Node(1, None))
    subsets = torch.arange(2 ** len(NODES))
    values = torch.where((subsets & needed) == needed, 1.0, 0.1).double()
    effects = pair_effects(values, NODES, PAIR)
    assert effects == pytest.approx(
        {
            "intact": 1.0,
            "none": 0.1,
            "mlps_alone": 0.1,
            "pair_alone": 0.1,
            "pair_and_mlps": 1.0,
            "others_and_mlps_median": 0.1,
            "others_and_mlps_max": 0.1,
            "without_pair": 0.1,
            "without_others_min": 1.0,
            "without_others_median": 1.0,
            "without_others_max": 1.0,
        }
    )
    circuits = circuit_columns(values, NODES, PAIR, floor=0.1)
    assert circuits == {"n_minimal": 1, "n_with_pair": 1, "smallest": 3, "first_circuit": "L0H2 + L1H1 + L1 MLP"}
    other = circuit_columns(values, NODES, Pair(Node(0, 0), PAIR.retrieval), floor=0.1)
    assert (other["n_minimal"], other["n_with_pair"]) == (1, 0)
    assert circuit_columns(torch.full((1024,), 0.1).double(), NODES, PAIR, floor=0.1)["n_minimal"] is None


def test_every_node_has_a_part() -> None:
    assert [part_of(node, PAIR) for node in (PAIR.previous, PAIR.retrieval, Node(0, 0), Node(1, None))] == [
        "previous-token head", "retrieval head", "other heads of layer 0", "MLP of layer 1",
    ]  # fmt: skip
