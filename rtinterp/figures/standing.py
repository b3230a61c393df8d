"""At which scale each row of a figure stands, of all the runs that are stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

Row: TypeAlias = tuple[Any, ...]
Model: TypeAlias = tuple[Any, ...]
Models: TypeAlias = tuple[str, Row, Model, Model]


class Place(NamedTuple):
    """Where a run belongs in a figure.

    Attributes:
        row: what ``Figure.rows`` say of it.
        model: what ``Figure.key_of`` says of it, but for its seed.
        kind: the model whatever its budget and its test rows, which may change from one version to the next.
    """

    scale: str
    row: Row
    model: Model
    kind: Model
    seed: int

    @property
    def of_any_seed(self) -> Models:
        return self.scale, self.row, self.model, self.kind


class _Candidate(NamedTuple):
    """Runs of a row that are stored at one scale, and may stand together.

    Attributes:
        size: the number of the scale, the smallest first.
        n_kinds: the kinds of models of which there is one, of those that the scale has now if that is known.
        n_seeds: the seeds of which every model is stored.
        is_current: they are what the scale has now; others were trained for former sizes, or on another text.
    """

    size: int
    n_kinds: int
    n_seeds: int
    is_current: bool
    places: list[Place]


def best_places(
    scales: Sequence[str],
    stored: Collection[Place],
    wanted: Collection[Models],
    *,
    with_incomplete: bool,
    n_bodies: int = 1,
    keeps_all_seeds: bool = False,
) -> list[Place]:
    """Choose the runs that a figure shows: of each row the largest scale that is complete, then the most seeds.

    Where a scale's models have changed and not all are stored yet, former ones stand in for those that lack.

    Args:
        scales: the smallest first.
        wanted: the models that a row has at a scale, as far as that is known.
        with_incomplete: above such a row, show what there is of it at larger scales too, the largest first.
        n_bodies: a scale with fewer seeds neither goes before one with as many, nor stands above it.
        keeps_all_seeds: show each model with all its seeds, and not those alone of which every model is stored.
    """
    row_numbers = {row: number for number, row in enumerate(dict.fromkeys(place.row for place in stored))}
    chosen: list[Place] = []
    candidates = list(_candidates(scales, stored, wanted, keeps_all_seeds))
    for row in row_numbers:
        of_row = [one for one in candidates if one.places[0].row == row]
        whole = [one for one in of_row if one.n_seeds]
        best = max(whole, key=lambda one: (min(one.n_seeds, n_bodies), *one[:4]), default=None)
        if with_incomplete and n_bodies > 1 and best is None:
            enough = [one for one in of_row if len({place.seed for place in one.places}) >= n_bodies]
            best = max(enough, key=lambda one: one[:4], default=None)
        elif with_incomplete and n_bodies == 1:
            larger = [one for one in of_row if not one.n_seeds and (best is None or one.size > best.size)]
            for one in sorted(larger, key=lambda one: one[:4], reverse=True):
                chosen += [place for place in one.places if place not in chosen]
        if best is not None:
            chosen += best.places
    return chosen


def _candidates(
    scales: Sequence[str], stored: Collection[Place], wanted: Collection[Models], keeps_all_seeds: bool
) -> Iterator[_Candidate]:
    of_rows: dict[tuple[str, Row], list[Place]] = {}
    for place in stored:
        of_rows.setdefault((place.scale, place.row), []).append(place)
    for (scale, row), places in of_rows.items():
        needed = {model: kind for of_scale, of_row, model, kind in wanted if (of_scale, of_row) == (scale, row)}
        current = [place for place in places if place.model in needed]
        former = [place for place in places if place.model not in needed]
        # Either may stand in where the other lacks a kind; which of the two, the more seeds decide.
        kinds, former_kinds = ({place.kind for place in group} for group in (current, former))
        standing_in = [place for place in places if place.model in needed or place.kind not in kinds]
        filled_up = [place for place in places if place.model not in needed or place.kind not in former_kinds]
        counted = set(needed.values()) or {place.kind for place in places}
        for group in (current, former, standing_in, filled_up):
            if group:
                is_current = group == current
                models = set(needed) if is_current else {place.model for place in group}
                n_kinds = len(counted.intersection(place.kind for place in group))
                seeds = _complete_seeds(group, models)
                shown = [place for place in group if keeps_all_seeds or not seeds or place.seed in seeds]
                yield _Candidate(scales.index(scale), n_kinds, len(seeds), is_current, shown)


def _complete_seeds(places: Sequence[Place], models: set[Model]) -> set[int]:
    """The seeds of which all of these models are there."""
    models_of: dict[int, set[Model]] = {}
    for place in places:
        models_of.setdefault(place.seed, set()).add(place.model)
    return {seed for seed, models_of_seed in models_of.items() if models_of_seed >= models}
