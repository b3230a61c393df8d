"""Groups by their axioms, and the word problem: products by hand, the split, floors, the causal model."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import get_args

import pytest
import torch
from task_references import excess, row_set

from rtinterp import tasks
from rtinterp.tasks import GroupWordProblem
from rtinterp.tasks.groups import GroupName, named_group

NAMES = get_args(GroupName)
SIZES = [GroupWordProblem(), GroupWordProblem(9, "A4xZ5"), GroupWordProblem(7, "Z60"), GroupWordProblem(11, "Z2")]
SMALL = GroupWordProblem(12, "Z2")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def subgroup(table: list[list[int]], generators: set[int]) -> set[int]:
    """All products of some elements."""
    found = {0}
    while (larger := found | {table[g][h] for g in found for h in generators}) != found:
        found = larger
    return found


def derived_orders(table: list[list[int]]) -> list[int]:
    """The orders of a group, of its commutator subgroup, of that one's, and so on as long as they shrink."""
    inverse = [row.index(0) for row in table]
    orders, elements = [], set(range(len(table)))
    while not orders or len(elements) < orders[-1]:
        orders.append(len(elements))
        pairs = itertools.product(elements, repeat=2)
        elements = subgroup(table, {table[table[inverse[g]][inverse[h]]][table[g][h]] for g, h in pairs})
    return orders


@pytest.mark.parametrize("name", NAMES)
def test_groups_are_groups(name: GroupName) -> None:
    group = named_group(name)
    every, table = torch.arange(group.order), group.table
    assert group.table.shape == (group.order, group.order)
    assert len(set(group.labels)) == group.order
    assert torch.equal(table[0], every)
    assert torch.equal(table[:, 0], every)
    assert torch.equal(table[table], table[:, table]), "(g h) k = g (h k) for all g, h and k"
    assert (table[every, group.inverses] == 0).all()
    assert (table[group.inverses, every] == 0).all()


@pytest.mark.parametrize(("name", "orders"), [("Z2", [2, 1]), ("Z60", [60, 1]), ("A4xZ5", [60, 4, 1]), ("A5", [60])])
def test_solvable_groups_come_down_to_the_identity(name: GroupName, orders: list[int]) -> None:
    table = named_group(name).table
    assert derived_orders(table.tolist()) == orders
    assert torch.equal(table, table.T) == (orders[1:] == [1]), "commutative"


def orders_of_elements(name: GroupName) -> Counter[int]:
    table = named_group(name).table.tolist()
    return Counter(len(subgroup(table, {g})) for g in range(len(table)))


def test_elements_have_the_orders_that_tell_the_groups_apart() -> None:
    assert orders_of_elements("A5") == {1: 1, 2: 15, 3: 20, 5: 24}
    assert orders_of_elements("A4xZ5") == {1: 1, 2: 3, 3: 8, 5: 4, 10: 12, 15: 32}
    assert orders_of_elements("Z60")[60] == 16


def moved(label: str, point: str) -> str:
    """Where a permutation that is printed as cycles takes a point."""
    for cycle in label.strip("()").split(")("):
        if point in cycle:
            return cycle[(cycle.index(point) + 1) % len(cycle)]
    return point


def test_the_first_factor_acts_first() -> None:
    labels, table = named_group("A5").labels, named_group("A5").table.tolist()
    for g, h in itertools.product(range(60), repeat=2):
        product = labels[table[g][h]]
        assert all(moved(product, x) == moved(labels[h], moved(labels[g], x)) for x in "12345")
    assert labels[table[labels.index("(123)")][labels.index("(345)")]] == "(12453)"


def products(task: GroupWordProblem, row: list[int]) -> list[int]:
    """One after the other, of residues and of labels, without the table where there is no need of it."""
    if task.group.startswith("Z"):
        return [total % int(task.group[1:]) for total in itertools.accumulate(row)]
    table = task.elements.table.tolist()
    return list(itertools.accumulate(row, lambda product, element: table[product][element]))


@pytest.mark.parametrize("source", ["sample", "test_set"])
@pytest.mark.parametrize("task", SIZES, ids=repr)
def test_targets_are_the_products_so_far(task: GroupWordProblem, source: str) -> None:
    batch = task.sample(200, generator()) if source == "sample" else task.test_set()[:200]
    assert batch.targets is not None
    for row, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        assert targets == products(task, row)


def test_parity_is_the_word_problem_of_two_elements() -> None:
    batch = SMALL.sample(300, generator())
    assert torch.equal(batch.expected(12), batch.tokens.cumsum(1) % 2)


def test_elements_and_products_are_uniform() -> None:
    batch = GroupWordProblem(5, "A5").sample(4000, generator())
    for tokens in (batch.tokens, batch.expected(5)):
        assert abs(excess(Counter(tokens.flatten().tolist()), dict.fromkeys(range(60), 1 / 60))) < 4


def test_no_sequence_is_on_two_sides_of_the_split() -> None:
    test, validation = (row_set(task.test_set().tokens) for task in (SMALL, SMALL.for_validation()))
    drawn = row_set(SMALL.sample(40_000, generator()).tokens)
    for_validation = row_set(SMALL.for_validation().sample(40_000, generator()).tokens)
    assert not test & validation
    assert not drawn & test
    assert drawn & validation
    assert not for_validation & (test | validation)
    assert len(test | drawn) == 2**12
    assert len(test) == len(SMALL.test_set()) == pytest.approx(2**12 / 20, abs=4 * (2**12 / 20) ** 0.5)
    assert len(row_set(GroupWordProblem().test_set().tokens)) == 4000
    assert eval(repr(SMALL.for_validation()), vars(tasks)) == SMALL.for_validation()


@pytest.mark.parametrize("task", [SMALL, GroupWordProblem(4, "A4xZ5").for_validation()], ids=repr)
def test_floors_are_those_of_the_very_test_rows(task: GroupWordProblem) -> None:
    seen: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for row in task.sample(20_000, torch.Generator().manual_seed(12345)).tokens.tolist():
        for place, (element, answer) in enumerate(zip(row, products(task, row), strict=True)):
            seen[place, element][answer] += 1
    guessed, of_two, rows = 0, 0, task.test_set().tokens.tolist()
    for row in rows:
        for place, answer in enumerate(products(task, row)):
            counts = seen[place, row[place]]
            guessed += answer == min(counts, key=lambda one: (-counts[one], one))
            of_two += answer == products(task, row[max(place - 1, 0) : place + 1])[-1]
    n = len(rows) * task.length
    expected = {
        "chance": 1 / task.d_vocab,
        "position and element": guessed / n,
        "product of the last two": of_two / n,
    }
    assert task.floors() == pytest.approx(expected)


@pytest.mark.parametrize("variable", ["element 1", "element 4", "element 7", "product 1", "product 4", "product 7"])
def test_sources_differ_in_an_element_or_in_the_product_up_to_it(variable: str) -> None:
    task = GroupWordProblem(7)
    kind, place = variable.split()[0], int(variable.split()[1]) - 1
    pairs = task.counterfactuals(300, variable, generator())
    positions = pairs.base.scored.nonzero()[:, 1].tolist()
    entailed, own = pairs.base.scored_targets.tolist(), pairs.factual.scored_targets.tolist()
    base, sources = pairs.base.tokens.tolist(), pairs.sources.tolist()
    for row, source, at, other, factual in zip(base, sources, positions, entailed, own, strict=True):
        changed = [i for i in range(7) if row[i] != source[i]]
        assert changed == [place] if kind == "element" else max(changed) <= place
        assert (products(task, row)[at], products(task, source)[at]) == (factual, other)
        assert products(task, row)[place] != products(task, source)[place]
    assert set(positions) == set(range(place, 7))
    if kind == "product" and place:
        assert sum(row[0] != source[0] for row, source in zip(base, sources, strict=True)) > 250


def test_roles_are_positions() -> None:
    task = GroupWordProblem(3)
    assert [task.role_names[role] for role in task.roles(torch.tensor([[5, 5, 0]]))[0]] == [
        "element 1",
        "element 2",
        "element 3",
    ]
