"""Sorting: uniform numbers, the split, floors in plain Python, the causal model."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import pytest
import torch
from task_references import excess, row_set

from rtinterp import tasks
from rtinterp.tasks import Sorting

SMALL = Sorting(5, 4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_numbers_are_uniform_and_independent() -> None:
    counts = Counter(map(tuple, Sorting(3, 6)._draw(20_000, generator())[:, :3].tolist()))
    assert abs(excess(counts, dict.fromkeys(itertools.product(range(6), repeat=3), 6**-3))) < 4


def test_no_sequence_is_on_two_sides_of_the_split() -> None:
    test, validation = (row_set(task.test_set().tokens) for task in (SMALL, SMALL.for_validation()))
    drawn = row_set(SMALL.sample(20_000, generator()).tokens)
    for_validation = row_set(SMALL.for_validation().sample(20_000, generator()).tokens)
    assert not test & validation
    assert not drawn & test
    assert drawn & validation
    assert not for_validation & (test | validation)
    assert len(test | drawn) == 4**5
    assert len(test) == len(SMALL.test_set()) == pytest.approx(4**5 / 20, abs=4 * (4**5 / 20) ** 0.5)
    assert len(row_set(Sorting().test_set().tokens)) == 4000
    assert eval(repr(SMALL.for_validation()), vars(tasks)) == SMALL.for_validation()


@pytest.mark.parametrize("task", [Sorting(), SMALL.for_validation()], ids=repr)
def test_floors_are_those_of_the_very_test_rows(task: Sorting) -> None:
    n = task.length

    def predictions(row: list[int]) -> list[tuple[int, int, int]]:
        """Place, the token there, and what follows."""
        ordered = sorted(row[:n])
        return list(zip(range(n), [task.vocabulary, *ordered[:-1]], ordered, strict=True))

    seen: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for row in task.sample(20_000, torch.Generator().manual_seed(12345)).tokens.tolist():
        for place, token, answer in predictions(row):
            seen[place, token][answer] += 1
    again, guessed, rows = 0, 0, task.test_set().tokens.tolist()
    for row in rows:
        for place, token, answer in predictions(row):
            again += answer == (token if place else 0)
            counts = seen[place, token]
            guessed += answer == min(counts, key=lambda one: (-counts[one], one))
    expected = {
        "chance": 1 / task.vocabulary,
        "last answer again": again / (len(rows) * n),
        "position and last answer": guessed / (len(rows) * n),
    }
    assert task.floors() == pytest.approx(expected)


@pytest.mark.parametrize("place", range(6))
def test_a_source_has_one_other_number_and_is_sorted_alike_up_to_the_scored_place(place: int) -> None:
    task = Sorting(6)
    pairs = task.counterfactuals(200, f"x{place + 1}", generator())
    positions = pairs.base.scored.nonzero()[:, 1].tolist()
    entailed, own = pairs.base.scored_targets.tolist(), pairs.factual.scored_targets.tolist()
    base, sources = pairs.base.tokens.tolist(), pairs.sources.tolist()
    for row, source, at, other, factual in zip(base, sources, positions, entailed, own, strict=True):
        assert [i for i in range(6) if row[i] != source[i]] == [place]
        left, right = sorted(row[:6]), sorted(source[:6])
        rank = at - 6
        assert left[:rank] == right[:rank]
        assert (left[rank], right[rank]) == (factual, other)
        assert factual != other
    assert set(positions) == set(range(6, 12))


def test_roles_are_positions() -> None:
    task = Sorting(3, 30)
    names = [task.role_names[role] for role in task.roles(torch.tensor([[29, 0, 3, 30, 0, 3, 29]]))[0]]
    assert names == ["x1", "x2", "x3", "=", "sorted1", "sorted2", "sorted3"]
