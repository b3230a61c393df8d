from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from rtinterp.analysis.rank_curves import least_rank, ranks_up_to
from rtinterp.analysis.rank_thresholds import area, refined_curve

D_MODEL = 512


def from_rank(k: int) -> Callable[[int], float]:
    """A model that needs k directions, of which fewer are worth nothing."""
    return lambda rank: 1.0 if rank >= k else 0.1


@pytest.mark.parametrize("k", [0, 1, 2, 3, 17, 63, 64, 65, 200, 511, 512])
def test_a_planted_rank_is_found_to_within_the_gap(k: int) -> None:
    asked: list[int] = []

    def value_at(rank: int) -> float:
        asked.append(rank)
        return from_rank(k)(rank)

    curve = refined_curve(value_at, ranks_up_to(D_MODEL), intact=1.0, floor=0.1)
    found = least_rank(curve, intact=1.0, floor=0.1)
    assert found is not None
    assert k <= found <= max(k, k * 16 / 15 + 1)
    exact = refined_curve(value_at, ranks_up_to(D_MODEL), intact=1.0, floor=0.1, relative_gap=1e-9)
    assert least_rank(exact, intact=1.0, floor=0.1) == k
    assert curve["rank"].is_sorted()
    n_ranks = len(ranks_up_to(D_MODEL))
    assert len(curve) <= n_ranks + 4, "only what the halvings ask for is measured"


def test_two_shares_are_found_apart() -> None:
    curve = refined_curve(lambda rank: min(1.0, rank / 100), ranks_up_to(128), 1.0, 0.0, relative_gap=1e-9)
    assert [least_rank(curve, 1.0, 0.0, share) for share in (0.5, 0.95)] == [50, 95]


def test_a_fall_between_two_ranks_moves_the_least_rank_up() -> None:
    """What suffices by chance and then no longer does is no least rank."""

    def value_at(rank: int) -> float:
        return float(rank >= 40 and rank not in (48, 49))

    curve = refined_curve(value_at, [0, 32, 64], intact=1.0, floor=0.0, shares=(0.5,))
    assert curve["rank"].to_list() == [0, 32, 48, 50, 52, 56, 64]
    assert least_rank(curve, 1.0, 0.0, 0.5) == 50


def test_what_is_never_reached_asks_for_nothing_more() -> None:
    curve = refined_curve(lambda rank: 0.2, ranks_up_to(16), intact=1.0, floor=0.1)
    assert curve["rank"].to_list() == ranks_up_to(16)


def test_the_area_tells_on_which_scale_directions_are_needed() -> None:
    ranks = range(D_MODEL + 1)

    def of(value_at: Callable[[int], float]) -> float:
        return area(pl.DataFrame({"rank": ranks, "value": list(map(value_at, ranks))}), intact=1.0, floor=0.1)

    assert of(lambda _: 1.0) == pytest.approx(1)
    assert of(lambda _: 0.1) == pytest.approx(0)
    assert of(from_rank(64)) == pytest.approx(1 - 6 / 9, abs=0.002)
    assert of(lambda _: 0.0) < 0


def test_nonsense_is_refused() -> None:
    curve = pl.DataFrame({"rank": [2, 4], "value": [0.5, 1.0]})
    with pytest.raises(ValueError, match=r"ranks \[2, 4\]; an area needs 1"):
        area(curve, 1.0, 0.0)
    with pytest.raises(ValueError, match="nothing was learnt"):
        area(curve, 0.1, 0.1)
    with pytest.raises(ValueError, match="relative_gap is 0"):
        refined_curve(lambda _: 1.0, [0, 1], 1.0, 0.0, relative_gap=0)
