"""Graph search: acyclic graphs, lookahead by brute force, the law of the draws, the split, floors, the causal model."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from task_references import excess, excess_of_two, graph_search, row_set

from rtinterp import tasks
from rtinterp.tasks import GraphSearch

SMALL = GraphSearch(6, 4, 1)
SIZES = [GraphSearch(), GraphSearch(8, 8, 3), GraphSearch(20, 60, 3), GraphSearch(30, 28, 14)]

Edges = list[tuple[int, int]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def question(task: GraphSearch, row: list[int]) -> tuple[Edges, int, int]:
    end = 3 * task.n_edges
    return list(zip(row[1:end:3], row[2:end:3], strict=True)), row[end + 1], row[end + 2]


def paths(edges: Edges, start: int, n_steps: int) -> list[list[int]]:
    """Every walk of so many steps."""
    walks = [[start]]
    for _ in range(n_steps):
        walks = [[*walk, head] for walk in walks for tail, head in edges if tail == walk[-1]]
    return walks


@pytest.mark.parametrize("task", SIZES, ids=repr)
def test_graphs_are_acyclic_and_only_the_lookahead_tells_the_branch(task: GraphSearch) -> None:
    tokens = task.sample(60, generator()).tokens
    for row, lookahead in zip(tokens.tolist(), task.lookahead(tokens).tolist(), strict=True):
        edges, start, goal = question(task, row)
        left = set(edges)
        while left:
            heads = {head for _, head in left}
            assert {tail for tail, _ in left} - heads, "a cycle"
            left = {(tail, head) for tail, head in left if tail in heads}
        found = [
            n for n in range(1, task.max_lookahead + 1) if any(walk[-1] == goal for walk in paths(edges, start, n))
        ]
        assert found == [lookahead], "the goal is reached in one number of steps"
        walks = paths(edges, start, lookahead)
        (way,) = (walk for walk in walks if walk[-1] == goal)
        assert way[1] == row[-1]
        # Another branch goes on for as long, so that fewer steps could not tell them apart.
        assert any(walk[1] != way[1] for walk in walks)


def test_lookahead_and_answers_are_uniform() -> None:
    task = GraphSearch(12, 14, 4)
    tokens = task._draw(12_000, generator())
    assert abs(excess(Counter(task.lookahead(tokens).tolist()), dict.fromkeys(range(1, 5), 1 / 4))) < 4
    for place in (-1, -3, -4):
        assert abs(excess(Counter(tokens[:, place].tolist()), dict.fromkeys(range(12), 1 / 12))) < 4
    edges = task.edges(tokens)
    is_first = (edges[:, :, 0] == tokens[:, -4, None]) & (edges[:, :, 1] == tokens[:, -1, None])
    assert (is_first.sum(1) == 1).all()
    assert abs(excess(Counter(is_first.int().argmax(1).tolist()), dict.fromkeys(range(14), 1 / 14))) < 4


def draw_in_python(task: GraphSearch, rng: random.Random) -> tuple[frozenset[tuple[int, int]], int, int]:
    """A question as the documentation tells of it."""
    lookahead = rng.randint(1, task.max_lookahead)
    start, *names = rng.sample(range(task.n_vertices), task.n_vertices)
    path, rival, others = names[:lookahead], names[lookahead : 2 * lookahead], names[2 * lookahead :]
    edges = {edge for branch in (path, rival) for edge in zip([start, *branch[:-1]], branch, strict=True)}
    before = {vertex for vertex in others if rng.random() < 0.5}
    order = [v for v in others if v in before] + [None] + [v for v in others if v not in before]
    on_branches = [start, *path, *rival]
    further = []
    for i, early in enumerate(order):
        for late in order[i + 1 :]:
            tails, heads = ([vertex] if vertex is not None else on_branches for vertex in (early, late))
            further += [(tail, head) for tail in tails for head in heads]
    return frozenset(edges.union(rng.sample(further, task.n_edges - 2 * lookahead))), start, path[-1]


def test_questions_are_drawn_as_documented() -> None:
    task, rng = GraphSearch(5, 4, 2), random.Random(0)
    drawn = Counter()
    for row in task._draw(30_000, generator()).tolist():
        edges, start, goal = question(task, row)
        drawn[frozenset(edges), start, goal] += 1
    assert abs(excess_of_two(drawn, Counter(draw_in_python(task, rng) for _ in range(30_000)))) < 4


def canonical(task: GraphSearch, tokens: torch.Tensor) -> set[tuple[frozenset[tuple[int, int]], int, int]]:
    of_rows = (question(task, row) for row in tokens.tolist())
    return {(frozenset(edges), start, goal) for edges, start, goal in of_rows}


def test_a_question_is_held_out_in_every_order_of_its_edges() -> None:
    of_tests, of_validation = (task.test_set().tokens for task in (SMALL, SMALL.for_validation()))
    drawn, for_validation = (task.sample(10_000, generator()).tokens for task in (SMALL, SMALL.for_validation()))
    test, validation, trained, less = (
        canonical(SMALL, rows) for rows in (of_tests, of_validation, drawn, for_validation)
    )
    assert not test & validation
    assert not trained & test
    assert trained & validation
    assert not less & (test | validation)
    assert len(row_set(of_tests)) == len(of_tests) == 4000
    assert len(test) < 2000 < len(of_tests), "many orders of few questions"
    assert len(row_set(GraphSearch().test_set().tokens)) == 4000
    assert eval(repr(SMALL.for_validation()), vars(tasks)) == SMALL.for_validation()


@pytest.mark.parametrize("task", [GraphSearch(), GraphSearch(8, 8, 3).for_validation()], ids=repr)
def test_floors_are_those_of_the_very_test_rows(task: GraphSearch) -> None:
    any_next, going_on, rows = 0.0, 0.0, task.test_set().tokens.tolist()
    for row in rows:
        edges, start, goal = question(task, row)
        following = {head for tail, head in edges if tail == start}
        any_next += 1 / len(following)
        going_on += 1 / len({goal} & following or {head for head in following if paths(edges, head, 1)})
    expected = {
        "chance": 1 / task.n_vertices,
        "next to the start": any_next / len(rows),
        "the goal, or what goes on": going_on / len(rows),
    }
    assert task.floors() == pytest.approx(expected)


@pytest.mark.parametrize("variable", ["goal", "step 2", "step 3"])
def test_the_other_branch_leads_to_the_goal_of_a_source(variable: str) -> None:
    task = GraphSearch(10, 12, 3)
    pairs = task.counterfactuals(300, variable, generator())
    assert (pairs.base.scored.nonzero()[:, 1] == task.sequence_length - 2).all()
    entailed = pairs.base.scored_targets.tolist()
    lookahead = Counter(task.lookahead(pairs.base.tokens).tolist())
    assert set(lookahead) == set(range(1 if variable == "goal" else int(variable[-1]), 4))
    assert torch.equal(task.lookahead(pairs.sources), task.lookahead(pairs.base.tokens))
    for row, source, other in zip(pairs.base.tokens.tolist(), pairs.sources.tolist(), entailed, strict=True):
        assert graph_search(task, row)[0] == row
        assert graph_search(task, source)[0] == source
        assert source[-1] == other != row[-1]
        (edges, start, goal), (changed, new_start, new_goal) = question(task, row), question(task, source)
        assert start == new_start
        differing = [(one, two) for one, two in zip(edges, changed, strict=True) if one != two]
        if variable == "goal":
            assert not differing
            assert goal != new_goal
        else:
            assert goal == new_goal
            (one, new_one), (two, new_two) = differing
            assert (one[0], two[1], two[0], one[1]) == (*new_one, *new_two), "the heads change places"
            steps = int(variable[-1]) - 1
            assert {one[0], two[0]} <= {walk[-1] for walk in paths(edges, start, steps)}


def test_one_step_has_a_goal_alone() -> None:
    assert SMALL.variables == ("goal",)
    row = torch.tensor([[6, 0, 5, 6, 0, 2, 6, 1, 2, 6, 5, 4, 7, 0, 5, 8, 5]])
    names = [SMALL.role_names[role] for role in SMALL.roles(row)[0]]
    assert names == ["edge", "tail", "head"] * 4 + ["query", "start", "goal", "path", "answer"]
