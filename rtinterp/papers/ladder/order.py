"""Whether trained models' widths order the rungs as random networks' do, by pairs of which both orders are certain."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import polars as pl

from rtinterp.papers.ladder.grid import RANDOM_AND_TRAINED

#: More than the first and at most the second: where a least width lies.
Interval = tuple[float, float]


class Agreement(NamedTuple):
    """Pairs of rungs of which it is certain which needs more width, of random networks and of fully trained ones.

    Attributes:
        n_alike: pairs of which one rung needs more of both.
        n_opposed: pairs of which one needs more of the random, the other of the fully trained.
    """

    n_alike: int
    n_opposed: int


def agreement(known: pl.DataFrame) -> Agreement:
    """Count the pairs of rungs that both least widths put in the same, and in the opposite order.

    A least width is known to be more than the widest that falls short, and at most the narrowest that suffices. A pair
    counts if neither of its two orders is left open by that; pairs of which one width is alike do not.

    Args:
        known: as ``threshold_table`` makes it.
    """
    intervals = [
        [_interval(row) for kind in RANDOM_AND_TRAINED for row in of_rung.rows(named=True) if row["trainable"] == kind]
        for of_rung in known.partition_by("task", "kind", maintain_order=True)
    ]
    orders = [
        _order(one[0], other[0]) * _order(one[1], other[1])
        for one, other in itertools.combinations([pair for pair in intervals if len(pair) == 2], 2)
    ]
    return Agreement(orders.count(1), orders.count(-1))


def _interval(row: dict[str, int | None]) -> Interval:
    return row["below"] or 0, row["width"] or math.inf


def _order(one: Interval, other: Interval) -> int:
    """-1 if the first is certainly less, 1 if it is certainly more, 0 if neither."""
    return (one[0] >= other[1]) - (one[1] <= other[0])
