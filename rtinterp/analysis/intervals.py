"""How far an accuracy can be trusted: intervals over test rows and seeds.

The unit of a test set is the row, one sequence. Where a row has several scored predictions, they are no independent
trials: an accuracy per prediction is the mean of accuracies per row, whose variance is at most that of as many rows
each of which is all right or all wrong. Intervals here take that largest variance, and so are no narrower than those
from accuracies of rows would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Num
from torch import Tensor

CONFIDENCE = 0.95
N_RESAMPLES = 4000


class Interval(NamedTuple):
    """The ends of an interval, in [0, 1], and what was taken to vary: of a single seed, nothing but the rows."""

    low: float
    high: float
    over: Literal["rows", "rows and seeds"]


class RowCount(NamedTuple):
    """How many rows are distinct, and as how many equally frequent ones they count."""

    distinct: int
    effective: float


def count_rows(rows: Num[Tensor, "row ..."]) -> RowCount:
    """Count rows of a test set, of which some may stand there more than once.

    A row that was drawn often weighs much in an accuracy, while another choice of held-out rows would have put others
    in its place. Kish's effective sample size, n^2 over the sum of squared frequencies, counts the rows of equal weight
    that would make an accuracy as uncertain; it is at most the number of distinct rows, and equal to it if all are.

    Raises:
        ValueError: there are no rows.
    """
    if not len(rows):
        raise ValueError("there are no rows to count; pass the tokens of a test set")
    _, frequencies = torch.unique(rows.flatten(1), dim=0, return_counts=True)
    return RowCount(len(frequencies), len(rows) ** 2 / frequencies.double().square().sum().item())


def wilson(n_right: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Compute Wilson's score interval of a share of rows.

    It holds the true share in about ``confidence`` of all samples, also near 0 and 1, where it does not shrink to a
    point: of n rows that are all right, the lower end is n / (n + z^2).

    Args:
        n_right: rows that are right; an accuracy per prediction times ``n`` where a row has several.
        n: independent rows, at least 1; not whole where they are ``RowCount.effective``.

    Raises:
        ValueError: ``n_right`` is not in 0 to ``n``, ``n`` is less than 1, or ``confidence`` not between 0 and 1.
    """
    _check(n_right / n if n else 0.0, n, confidence)
    share, rows = torch.tensor(n_right / n, dtype=torch.float64), torch.tensor(n, dtype=torch.float64)
    z = _z(confidence)
    low, high = (_score_bound(share, rows, torch.tensor(end, dtype=torch.float64)).item() for end in (-z, z))
    return Interval(low, high, "rows")


def bootstrap_median(
    accuracies: Sequence[float],
    n_rows: Sequence[float],
    generator: torch.Generator,
    *,
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Estimate an interval of the median accuracy over seeds, from runs that were judged on the same test rows.

    Each resample draws as many seeds as there are, with replacement, and for every run an accuracy that its rows leave
    possible: the score bound at a normal deviate, so that those of one run spread over its Wilson interval. All runs of
    a resample share the deviate, since another test set would be another one for all of them; many seeds do not make
    many rows. The interval is between quantiles of the medians. Of a single seed it is ``wilson``.

    Few seeds tell little of others, however many rows they have: whatever the rows, the range of n seeds holds the
    median of all seeds in 1 - 2^(1 - n) of all samples, 75 % with three and 94 % with five, and so does this interval
    where rows are plenty.

    Args:
        accuracies: one per seed, in [0, 1].
        n_rows: independent test rows of each run.
        generator: on the CPU; the same state gives the same interval.

    Raises:
        ValueError: no accuracies, not as many numbers of rows, or what ``wilson`` refuses.
    """
    if not len(accuracies) or len(accuracies) != len(n_rows):
        raise ValueError(f"got {len(accuracies)} accuracies and {len(n_rows)} numbers of rows; pass one of each a seed")
    for share, n in zip(accuracies, n_rows, strict=True):
        _check(share, n, confidence)
    if len(accuracies) == 1:
        return wilson(accuracies[0] * n_rows[0], n_rows[0], confidence)
    shares, rows = (torch.tensor(list(of), dtype=torch.float64) for of in (accuracies, n_rows))
    chosen = torch.randint(len(shares), (n_resamples, len(shares)), generator=generator)
    deviates = torch.randn(n_resamples, 1, generator=generator, dtype=torch.float64)
    medians = _score_bound(shares[chosen], rows[chosen], deviates).quantile(0.5, dim=1)
    tail = (1 - confidence) / 2
    low, high = medians.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(low, high, "rows and seeds")


def _score_bound(
    share: Float[Tensor, "*runs"], n: Float[Tensor, "*runs"], z: Float[Tensor, "*#runs"]
) -> Float[Tensor, "*runs"]:
    """The share that lies z of its own standard errors below or above what was found (Wilson 1927)."""
    spread = z * (share * (1 - share) / n + z.square() / (4 * n.square())).sqrt()
    return ((share + z.square() / (2 * n) + spread) / (1 + z.square() / n)).clamp(0, 1)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _check(share: float, n: float, confidence: float) -> None:
    if not n >= 1:
        raise ValueError(f"the number of rows is {n}; pass at least 1")
    if not 0 <= share <= 1:
        raise ValueError(
            f"the share that is right is {share}; pass 0 to 1, and at most as many right rows as there are"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; pass a share between 0 and 1, such as {CONFIDENCE}")
