"""Intervals hold what they should as often as they say, by simulation and by another implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rtinterp.analysis import bootstrap_median, count_rows, wilson


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize(("n_right", "n"), [(0, 1), (0, 313), (1, 313), (40, 44), (1981, 1981), (7, 20)])
def test_wilson_equals_scipys(n_right: int, n: int, confidence: float) -> None:
    theirs = stats.binomtest(n_right, n).proportion_ci(confidence, method="wilson")
    assert wilson(n_right, n, confidence)[:2] == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_rows_that_are_all_right_leave_room_below() -> None:
    z = stats.norm.ppf(0.975)
    assert wilson(50, 50).low == pytest.approx(50 / (50 + z**2))
    assert wilson(50, 50).high == 1
    assert wilson(0, 50).low == 0


def test_wilson_covers_on_average() -> None:
    """The mean coverage over shares, computed from the binomial distribution."""
    n = 60
    intervals = [wilson(k, n) for k in range(n + 1)]
    shares = np.linspace(0.02, 0.98, 97)
    covered = [
        sum(stats.binom.pmf(k, n, p) for k, (low, high, _) in enumerate(intervals) if low <= p <= high) for p in shares
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)
    assert min(covered) > 0.83, "Wilson's dips near 0 and 1"


def test_one_seed_is_its_rows_alone_and_says_so() -> None:
    assert bootstrap_median([0.9], [100], generator()) == wilson(90, 100)
    assert bootstrap_median([0.9], [100], generator()).over == "rows"
    assert bootstrap_median([0.9, 0.9], [100, 100], generator()).over == "rows and seeds"


def test_seeds_that_agree_make_no_more_rows() -> None:
    """Ten seeds of one accuracy on the same hundred rows are as uncertain as one of them."""
    one, ten = wilson(90, 100), bootstrap_median([0.9] * 10, [100] * 10, generator(), n_resamples=40_000)
    assert ten[:2] == pytest.approx(one[:2], abs=0.004)


def test_with_rows_without_number_the_seeds_are_what_is_left() -> None:
    """A bootstrap of the median, of which the distribution is known: order statistics of the seeds."""
    shares = [0.1, 0.2, 0.4, 0.7, 0.9]
    low, high, _ = bootstrap_median(shares, [1e12] * 5, generator(), confidence=0.9, n_resamples=20_000)
    at_most = [stats.binom.sf(2, 5, (k + 1) / 5) for k in range(5)]
    expected = [shares[int(np.searchsorted(at_most, end))] for end in (0.05, 0.95)]
    assert [low, high] == pytest.approx(expected, abs=1e-5)


def coverage(n_seeds: int, n_rows: int, n_trials: int = 300) -> float:
    """How often the interval holds the median of all seeds, whose rows are hard or easy for all alike."""
    rng = np.random.default_rng(5)
    held = 0
    for trial in range(n_trials):
        skill = stats.norm.cdf(1 + 0.5 * rng.standard_normal(n_seeds))
        difficulty = rng.random(n_rows)
        found = [(difficulty < share).mean() for share in skill]
        low, high, _ = bootstrap_median(found, [n_rows] * n_seeds, generator(trial), n_resamples=500)
        held += low <= stats.norm.cdf(1) <= high
    return held / n_trials


def test_the_bootstrap_covers_the_median_of_all_seeds() -> None:
    assert 0.91 <= coverage(n_seeds=11, n_rows=100) <= 0.99


def test_three_seeds_cover_no_more_than_their_range_can() -> None:
    assert coverage(n_seeds=3, n_rows=10**5) == pytest.approx(0.75, abs=0.06)


def test_the_same_generator_gives_the_same_interval_and_torchs_own_is_left_alone() -> None:
    state = torch.get_rng_state()
    first, second = (bootstrap_median([0.3, 0.5, 0.8], [50] * 3, generator(7)) for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


def test_repeated_rows_count_as_fewer() -> None:
    rows = torch.tensor([[1, 2], [3, 4], [1, 2], [5, 6]])
    assert count_rows(rows) == (3, pytest.approx(16 / 6))
    assert count_rows(rows[1:]) == (3, 3)
    assert count_rows(rows[:1].expand(9, 2)) == (1, 1)


def test_effective_rows_have_the_variance_of_the_weighted_mean() -> None:
    """Rows of frequencies f are right or wrong at random; so many rows of equal weight vary as much."""
    rows = torch.tensor([[0]] * 50 + [[k] for k in range(1, 51)])
    rng = np.random.default_rng(0)
    right = rng.random((20_000, 51)) < 0.7
    accuracies = right[:, rows[:, 0].numpy()].mean(axis=1)
    assert accuracies.var() == pytest.approx(0.7 * 0.3 / count_rows(rows).effective, rel=0.05)


def test_several_predictions_a_row_vary_at_most_as_much_as_rows_do() -> None:
    rng = np.random.default_rng(1)
    per_row = rng.binomial(3, 0.8, size=(5000, 40)) / 3
    low, high, _ = wilson(0.8 * 40, 40)
    assert 2 * 1.96 * per_row.mean(axis=1).std() < high - low


@pytest.mark.parametrize(("n_right", "n", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (0, 0, 0.95), (1, 2, 1.0)])
def test_what_is_no_share_of_rows_is_refused(n_right: float, n: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="pass"):
        wilson(n_right, n, confidence)


def test_seeds_and_their_rows_belong_together() -> None:
    with pytest.raises(ValueError, match="2 accuracies and 1"):
        bootstrap_median([0.5, 0.6], [10], generator())
    with pytest.raises(ValueError, match="0 accuracies"):
        bootstrap_median([], [], generator())
    with pytest.raises(ValueError, match=r"1\.5"):
        bootstrap_median([0.5, 1.5], [10, 10], generator())
    with pytest.raises(ValueError, match="nan"):
        bootstrap_median([0.5, math.nan], [10, 10], generator())
    with pytest.raises(ValueError, match="no rows"):
        count_rows(torch.zeros(0, 3))
