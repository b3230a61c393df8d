"""Accuracies of strategies without understanding, against the published ones and against plain Python."""

from __future__ import annotations

from collections import Counter, defaultdict

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
        (ModularAddition(), {"chance": 0.0050, "best guess from b": 0.0, "commuted twin": 0.947}),
        (NeedleInAHaystack(), {"chance": 0.0079, "most frequent value": 0.166, "last value": 0.142}),
        (DecimalAddition(), {"position and current token": 0.246, "addition without carries": 0.588, "chance": 1 / 12}),
        # The protocol has 0.869, of strings of all lengths; no short one is trained on.
        (
            ParenthesisBalancing(),
            {"majority": 0.526, "length, first and last symbol": 0.808, "equal counts": 0.932},
        ),
        (Memorization(), {"chance": 1 / 512}),
        (CircuitImitation(4), {"chance": 1 / 512}),
    ],
    ids=str,
)
def test_floors_are_those_of_the_protocol_as_far_as_4000_rows_tell(task: Task, expected: dict[str, float]) -> None:
    assert task.floors() == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(("task", "reference"), PAPER_CASES)
def test_floors_are_accuracies_and_not_shared(task: Task, reference: Reference) -> None:
    floors = task.floors()
    assert all(0 <= value <= 1 for value in floors.values())
    floors["chance"] = 2.0
    assert task.floors().get("chance") != 2.0


NEEDLES = [NeedleInAHaystack(), NeedleInAHaystack(4, 16), NeedleInAHaystack(4, 16, test_rows="drawn")]
SUMS = [DecimalAddition(), DecimalAddition(2), DecimalAddition(3, True), DecimalAddition(2).for_validation()]
MODULAR = [ModularAddition(), ModularAddition(7), ModularAddition(23).for_validation()]
STRINGS = [ParenthesisBalancing(), ParenthesisBalancing(10), ParenthesisBalancing(10, test_rows="drawn")]


@pytest.mark.parametrize("task", NEEDLES, ids=repr)
def test_needle_floors_on_the_very_test_rows(task: NeedleInAHaystack) -> None:
    frequent, last, rows = 0, 0, task.test_set().tokens.tolist()
    for row in rows:
        at = next(i for i, token in enumerate(row) if token > task.n_values + task.max_pairs)
        counts = Counter(row[1:at:2])
        # Of equally frequent values the smallest.
        frequent += row[at + 1] == min(counts, key=lambda value: (-counts[value], value))
        last += row[at + 1] == row[at - 1]
    expected = {
        "chance": 1 / task.n_values,
        "most frequent value": frequent / len(rows),
        "last value": last / len(rows),
    }
    assert task.floors() == pytest.approx(expected)


@pytest.mark.parametrize("task", SUMS, ids=repr)
def test_decimal_floors_on_the_very_test_rows(task: DecimalAddition) -> None:
    n, first = task.n_digits, task.equals_position + (not task.score_first_digit)
    without_carries, from_token, n_scored = 0, 0, 0
    seen: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for row in task.sample(100_000, torch.Generator().manual_seed(12345)).tokens.tolist():
        for position in range(first, len(row) - 1):
            seen[position, row[position]][row[position + 1]] += 1
    for row in task.test_set().tokens.tolist():
        a, b = row[:n], row[n + 1 : 2 * n + 1]
        guess = [20 + (x + y) % 10 for x, y in zip(a, b, strict=True)]
        guess += [21, 30] if a[-1] + b[-1] >= 10 else [30, 12]
        for position in range(first, len(row) - 1):
            counts, answer = seen[position, row[position]], row[position + 1]
            without_carries += guess[position - task.equals_position] == answer
            from_token += min(counts, key=lambda one: (-counts[one], one)) == answer
            n_scored += 1
    expected = {
        "chance": 1 / 12,
        "position and current token": from_token / n_scored,
        "addition without carries": without_carries / n_scored,
    }
    assert task.floors() == pytest.approx(expected)


@pytest.mark.parametrize("task", STRINGS, ids=repr)
def test_balance_floors_on_the_very_test_rows(task: ParenthesisBalancing) -> None:
    seen: dict[tuple[int, int, int], Counter[int]] = defaultdict(Counter)
    for row in task.sample(100_000, torch.Generator().manual_seed(12345)).tokens.tolist():
        at = row.index(3)
        seen[at, row[0], row[at - 1]][row[at + 1]] += 1
    overall = sum(seen.values(), Counter()).most_common(1)[0][0]
    yes, equal, from_context, rows = 0, 0, 0, task.test_set().tokens.tolist()
    for row in rows:
        at = row.index(3)
        yes += row[at + 1] == 2
        equal += (row[:at].count(1) == row[:at].count(2)) == (row[at + 1] == 2)
        counts = seen.get((at, row[0], row[at - 1])) or Counter([overall])
        from_context += min(counts, key=lambda one: (-counts[one], one)) == row[at + 1]
    expected = {
        "majority": max(yes, len(rows) - yes) / len(rows),
        "length, first and last symbol": from_context / len(rows),
        "equal counts": equal / len(rows),
    }
    assert task.floors() == pytest.approx(expected)


@pytest.mark.parametrize(
    "task", [ModularAddition(), ModularAddition(7), ModularAddition(23).for_validation()], ids=repr
)
def test_modular_floors_and_twins_by_hand(task: ModularAddition) -> None:
    train = set(map(tuple, task.sample(40 * task.p**2, torch.Generator().manual_seed(0)).tokens[:, :2].tolist()))
    tested = task.test_set().tokens
    assert task.twin_is_trained(tested).tolist() == [(b, a) in train for a, b, _ in tested.tolist()]
    right = 0
    for _, b, answer in tested.tolist():
        right += answer == min((x + b) % task.p for x, y in train if y == b)
    twins = sum((b, a) in train for a, b, _ in tested.tolist())
    expected = {"chance": 1 / task.p, "best guess from b": right / len(tested), "commuted twin": twins / len(tested)}
    assert task.floors() == pytest.approx(expected)
    assert right == 0
    same = torch.tensor([[a, a, 2 * a % task.p] for a in range(task.p)])
    assert task.twin_is_trained(same).tolist() == [(a, a) in train for a in range(task.p)]


def pairs(n: int, n_contexts: int, n_answers: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(0, n_contexts, (n,), generator=generator),
        torch.randint(0, n_answers, (n,), generator=generator),
    )


def test_best_guess_knows_the_context_and_only_that() -> None:
    (context, coin), (other, toss) = pairs(20_000, 5, 2, 0), pairs(20_000, 5, 2, 1)
    assert best_guess_accuracy((context, context * 3), (other, other * 3)) == 1.0
    assert best_guess_accuracy((torch.zeros_like(context), context), (torch.zeros_like(other), other)) == pytest.approx(
        0.2, abs=0.02
    )
    assert best_guess_accuracy((context, coin), (other, toss)) == pytest.approx(0.5, abs=0.02)


def test_best_guess_learns_from_training_alone() -> None:
    trained = torch.tensor([0, 0, 0, 1]), torch.tensor([4, 4, 2, 3])
    tested = torch.tensor([0, 0, 1, 6, 6]), torch.tensor([4, 2, 3, 4, 3])
    # In context 6, which training lacks, the guess is 4, the most frequent answer.
    assert best_guess_accuracy(trained, tested) == pytest.approx(3 / 5)


def test_best_guess_does_not_profit_from_a_table_of_single_observations() -> None:
    trained, tested = pairs(20_000, 5000, 10, 0), pairs(20_000, 5000, 10, 1)
    assert best_guess_accuracy(trained, tested) == pytest.approx(0.1, abs=0.02)
