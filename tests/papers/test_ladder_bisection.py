"""The least width that suffices: planted thresholds are found with the fewest trainings, and what lacks is told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pytest

from rtinterp.papers.ladder.bisection import bracket, dearest, next_width

WIDTHS = (16, 32, 64, 128, 256, 512)


def climbed(
    threshold: float, widths: tuple[int, ...] = WIDTHS, known: Mapping[int, bool] | None = None
) -> dict[int, bool]:
    """What a search trains and finds where widths from a threshold on suffice, and what was known before."""
    known = dict(known or {})
    while (width := next_width(widths, known)) is not None:
        assert width not in known, "trained twice"
        known[width] = width >= threshold
    return known


@pytest.mark.parametrize("n_widths", range(1, 9))
def test_every_planted_width_is_found_with_the_fewest_trainings(n_widths: int) -> None:
    widths = tuple(2**power for power in range(4, 4 + n_widths))
    for place, threshold in enumerate((*widths, math.inf)):
        known = climbed(threshold, widths)
        assert len(known) <= math.ceil(math.log2(n_widths + 1)), "what no search can do with less"
        found = bracket(widths, known)
        assert found.is_monotone
        if place == n_widths:
            assert found[:3] == (widths[-1], None, "not reached")
            assert widths[-1] in known, "told only of what was trained"
        else:
            assert found[:3] == (widths[place - 1] if place else None, threshold, "reached")
            assert known[widths[place]]
            assert not place or known[widths[place - 1]] is False, "the one below was trained too"


def test_what_lacks_is_open() -> None:
    assert bracket(WIDTHS, {}) == (None, None, "open", True)
    assert bracket(WIDTHS, {64: False}) == (64, None, "open", True)
    assert bracket(WIDTHS, {64: True}) == (None, 64, "open", True)
    assert bracket(WIDTHS, {64: False, 256: True}) == (64, 256, "open", True)
    assert bracket(WIDTHS, {256: False}) == (256, None, "open", True)


def test_more_than_is_needed_may_be_known() -> None:
    known = dict.fromkeys(WIDTHS, False) | {64: True, 256: True, 512: True}
    assert bracket(WIDTHS, known) == (32, 64, "reached", False), "the least that suffices; 128 does not"
    assert next_width(WIDTHS, known) is None
    assert bracket((16, 64), known) == (16, 64, "reached", True), "other widths than are looked among"


@pytest.mark.parametrize("known", [{}, {64: False}, {64: True}], ids=str)
def test_the_dearest_course_is_planned(known: dict[int, bool]) -> None:
    def cost(widths: Iterable[int]) -> int:
        return sum(width**2 for width in widths)

    possible = [climbed(threshold, known=known).keys() - known for threshold in (*WIDTHS, math.inf)]
    assert cost(dearest(WIDTHS, known, lambda width: cost([width]))) == max(map(cost, possible))


def test_nothing_is_planned_where_all_is_decided() -> None:
    assert dearest(WIDTHS, {16: True}, float) == []
    assert dearest(WIDTHS, {512: False}, float) == []
