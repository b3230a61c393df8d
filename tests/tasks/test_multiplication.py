"""Multiplication: uniform factors, the split, floors by Python's integers, the causal model."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import pytest
import torch
from task_references import excess, row_set

from rtinterp import tasks
from rtinterp.tasks import Multiplication

SMALL = Multiplication(2, 2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors(task: Multiplication, row: list[int]) -> tuple[int, int]:
    n = task.n_digits_a
    a, b = row[:n], row[n + 1 : n + 1 + task.n_digits_b]
    return tuple(sum(digit * 10**place for place, digit in enumerate(digits)) for digits in (a, b))


def answers(product: int) -> list[int]:
    """The tokens that follow "="."""
    return [13 + int(digit) for digit in reversed(str(product))] + [23]


def test_factors_are_uniform_among_those_without_leading_zero() -> None:
    task = Multiplication(2, 1)
    counts = Counter(factors(task, row) for row in task._draw(40_000, generator()).tolist())
    every = itertools.product(range(10, 100), range(1, 10))
    assert abs(excess(counts, dict.fromkeys(every, 1 / 810))) < 4


def test_no_sequence_is_on_two_sides_of_the_split() -> None:
    test, validation = (row_set(task.test_set().tokens) for task in (SMALL, SMALL.for_validation()))
    drawn = row_set(SMALL.sample(100_000, generator()).tokens)
    for_validation = row_set(SMALL.for_validation().sample(100_000, generator()).tokens)
    assert not test & validation
    assert not drawn & test
    assert drawn & validation
    assert not for_validation & (test | validation)
    assert len(test | drawn) == 90**2
    assert len(test) == len(SMALL.test_set()) == pytest.approx(90**2 / 20, abs=4 * (90**2 / 20) ** 0.5)
    assert len(row_set(Multiplication().test_set().tokens)) == 4000
    assert eval(repr(SMALL.for_validation()), vars(tasks)) == SMALL.for_validation()


def without_carries(task: Multiplication, row: list[int]) -> list[int]:
    n, m = task.n_digits_a, task.n_digits_b
    columns = [0] * (n + m - 1)
    for i, j in itertools.product(range(n), range(m)):
        columns[i + j] += row[i] * row[n + 1 + j]
    last = columns[-1] // 10
    return [*(13 + column % 10 for column in columns), 13 + last if last else 23, 23]


@pytest.mark.parametrize("task", [Multiplication(), SMALL.for_validation(), Multiplication(1, 2)], ids=repr)
def test_floors_are_those_of_the_very_test_rows(task: Multiplication) -> None:
    equals = task.n_digits_a + task.n_digits_b + 1
    seen: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    rows = task.sample(100_000, torch.Generator().manual_seed(12345)).tokens.tolist()
    for row in rows:
        for place in range(equals, len(row) - 1):
            if row[place + 1] != 12:
                seen[place, row[place]][row[place + 1]] += 1
    overall = sum(seen.values(), Counter())
    guessed, forgotten, n = 0, 0, 0
    for row in task.test_set().tokens.tolist():
        a, b = factors(task, row)
        forgetful = without_carries(task, row)
        for place, answer in enumerate(answers(a * b)):
            counts = seen[equals + place, row[equals + place]] or overall
            guessed += answer == min(counts, key=lambda one: (-counts[one], one))
            forgotten += answer == forgetful[place]
            n += 1
    expected = {
        "chance": 1 / 11,
        "position and current token": guessed / n,
        "multiplication without carries": forgotten / n,
    }
    assert task.floors() == pytest.approx(expected)


@pytest.mark.parametrize("variable", Multiplication(3, 2).variables)
def test_a_source_has_one_other_digit_and_is_multiplied_alike_up_to_the_scored_place(variable: str) -> None:
    task = Multiplication(3, 2)
    pairs = task.counterfactuals(200, variable, generator())
    positions = pairs.base.scored.nonzero()[:, 1].tolist()
    entailed, own = pairs.base.scored_targets.tolist(), pairs.factual.scored_targets.tolist()
    base, sources = pairs.base.tokens.tolist(), pairs.sources.tolist()
    for row, source, at, other, factual in zip(base, sources, positions, entailed, own, strict=True):
        place = int(variable[1]) + (4 if variable[0] == "b" else 0)
        assert [i for i in range(6) if row[i] != source[i]] == [place]
        left, right = (answers(a * b) for a, b in (factors(task, row), factors(task, source)))
        digit = at - 6
        assert left[:digit] == right[:digit]
        assert (left[digit], right[digit]) == (factual, other)
        assert factual != other


def test_explicit_sequences_and_their_roles() -> None:
    task = Multiplication(2, 1)
    assert task.decode(task.sequence(12, 3)) == "2 1 * 3 = 6 3 ."
    assert task.decode(task.sequence(99, 9)) == "9 9 * 9 = 1 9 8 ."
    names = [task.role_names[role] for role in task.roles(task.sequence(12, 3)[None])[0]]
    assert names == ["a0", "a1", "*", "b0", "=", "product0", "product1", "product2", "end"]
    with pytest.raises(ValueError, match="factors have 2 and 1 digits, got 12 and 0"):
        task.sequence(12, 0)
