"""At which scale each row of a figure stands, of all the runs that are stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

Row: TypeAlias = tuple[Any, ...]
Model: TypeAlias = tuple[Any, ...]


class Place(NamedTuple):
    """Where a run belongs in a figure.

    Attributes:
        row: what ``Figure.rows`` say of it.
        model: what ``Figure.key_of`` says of it, but for its seed.
    """

    scale: str
    row: Row
    model: Model
    seed: int


class _Candidate(NamedTuple):
    """The runs of a row that are stored at one scale.

    Attributes:
        size: the number of the scale, the smallest first.
        n_seeds: the seeds of which every model is stored.
        is_current: they are what the scale has now; others were trained for former sizes, or on another text.
    """

    size: int
    n_seeds: int
    is_current: bool
    places: list[Place]


def best_places(
    scales: Sequence[str],
    stored: Collection[Place],
    wanted: Collection[tuple[str, Row, Model]],
    *,
    with_incomplete: bool,
) -> list[Place]:
    """Choose the runs that a figure shows: of each row the largest scale that is complete, then the most seeds.

    Args:
        scales: the smallest first.
        wanted: the models that a row has at a scale, as far as that is known.
        with_incomplete: above such a row, show what there is of it at larger scales too, the largest first.
    """
    row_numbers = {row: number for number, row in enumerate(dict.fromkeys(place.row for place in stored))}
    chosen: list[Place] = []
    candidates = list(_candidates(scales, stored, wanted))
    for row in row_numbers:
        of_row = [one for one in candidates if one.places[0].row == row]
        best = max((one for one in of_row if one.n_seeds), key=lambda one: one[:3], default=None)
        if with_incomplete:
            larger = [one for one in of_row if not one.n_seeds and (best is None or one.size > best.size)]
            for one in sorted(larger, key=lambda one: one[:3], reverse=True):
                chosen += one.places
        if best is not None:
            chosen += best.places
    return chosen


def _candidates(
    scales: Sequence[str], stored: Collection[Place], wanted: Collection[tuple[str, Row, Model]]
) -> Iterator[_Candidate]:
    groups: dict[tuple[str, Row, bool], list[Place]] = {}
    for place in stored:
        groups.setdefault((place.scale, place.row, place[:3] in wanted), []).append(place)
    for (scale, row, is_current), places in groups.items():
        models = dict.fromkeys(place.model for place in places)
        needed = {model for *of, model in wanted if of == [scale, row]} if is_current else set(models)
        models_of: dict[int, set[Model]] = {}
        for place in places:
            models_of.setdefault(place.seed, set()).add(place.model)
        complete = {seed for seed, models_of_seed in models_of.items() if models_of_seed >= needed}
        shown = [place for place in places if not complete or place.seed in complete]
        yield _Candidate(scales.index(scale), len(complete), is_current, shown)
