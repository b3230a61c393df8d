"""One sequence at a time from Python's random, as the official code draws its training data."""

from __future__ import annotations

import random
from collections.abc import Callable

from torch import Tensor

from rtinterp.tasks import (
    Batch,
    DecimalAddition,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)
from rtinterp.tasks.held_out import HeldOutTask
from rtinterp.tasks.parenthesis_strings import draw_officially


def scored_like(task: Task, tokens: Tensor) -> Batch:
    """Where the official code scores rows drawn in Python.

    Raises:
        ValueError: nothing is drawn in Python for the task.
    """
    if isinstance(task, ModularAddition):
        return task.rows(tokens[:, :2])
    if isinstance(task, HeldOutTask):
        return Batch(tokens, task._scored(tokens))
    raise ValueError(f"no Python sampler for {task}; there is one for the four algorithmic tasks")


def python_sampler(task: Task) -> Callable[[random.Random], list[int]]:
    """Draws one sequence with Python's random, as the official code does.

    Raises:
        ValueError: there is none for the task.
    """
    if isinstance(task, NeedleInAHaystack):
        return lambda rng: _needle(task, rng)
    if isinstance(task, DecimalAddition):
        return lambda rng: _decimal(task, rng)
    if isinstance(task, ModularAddition):
        return lambda rng: _modular(task, rng)
    if isinstance(task, ParenthesisBalancing):
        return lambda rng: _parentheses(task, rng)
    raise ValueError(f"no Python sampler for {task}; there is one for the four algorithmic tasks")


def _needle(task: NeedleInAHaystack, rng: random.Random) -> list[int]:
    n_pairs = rng.randint(1, task.max_pairs)
    markers = rng.sample(range(task.max_pairs), n_pairs)
    values = [rng.randint(1, task.n_values) for _ in markers]
    asked = rng.randrange(n_pairs)
    row = [token for m, v in zip(markers, values, strict=True) for token in (task.n_values + 1 + m, v)]
    row += [task.n_values + 1 + task.max_pairs + markers[asked], values[asked]]
    return row + [task.PAD] * (task.sequence_length - len(row))


def _decimal(task: DecimalAddition, rng: random.Random) -> list[int]:
    low, high = 10 ** (task.n_digits - 1), 10**task.n_digits - 1
    a, b = rng.randint(low, high), rng.randint(low, high)
    digits = [[int(digit) for digit in reversed(str(number))] for number in (a, b, a + b)]
    row = [*digits[0], task.PLUS, *digits[1], task.EQUALS, *(task.OUTPUT_ZERO + d for d in digits[2]), task.STOP]
    return row + [task.PAD] * (task.sequence_length - len(row))


def _modular(task: ModularAddition, rng: random.Random) -> list[int]:
    a, b = rng.randrange(task.p), rng.randrange(task.p)
    return [a, b, (a + b) % task.p]


def _parentheses(task: ParenthesisBalancing, rng: random.Random) -> list[int]:
    symbols = draw_officially(task.max_pairs, rng)
    answer = task.BALANCED if _is_balanced(symbols) else task.UNBALANCED
    row = [*(task.OPEN if symbol == "(" else task.CLOSE for symbol in symbols), task.QUERY, answer]
    return row + [task.PAD] * (task.sequence_length - len(row))


def _is_balanced(symbols: str) -> bool:
    depth = 0
    for symbol in symbols:
        depth += 1 if symbol == "(" else -1
        if depth < 0:
            return False
    return depth == 0
