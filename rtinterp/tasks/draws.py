"""Uniform draws by integer arithmetic alone.

Test sets are drawn with these, so the stream of a CPU generator must mean the same on every machine. Torch's integer
draws are its Mersenne twister reduced by a modulus; its float draws depend on the vector instructions of the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

#: Raw draws lie in [0, 2^62): wide enough that reducing them modulo a few hundred is uniform to one part in 10^15.
RAW_RANGE = 2**62

#: Steps from 0 to 1 of ``signed_unit``: each is a float64, and so is every sum of them.
UNIT_STEPS = 2**32

#: Steps from 0 to 1 of a fraction of which a logarithm is taken, which is then never infinite.
LOG_STEPS = 2**53


def uniform(low: int, high: int, shape: tuple[int, ...], generator: torch.Generator) -> Int64[Tensor, "*shape"]:
    """Integers from ``low`` to ``high``, both included."""
    return torch.randint(low, high + 1, shape, generator=generator, device=generator.device)


def signed_unit(shape: tuple[int, ...], generator: torch.Generator) -> Float64[Tensor, "*shape"]:
    """Numbers from -1 to 1, evenly spaced and all equally likely."""
    return uniform(-UNIT_STEPS, UNIT_STEPS, shape, generator).double() / UNIT_STEPS


def below(bound: Int64[Tensor, " batch"], generator: torch.Generator) -> Int64[Tensor, " batch"]:
    """One integer in ``[0, bound)`` for each of the bounds, which may differ."""
    return uniform(0, RAW_RANGE - 1, tuple(bound.shape), generator) % bound


def one_in(odds: int, n: int, generator: torch.Generator) -> Bool[Tensor, " batch"]:
    """True with probability ``1 / odds``, independently."""
    return uniform(0, odds - 1, (n,), generator) == 0


def geometric(n: int, generator: torch.Generator) -> Int64[Tensor, " batch"]:
    """Counts that start at 1 and grow while a fair coin says so."""
    count = torch.ones(n, dtype=torch.int64, device=generator.device)
    growing = torch.arange(n, device=generator.device)
    while growing.numel():
        growing = growing[one_in(2, growing.numel(), generator)]
        count[growing] += 1
    return count


def permutations(n: int, size: int, generator: torch.Generator) -> Int64[Tensor, "batch size"]:
    """``n`` independent uniform permutations of ``0 .. size - 1``."""
    return uniform(0, RAW_RANGE - 1, (n, size), generator).argsort(dim=1, stable=True)


def subsets(
    bound: Int64[Tensor, " batch"], size: Int64[Tensor, " batch"], n_columns: int, generator: torch.Generator
) -> Int64[Tensor, "batch column"]:
    """Distinct integers in ``[0, bound)``, as many as ``size`` says, of each row; every subset is equally likely.

    The order within a row is not random. A row of fewer than ``n_columns`` ends in -1. This is Floyd's algorithm: no
    row is ever as long as its bound.
    """
    chosen = bound.new_full((len(bound), n_columns), -1)
    for column in range(n_columns):
        last = bound - size + column
        number = below(last + 1, generator)
        number = torch.where((chosen[:, :column] == number[:, None]).any(1), last, number)
        chosen[:, column] = torch.where(column < size, number, -1)
    return chosen


def by_weight(weights: Sequence[float], n: int, size: int, generator: torch.Generator) -> Int64[Tensor, "batch size"]:
    """Draw places of the weights one after the other, none twice, each with odds by its weight among those left.

    This is the order in which exponential waiting times end whose rates are the weights. A logarithm may differ in its
    last bit from one machine to another, which decides an order once in about 10^15 pairs.
    """
    fraction = uniform(1, LOG_STEPS, (n, len(weights)), generator).double() / LOG_STEPS
    waiting = -fraction.log() / torch.tensor(weights, dtype=torch.float64, device=fraction.device)
    return waiting.argsort(dim=1, stable=True)[:, :size]


def other_than(
    excluded: Int64[Tensor, "batch n_excluded"], bound: int, n_columns: int, generator: torch.Generator
) -> Int64[Tensor, "batch column"]:
    """Integers in ``[0, bound)`` that are none of a row's excluded ones, which are distinct and as small."""
    n, n_excluded = excluded.shape
    rank = uniform(0, bound - n_excluded - 1, (n, n_columns), generator)
    # What is allowed and smaller than each excluded one: a rank that is not below it lies behind it.
    smaller = excluded.sort(dim=1).values - torch.arange(n_excluded, device=excluded.device)
    return rank + torch.searchsorted(smaller, rank, right=True)
