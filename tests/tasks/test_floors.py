"""Accuracies of strategies without understanding, against the published ones and against plain Python."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from task_references import PAPER_CASES, Reference

from rtinterp.tasks import (
    CircuitImitation,
    DecimalAddition,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)
from rtinterp.tasks.floors import best_guess_accuracy


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (ModularAddition(), {"chance": 0.0050}),
        (NeedleInAHaystack(), {"chance": 0.0079, "most frequent value": 0.166, "last value": 0.142}),
        (DecimalAddition(), {"position and current token": 0.246, "addition without carries": 0.588, "chance": 1 / 12}),
        (
            ParenthesisBalancing(),
            {"majority": 0.526, "length, first and last symbol": 0.869, "equal counts": 0.932},
        ),
        (Memorization(), {"chance": 1 / 512}),
        (CircuitImitation(4), {"chance": 1 / 512}),
    ],
    ids=str,
)
def test_floors_are_those_of_the_protocol(task: Task, expected: dict[str, float]) -> None:
    assert task.floors() == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize(("task", "reference"), PAPER_CASES)
def test_floors_are_accuracies_and_not_shared(task: Task, reference: Reference) -> None:
    floors = task.floors()
    assert all(0 <= value <= 1 for value in floors.values())
    floors["chance"] = 2.0
    assert task.floors().get("chance") != 2.0


def test_needle_floors_on_the_test_set_by_hand() -> None:
    frequent, last, rows = 0, 0, NeedleInAHaystack().test_set().tokens.tolist()
    for row in rows:
        at = next(i for i, token in enumerate(row) if token >= 158)
        values = row[1:at:2]
        frequent += row[at + 1] == Counter(values).most_common(1)[0][0]
        last += row[at + 1] == values[-1]
    floors = NeedleInAHaystack().floors()
    assert floors["most frequent value"] == pytest.approx(frequent / len(rows), abs=0.02)
    assert floors["last value"] == pytest.approx(last / len(rows), abs=0.02)


def test_additions_without_carries_by_hand() -> None:
    task = DecimalAddition(n_digits=3, score_first_digit=True)
    right, rows = 0, task._draw(20_000, torch.Generator().manual_seed(9)).tolist()
    for row in rows:
        a, b, answer = row[:3], row[4:7], row[8:]
        guess = [20 + (x + y) % 10 for x, y in zip(a, b, strict=True)]
        guess += [21, 30] if a[2] + b[2] >= 10 else [30, 12]
        right += sum(g == t for g, t in zip(guess, answer, strict=True))
    assert task.floors()["addition without carries"] == pytest.approx(right / len(rows) / 5, abs=0.005)


def test_balance_floors_on_the_test_set_by_hand() -> None:
    right, rows = 0, ParenthesisBalancing().test_set().tokens.tolist()
    for row in rows:
        at = row.index(3)
        right += (row[:at].count(1) == row[:at].count(2)) == (row[at + 1] == 2)
    assert ParenthesisBalancing().floors()["equal counts"] == pytest.approx(right / len(rows), abs=0.01)


def test_floors_of_small_tasks_are_those_of_the_strings_that_may_be_held_out() -> None:
    """Short strings, which are never tested, have unequal counts more rarely."""
    task = ParenthesisBalancing(max_pairs=10)
    right: dict[bool, list[bool]] = {True: [], False: []}
    for row in task.sample(50_000, torch.Generator().manual_seed(0)).tokens.tolist():
        at = row.index(3)
        right[at >= 10].append((row[:at].count(1) == row[:at].count(2)) == (row[at + 1] == 2))
    floor, long = task.floors()["equal counts"], sum(right[True]) / len(right[True])
    assert floor == pytest.approx(long, abs=0.005)
    assert abs(sum(map(sum, right.values())) / 50_000 - long) > 0.01, "the two distributions differ"


def test_best_guess_knows_the_context_and_only_that() -> None:
    generator = torch.Generator().manual_seed(0)
    context = torch.randint(0, 5, (20_000,), generator=generator)
    coin = torch.randint(0, 2, (20_000,), generator=generator)
    assert best_guess_accuracy(context, context * 3) == 1.0
    assert best_guess_accuracy(torch.zeros_like(context), context) == pytest.approx(0.2, abs=0.02)
    assert best_guess_accuracy(context, coin) == pytest.approx(0.5, abs=0.02)


def test_best_guess_does_not_profit_from_a_table_of_single_observations() -> None:
    generator = torch.Generator().manual_seed(0)
    answer = torch.randint(0, 10, (20_000,), generator=generator)
    assert best_guess_accuracy(torch.arange(20_000) // 2 % 5_000, answer) == pytest.approx(0.1, abs=0.02)
