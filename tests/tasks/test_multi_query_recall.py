"""Multi-query recall: answers by a dictionary, where queries stand, the split by contexts, floors, the causal model."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from task_references import excess, row_set

from rtinterp import tasks
from rtinterp.tasks import MultiQueryRecall

SMALL = MultiQueryRecall(12, 2, 12)
SIZES = [MultiQueryRecall(), MultiQueryRecall(16, 4, 10), SMALL, MultiQueryRecall(80, 17, 50)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def context(task: MultiQueryRecall, row: list[int]) -> dict[int, int]:
    return dict(zip(row[0 : 2 * task.n_pairs : 2], row[1 : 2 * task.n_pairs : 2], strict=True))


def answers(task: MultiQueryRecall, row: list[int]) -> list[int]:
    """Behind the context, the value of a key, and 0 where none stands."""
    end = 2 * task.n_pairs
    return [0] * end + [context(task, row).get(token, 0) for token in row[end:]]


@pytest.mark.parametrize("source", ["sample", "test_set"])
@pytest.mark.parametrize("task", SIZES, ids=repr)
def test_targets_are_what_a_dictionary_holds(task: MultiQueryRecall, source: str) -> None:
    batch = task.sample(200, generator()) if source == "sample" else task.test_set()[:200]
    assert batch.targets is not None
    for row, targets, scored in zip(batch.tokens.tolist(), batch.targets.tolist(), batch.scored.tolist(), strict=True):
        assert targets == answers(task, row)
        assert scored == [target > 0 for target in targets]


def test_gaps_follow_their_power_law_in_the_order_of_the_pairs() -> None:
    task = MultiQueryRecall(14, 2, 8192)
    tokens = task._draw(20_000, generator())
    gaps = (task.query_positions(tokens) - 4) // 2
    weights = {gap: (gap + 1) ** -0.99 for gap in range(5)}
    total = sum(weights.values())
    probabilities = {
        (first, second): weights[first] / total * weights[second] / (total - weights[first])
        for first, second in itertools.permutations(weights, 2)
    }
    assert abs(excess(Counter(map(tuple, gaps.tolist())), probabilities)) < 4


def test_contexts_and_fillers_are_uniform() -> None:
    task = MultiQueryRecall(12, 2, 10)
    tokens = task._draw(20_000, generator())
    contexts = [
        (k, v, key, value)
        for (k, key), (v, value) in itertools.product(
            itertools.permutations(range(1, 5), 2), itertools.permutations(range(5, 10), 2)
        )
    ]
    counts = Counter(map(tuple, tokens[:, :4].tolist()))
    assert abs(excess(counts, dict.fromkeys(contexts, 1 / len(contexts)))) < 4
    last = tokens[(tokens[:, [0, 2]] == torch.tensor([1, 2])).all(1)][:, -1]
    assert abs(excess(Counter(last.tolist()), dict.fromkeys([0, *range(3, 10)], 1 / 8))) < 4


def test_a_context_is_held_out_with_all_queries_and_fillers() -> None:
    of_tests, of_validation = (task.test_set().tokens for task in (SMALL, SMALL.for_validation()))
    drawn, for_validation = (task.sample(20_000, generator()).tokens for task in (SMALL, SMALL.for_validation()))
    test, validation, trained, less = (
        row_set(rows[:, :4]) for rows in (of_tests, of_validation, drawn, for_validation)
    )
    assert not test & validation
    assert not trained & test
    assert trained & validation
    assert not less & (test | validation)
    n_contexts = 5 * 4 * 6 * 5
    assert len(test | trained) == n_contexts
    assert len(test) == pytest.approx(n_contexts / 20, abs=4 * (n_contexts / 20) ** 0.5)
    assert len(row_set(of_tests)) == len(of_tests) == 4000
    assert eval(repr(SMALL.for_validation()), vars(tasks)) == SMALL.for_validation()


@pytest.mark.parametrize("task", [MultiQueryRecall(), MultiQueryRecall(24, 5, 16).for_validation()], ids=repr)
def test_floors_are_those_of_the_very_test_rows(task: MultiQueryRecall) -> None:
    in_order, rows = 0, task.test_set().tokens.tolist()
    for row in rows:
        pairs = context(task, row)
        asked = [pairs[token] for token in row[2 * task.n_pairs :] if token in pairs]
        in_order += sum(value == answer for value, answer in zip(pairs.values(), asked, strict=True))
    expected = {
        "chance": 1 / (task.d_vocab // 2),
        "any value of the context": 1 / task.n_pairs,
        "values in order": in_order / (len(rows) * task.n_pairs),
    }
    assert task.floors() == pytest.approx(expected)


@pytest.mark.parametrize("variable", ["queried value", "asked key"])
def test_sources_have_another_value_or_ask_for_another_key(variable: str) -> None:
    task = MultiQueryRecall(20, 3, 14)
    pairs = task.counterfactuals(300, variable, generator())
    positions = pairs.base.scored.nonzero()[:, 1].tolist()
    entailed, own = pairs.base.scored_targets.tolist(), pairs.factual.scored_targets.tolist()
    base, sources = pairs.base.tokens.tolist(), pairs.sources.tolist()
    asked = Counter()
    for row, source, at, other, factual in zip(base, sources, positions, entailed, own, strict=True):
        assert (answers(task, row)[at], answers(task, source)[at]) == (factual, other)
        changed = [place for place in range(20) if row[place] != source[place]]
        asked[list(context(task, row)).index(row[at])] += 1
        if variable == "queried value":
            (place,) = changed
            assert row[place - 1] == row[at]
            assert other not in context(task, row).values()
        else:
            assert len(changed) == 2
            assert at in changed
            assert [row[place] for place in changed] == [source[place] for place in reversed(changed)]
    assert abs(excess(asked, dict.fromkeys(range(3), 1 / 3))) < 4


def test_one_pair_leaves_no_other_key() -> None:
    with pytest.raises(ValueError, match="no other key to ask for; use n_pairs of at least 2"):
        MultiQueryRecall(8, 1, 40).counterfactuals(5, "asked key", generator())


def test_roles_tell_queries_from_fillers() -> None:
    row = torch.tensor([[1, 7, 5, 11, 0, 6, 5, 7, 3, 2, 1, 4]])
    names = [SMALL.role_names[role] for role in SMALL.roles(row)[0]]
    assert names == ["key", "value"] * 2 + ["filler"] * 2 + ["query"] + ["filler"] * 3 + ["query", "filler"]
    assert SMALL.query_positions(row).tolist() == [[10, 6]]
