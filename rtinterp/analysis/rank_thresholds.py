"""From curves over the rank to numbers: how few directions reach a share of the accuracy, and the area under a curve.

The share of a value is of what lies between a floor and the intact model. ``least_rank`` of ``rank_curves`` finds the
rank from which on a share is reached; these make curves fine enough for it, and condense them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import polars as pl

from rtinterp.analysis.rank_curves import least_rank

#: A least rank is told to within this share of itself.
RELATIVE_GAP = 1 / 16


def refined_curve(
    value_at: Callable[[int], float],
    ranks: Sequence[int],
    intact: float,
    floor: float,
    shares: Sequence[float] = (0.5, 0.95),
    relative_gap: float = RELATIVE_GAP,
) -> pl.DataFrame:
    """Measure a curve at given ranks, and further ones where it comes to reach a share of the intact value for good.

    Between the least rank from which on a share is reached and the measured rank below it, the interval is halved
    until it is no longer than ``relative_gap`` of its upper end, and at least 1. The ranks between measured ones are
    taken not to fall below the share again; each further one that does moves the least rank up.

    Args:
        value_at: the measure with a given number of directions.
        ranks: the ranks to begin with, such as ``ranks_up_to(d_model)``.

    Returns:
        columns ``rank`` and ``value``, by rank.

    Raises:
        ValueError: as ``least_rank``, or relative_gap is not in (0, 1).
    """
    if not 0 < relative_gap < 1:
        raise ValueError(f"relative_gap is {relative_gap}; pass more than 0, less than 1")
    values = {rank: value_at(rank) for rank in ranks}
    for share in shares:
        while (middle := _undecided(values, intact, floor, share, relative_gap)) is not None:
            values[middle] = value_at(middle)
    return _curve(values)


def _curve(values: dict[int, float]) -> pl.DataFrame:
    return pl.DataFrame(sorted(values.items()), schema=["rank", "value"], orient="row")


def _undecided(values: dict[int, float], intact: float, floor: float, share: float, gap: float) -> int | None:
    """The rank in the middle of the interval in which the least rank lies; None if that is short enough."""
    high = least_rank(_curve(values), intact, floor, share)
    if high is None or high == min(values):
        return None
    low = max(rank for rank in values if rank < high)
    return None if high - low <= max(1, gap * high) else (low + high) // 2


def area(curve: pl.DataFrame, intact: float, floor: float) -> float:
    """Compute the mean share of the value above the floor over the logarithm of the rank, from 1 to the largest.

    It is 1 if a single direction does what all do, 0 if nothing short of all does anything, and ``1 - log_d(k)`` if it
    takes k of d directions and fewer are worth nothing. Between measured ranks, shares are taken to be linear in the
    logarithm. They are not clipped: less than the floor counts as less than nothing.

    Args:
        curve: columns ``rank`` and ``value``; rank 1 and a larger one are in it.

    Raises:
        ValueError: the intact value is not above the floor, or the curve does not begin at rank 1 (or 0).
    """
    if intact <= floor:
        raise ValueError(
            f"the intact model has {intact:.3g}, the floor is {floor:.3g}: nothing was learnt to take away"
        )
    points = curve.filter(pl.col("rank") >= 1).sort("rank").select("rank", "value").rows()
    if len(points) < 2 or points[0][0] != 1:
        raise ValueError(f"the curve has ranks {[rank for rank, _ in points]}; an area needs 1 and a larger one")
    total = 0.0
    for (rank, value), (next_rank, next_value) in itertools.pairwise(points):
        total += (value + next_value - 2 * floor) / 2 * math.log(next_rank / rank)
    return total / (intact - floor) / math.log(points[-1][0])
