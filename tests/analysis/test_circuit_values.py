from __future__ import annotations

import itertools
import math

import pytest
import torch

from rtinterp.analysis.circuit_values import (
    incompleteness,
    minimal_circuits,
    most_disjoint,
    node_minimality,
    nodes_in,
    pair_interactions,
    shapley_values,
)

N_NODES = 5


@pytest.fixture(scope="module")
def values() -> torch.Tensor:
    return torch.rand(2**N_NODES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def planted(*circuits: int, n_nodes: int = N_NODES) -> torch.Tensor:
    """1 where one of some circuits is whole, 0 elsewhere."""
    return torch.tensor(
        [float(any(subset & circuit == circuit for circuit in circuits)) for subset in range(2**n_nodes)]
    )


def test_shapley_values_are_the_mean_over_all_orders(values: torch.Tensor) -> None:
    total = torch.zeros(N_NODES, dtype=torch.float64)
    for order in itertools.permutations(range(N_NODES)):
        subset = 0
        for node in order:
            total[node] += values[subset | 1 << node] - values[subset]
            subset |= 1 << node
    torch.testing.assert_close(shapley_values(values), total / math.factorial(N_NODES))
    assert shapley_values(values).sum() == pytest.approx((values[-1] - values[0]).item())


def test_interactions_are_the_mean_over_all_orders_of_what_a_pair_adds_jointly(values: torch.Tensor) -> None:
    table = pair_interactions(values)
    assert torch.equal(table, table.T)
    assert (table.diagonal() == 0).all()
    pair, others = (1, 3), (0, 2, 4)
    total, n_orders = 0.0, 0
    for order in itertools.permutations([*others, pair]):
        subset = sum(1 << node for node in order[: order.index(pair)] if isinstance(node, int))
        one, other = subset | 1 << pair[0], subset | 1 << pair[1]
        total += (values[one | other] - values[one] - values[other] + values[subset]).item()
        n_orders += 1
    assert table[pair].item() == pytest.approx(total / n_orders)


def test_nodes_without_effect_count_nothing_and_equal_ones_the_same() -> None:
    found = shapley_values(planted(0b00011))
    torch.testing.assert_close(found, torch.tensor([0.5, 0.5, 0, 0, 0]))
    assert pair_interactions(planted(0b00011))[0, 1] == pytest.approx(1)
    assert pair_interactions(planted(0b00001, 0b00010))[0, 1] == pytest.approx(-1)


@pytest.mark.parametrize("circuits", [[0b00011], [0b00101, 0b11000], [0b00001, 0b00110, 0b11010]], ids=str)
def test_planted_circuits_are_found_and_nothing_else(circuits: list[int]) -> None:
    assert sorted(minimal_circuits(planted(*circuits), at_least=0.5)) == sorted(circuits)


def test_a_circuit_is_minimal_even_where_more_nodes_do_worse() -> None:
    values = planted(0b00011)
    values[0b00111] = 0  # node 2 disturbs the circuit
    assert minimal_circuits(values, at_least=0.5) == [0b00011]
    gap = torch.tensor([0, 1, 0, 0, 0, 0, 0, 1.0])  # node 0 suffices; two nodes never do, all three do
    assert minimal_circuits(gap, at_least=0.5) == [0b001]
    assert minimal_circuits(torch.zeros(8), at_least=0.5) == []
    assert minimal_circuits(torch.ones(8), at_least=0.5) == [0]


def test_disjoint_circuits_are_as_many_as_possible() -> None:
    # The first one shares a node with each of the others, which are disjoint.
    assert most_disjoint([0b00111, 0b00001, 0b00010, 0b00100]) == [0b00001, 0b00010, 0b00100]
    assert most_disjoint([]) == []


def test_a_backup_makes_a_circuit_incomplete() -> None:
    values = planted(0b00011, 0b01100)
    assert incompleteness(values, 0b00011) == 1, "without node 0 the model has another way"
    assert incompleteness(values, 0b01111) == 0
    assert incompleteness(planted(0b00011), 0b00011) == 0


def test_a_node_that_adds_nothing_is_not_minimal() -> None:
    assert node_minimality(planted(0b00011), 0b00111) == {0: 1, 1: 1, 2: 0}
    assert nodes_in(0b10110) == (1, 2, 4)


def test_values_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pass one for each of the 2\^n subsets"):
        shapley_values(torch.zeros(6))
    with pytest.raises(ValueError, match=r"pass one for each of the 2\^n subsets"):
        minimal_circuits(torch.zeros(1), at_least=0.5)
