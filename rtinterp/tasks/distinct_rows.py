"""Distinct sequences of a task, as many of each length as is natural, or as there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.tasks.base import FIXED_SEED, N_TEST_SEQUENCES
from rtinterp.tasks.held_out import HeldOutTask, row_hash

#: Draws per round: in a large task, a twentieth of them is rather more than the rows that are wanted.
N_PER_ROUND = 90_000
#: For what is still missing of some length: what comes up once in 90,000 draws is then found with 86 % probability.
MAX_ROUNDS_FOR_LENGTHS = 2
#: For what is still missing of all.
MAX_ROUNDS = 6


def distinct_rows(
    task: HeldOutTask, accept: Callable[[Int64[Tensor, "batch pos"]], Bool[Tensor, " batch"]]
) -> Int64[Tensor, "row pos"]:
    """Up to 4000 distinct rows of a task that are accepted, in an order that tells nothing of them.

    Each length, a number of tokens that are not padding, gets the share that it has of the accepted draws, but no more
    than the distinct rows that were found of it; what this leaves over goes to the other lengths. Of a length, the rows
    that come up first are taken.

    Raises:
        ValueError: none was found.
    """
    generator = torch.Generator().manual_seed(FIXED_SEED)
    drawn = torch.empty(0, task.sequence_length, dtype=torch.int64)
    for n_rounds in range(1, MAX_ROUNDS + 1):
        rows = task._draw(N_PER_ROUND, generator)
        drawn = torch.cat([drawn, rows[accept(rows)]])
        found, n_drawn, n_found = _by_length(task, drawn)
        is_natural = bool((n_found * len(drawn) >= n_drawn * N_TEST_SEQUENCES).all())
        if len(found) >= N_TEST_SEQUENCES and (is_natural or n_rounds >= MAX_ROUNDS_FOR_LENGTHS):
            break
    found, n_drawn, n_found = _by_length(task, drawn)
    if not len(found):
        raise ValueError(f"{task} has too few distinct sequences to be tested on any; choose larger parameters")
    length = _length(task, found)
    n_taken = allot(N_TEST_SEQUENCES, n_drawn.tolist(), n_found.tolist())
    taken = torch.cat([found[length == one][:n] for one, n in enumerate(n_taken)])
    return taken[row_hash(taken).argsort()]


def allot(n: int, weights: Sequence[int], caps: Sequence[int]) -> list[int]:
    """Divide ``n``, or as much of it as the caps leave room for, in proportion to the weights.

    What a cap leaves over goes to the others, again in proportion; fractions go to the largest ones.
    """
    allotted = [0] * len(weights)
    rest = {one for one, weight in enumerate(weights) if weight}
    while full := {one for one in rest if weights[one] * n >= caps[one] * sum(weights[other] for other in rest)}:
        for one in full:
            allotted[one] = caps[one]
        n -= sum(caps[one] for one in full)
        rest -= full
    total = sum(weights[one] for one in rest)
    for one in rest:
        allotted[one] = weights[one] * n // total
    by_fraction = sorted(rest, key=lambda one: (-(weights[one] * n % total), one))
    for one in by_fraction[: n - sum(allotted[one] for one in rest)]:
        allotted[one] += 1
    return allotted


def _by_length(
    task: HeldOutTask, drawn: Int64[Tensor, "batch pos"]
) -> tuple[Int64[Tensor, "row pos"], Int64[Tensor, " length"], Int64[Tensor, " length"]]:
    """The distinct rows as they come up, and how many draws and how many distinct rows have each length."""
    found = drawn[_first_of_each(row_hash(drawn))]
    n_drawn = _length(task, drawn).bincount()
    return found, n_drawn, _length(task, found).bincount(minlength=len(n_drawn))


def _first_of_each(values: Int64[Tensor, " row"]) -> Int64[Tensor, " distinct"]:
    """Where each distinct value stands first, ascending."""
    ordered, place = values.sort(stable=True)
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return place[is_new].sort().values


def _length(task: HeldOutTask, tokens: Int64[Tensor, "batch pos"]) -> Int64[Tensor, " batch"]:
    """The number of tokens that are not padding."""
    if task.pad_token is None:
        return torch.full_like(tokens[:, 0], tokens.shape[1])
    return (tokens != task.pad_token).sum(dim=1)
