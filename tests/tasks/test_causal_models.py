from __future__ import annotations

import itertools

import pytest
import torch
from task_references import graph_search

from rtinterp.tasks import (
    CausalTask,
    DecimalAddition,
    GraphSearch,
    GroupWordProblem,
    KHopInduction,
    ModularAddition,
    Multiplication,
    MultiQueryRecall,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Sorting,
)

TASKS = {
    "modular": ModularAddition(p=13),
    "needle": NeedleInAHaystack(max_pairs=4, n_values=16),
    "decimal": DecimalAddition(n_digits=3),
    "parentheses": ParenthesisBalancing(max_pairs=6),
    "brackets": ParenthesisBalancing(max_pairs=6, n_kinds=3),
    "k-hop": KHopInduction(max_hops=4, length=30),
    "recall": MultiQueryRecall(20, 3, 14),
    "sorting": Sorting(6),
    "multiplication": Multiplication(3, 2),
    "search": GraphSearch(10, 12, 3),
    "words": GroupWordProblem(5, "A4xZ5"),
}
CASES = [(name, variable) for name, task in TASKS.items() for variable in task.variables]
N = 200


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_number(digits: list[int]) -> int:
    return sum(digit * 10**place for place, digit in enumerate(digits))


def rightly_answered(task: CausalTask, row: list[int]) -> list[int]:
    """The sequence with the answer that its question calls for, worked out in plain Python."""
    match task:
        case ModularAddition():
            return [*row[:2], (row[0] + row[1]) % task.p]
        case NeedleInAHaystack():
            query = next(i for i, token in enumerate(row) if token >= task.query_token(0))
            context = dict(zip(row[:query:2], row[1:query:2], strict=True))
            answer = context[row[query] - task.max_pairs]
            return [*row[: query + 1], answer] + [task.PAD] * (len(row) - query - 2)
        case DecimalAddition():
            n = task.n_digits
            return task.sequence(as_number(row[:n]), as_number(row[n + 1 : 2 * n + 1])).tolist()
        case ParenthesisBalancing():
            string = "".join("()?[]{}"[token - 1] for token in row[: row.index(task.QUERY)])
            return task.sequence(string).tolist()
        case Multiplication():
            return task.sequence(as_number(row[:3]), as_number(row[4:6])).tolist()
        case GraphSearch():
            return graph_search(task, row)[0]
        case Sorting():
            return [*row[:6], 5, *sorted(row[:6])]
        case KHopInduction():  # whose answers are not part of the sequence
            assert row[0] <= task.max_hops
            assert all(left != right > task.max_hops for left, right in itertools.pairwise(row[1:]))
            return row
        case MultiQueryRecall():  # nor are these
            keys, values = row[:6:2], row[1:6:2]
            assert len(set(keys)) == len(set(values)) == 3
            assert set(keys) <= set(range(1, 7))
            assert set(values) <= set(range(7, 14))
            assert sorted(token for token in row[6:] if token in keys) == sorted(keys)
            return row
        case GroupWordProblem():
            assert set(row) <= set(range(60))
            return row
    raise AssertionError(task)


@pytest.mark.parametrize(("name", "variable"), CASES)
def test_bases_and_sources_are_sequences_of_the_task(name: str, variable: str) -> None:
    task = TASKS[name]
    pairs = task.counterfactuals(N, variable, generator())
    assert len(pairs) == len(pairs.sources) == N
    for rows in (pairs.base.tokens, pairs.sources):
        assert [rightly_answered(task, row) for row in rows.tolist()] == rows.tolist()
    # Both have the same length, one prediction is scored, and the answer is another one.
    if task.pad_token is not None and name not in ("decimal", "multiplication"):
        assert torch.equal(pairs.base.tokens == task.pad_token, pairs.sources == task.pad_token)
    assert (pairs.base.scored.sum(1) == 1).all()
    assert (pairs.base.scored_targets != pairs.factual.scored_targets).all()
    assert task.sample(2000, generator()).scored.any(0)[pairs.base.scored.any(0)].all(), "scored where the task scores"


def test_modular_pairs_differ_in_one_number_or_in_the_sum() -> None:
    task = ModularAddition(p=13)
    for variable, shared in (("a", [1]), ("b", [0]), ("sum", [])):
        pairs = task.counterfactuals(N, variable, generator())
        base, sources = pairs.base.tokens, pairs.sources
        assert [column for column in (0, 1) if torch.equal(base[:, column], sources[:, column])] == shared
        assert torch.equal(pairs.base.scored_targets, sources[:, 2])
        assert len(torch.unique((sources[:, 2] - base[:, 2]) % 13)) == 12


def test_needle_sources_have_another_value_or_ask_for_another_marker() -> None:
    task = NeedleInAHaystack(max_pairs=4, n_values=16)
    pairs = task.counterfactuals(N, "queried value", generator())
    changed = pairs.base.tokens != pairs.sources
    assert (changed.sum(1) == 2).all(), "the value and the answer"
    at = task.queried_value_position(pairs.base.tokens)
    assert changed.gather(1, at[:, None]).all()
    pairs = task.counterfactuals(N, "asked marker", generator())
    changed = pairs.base.tokens != pairs.sources
    query = task.query_position(pairs.base.tokens)
    assert changed.gather(1, query[:, None]).all()
    assert not (changed & (torch.arange(changed.shape[1]) < query[:, None])).any(), "the context is the same"


@pytest.mark.parametrize("digit", [1, 2, 3])
def test_a_carry_is_all_that_differs_for_the_scored_digit(digit: int) -> None:
    task = DecimalAddition(n_digits=3)
    pairs = task.counterfactuals(N, f"carry {digit}", generator())
    carries = []
    for row, source, expected in zip(
        pairs.base.tokens.tolist(), pairs.sources.tolist(), pairs.base.scored_targets.tolist(), strict=True
    ):
        (a, b), (c, d) = ((line[:3], line[4:7]) for line in (row, source))
        assert a[digit:] == c[digit:]
        assert b[digit:] == d[digit:]
        base, other = ((as_number(x[:digit]) + as_number(y[:digit])) // 10**digit for x, y in ((a, b), (c, d)))
        assert base != other
        carries.append(base)
        if digit < 3:
            assert expected == task.OUTPUT_ZERO + (a[digit] + b[digit] + other) % 10
        else:
            assert expected == (task.OUTPUT_ZERO + 1 if other else task.STOP)
    assert 0 < sum(carries) < N
    assert (pairs.base.scored.nonzero()[:, 1] == task.equals_position + digit).all()


@pytest.mark.parametrize("variable", ["equal counts", "never negative"])
def test_a_string_is_unbalanced_because_of_its_variable_alone(variable: str) -> None:
    task = ParenthesisBalancing(max_pairs=6)
    pairs = task.counterfactuals(N, variable, generator())
    n_balanced = 0
    for row, source in zip(pairs.base.tokens.tolist(), pairs.sources.tolist(), strict=True):
        states = []
        for line in (row, source):
            depths = [0]
            for token in line[: line.index(task.QUERY)]:
                depths.append(depths[-1] + (1 if token == task.OPEN else -1))
            states.append({"equal counts": depths[-1] == 0, "never negative": min(depths) >= 0})
        assert states[0][variable] != states[1][variable]
        del states[0][variable], states[1][variable]
        assert all(value for state in states for value in state.values())
        n_balanced += row[row.index(task.QUERY) + 1] == task.BALANCED
    assert 0.3 < n_balanced / N < 0.7


def test_roles_are_what_positions_hold() -> None:
    needle = NeedleInAHaystack(max_pairs=4, n_values=16)
    row = needle.sequence([0, 1], [3, 4], query=1)
    names = [needle.role_names[role] for role in needle.roles(row[None])[0]]
    assert names == ["marker", "value"] * 2 + ["query", "answer"] + ["pad"] * 5
    parentheses = ParenthesisBalancing(max_pairs=3)
    names = [parentheses.role_names[role] for role in parentheses.roles(parentheses.sequence("(())")[None])[0]]
    assert names == ["open", "open", "close", "close", "query", "answer", "pad", "pad", "pad"]
    decimal = DecimalAddition(n_digits=2)
    row = decimal.sequence(12, 34)
    names = [decimal.role_names[role] for role in decimal.roles(row[None])[0]]
    assert names == ["a0", "a1", "+", "b0", "b1", "=", "sum0", "sum1", "sum2", "end"]
    assert decimal.role("sum0") == 6


@pytest.mark.parametrize("name", list(TASKS))
def test_roles_of_a_beginning_are_those_of_the_whole(name: str) -> None:
    task = TASKS[name]
    tokens = task.test_set().tokens
    n_pos = tokens.shape[1] - 1
    assert torch.equal(task.roles(tokens[:, :n_pos]), task.roles(tokens)[:, :n_pos])
    assert int(task.roles(tokens).max()) < len(task.role_names)


@pytest.mark.parametrize(("name", "variable"), CASES)
def test_the_generator_alone_decides(name: str, variable: str) -> None:
    state = torch.get_rng_state()
    first, again, other = (TASKS[name].counterfactuals(50, variable, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.base.tokens, again.base.tokens)
    assert torch.equal(first.sources, again.sources)
    assert not torch.equal(first.base.tokens, other.base.tokens)
    assert torch.equal(state, torch.get_rng_state())


def test_what_does_not_exist_is_refused() -> None:
    task = TASKS["needle"]
    with pytest.raises(ValueError, match="has no variable 'depth'; it has queried value, asked marker"):
        task.counterfactuals(5, "depth", generator())
    with pytest.raises(ValueError, match="has no role 'digit'; it has pad, marker, value, query, answer"):
        task.role("digit")
    with pytest.raises(ValueError, match=r"at least 1|n is 0"):
        task.counterfactuals(0, "asked marker", generator())
    with pytest.raises(ValueError, match="hardly any sequence has another value to ask for"):
        NeedleInAHaystack(max_pairs=1, n_values=200).counterfactuals(5, "asked marker", generator())
