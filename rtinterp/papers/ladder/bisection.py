"""The least width that suffices, found with few trainings.

All wider models are taken to do what a narrower one does; nothing else is assumed. Where this holds, bisection has
always trained the width that it finds and the one below it, which does not suffice, or the widest, which does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

Status = Literal["reached", "not reached", "open"]


class Bracket(NamedTuple):
    """Between which widths the least one that suffices lies.

    Attributes:
        below: the widest known not to suffice below ``at``; None if none is known.
        at: the narrowest known to suffice; None if none is known.
        status: "reached" at ``at``, "not reached" by the widest, or "open" where trainings lack.
        is_monotone: whether no width above ``at`` is known that does not suffice.
    """

    below: int | None
    at: int | None
    status: Status
    is_monotone: bool


def bracket(widths: Sequence[int], suffices: Mapping[int, bool]) -> Bracket:
    """Tell what is known of the least width that suffices.

    Args:
        widths: that come into question, ascending.
        suffices: of the widths that are known; others may be among them.
    """
    low, high = _ends(widths, suffices)
    status: Status = "open" if high - low > 1 else "reached" if high < len(widths) else "not reached"
    return Bracket(
        below=widths[low] if low >= 0 else None,
        at=widths[high] if high < len(widths) else None,
        status=status,
        is_monotone=all(suffices.get(width, True) for width in widths[high:]),
    )


def next_width(widths: Sequence[int], suffices: Mapping[int, bool]) -> int | None:
    """Return the width whose training halves what is left; None where the least one is decided."""
    low, high = _ends(widths, suffices)
    return None if high - low == 1 else widths[(low + high) // 2]


def dearest(widths: Sequence[int], suffices: Mapping[int, bool], cost: Callable[[int], float]) -> list[int]:
    """List the widths of the most expensive course that a search may still take."""
    width = next_width(widths, suffices)
    if width is None:
        return []
    courses = (dearest(widths, {**suffices, width: outcome}, cost) for outcome in (True, False))
    return [width, *max(courses, key=lambda course: sum(map(cost, course)))]


def _ends(widths: Sequence[int], suffices: Mapping[int, bool]) -> tuple[int, int]:
    """The places of the bracket; -1 and one behind the last where nothing is known."""
    high = next((place for place, width in enumerate(widths) if suffices.get(width)), len(widths))
    low = max((place for place in range(high) if widths[place] in suffices), default=-1)
    return low, high
