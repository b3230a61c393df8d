"""Which of the stored runs stand in a figure when a scale's models have changed since some of them were stored."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from rtinterp.figures.figure import Figure
from rtinterp.figures.paper import Paper
from rtinterp.figures.provenance import origins
from rtinterp.figures.render import table_path
from rtinterp.figures.standing import Place, best_places
from rtinterp.figures.stored_tables import best_choice, best_stored_table
from rtinterp.papers import PAPERS
from rtinterp.store import RunStore

SHIPPED = Path(__file__).parents[2] / "figures"
DRAWN = [
    pytest.param(paper, figure, id=f"{paper.name}/{figure.name}")
    for paper in PAPERS.values()
    for figure in paper.figures.values()
    if figure.experiment is not None
]
LATEST_STEPS = 300


def place(kind: str, seed: int, n_steps: int = LATEST_STEPS, scale: str = "quick") -> Place:
    return Place(scale, ("adds",), (kind, n_steps), (kind,), seed)


def chosen(stored: list[Place]) -> set[Place]:
    """What stands in the row, which is to have a random, a normal and a recurrent model of the latest budget."""
    scales = ["quick", "short"]
    wanted = [place(kind, 0, scale=scale).of_any_seed for scale in scales for kind in ("random", "normal", "lstm")]
    found = best_places(scales, stored, wanted, with_incomplete=True)
    assert len(found) == len(set(found))
    return set(found)


def of_seeds(n_seeds: int, *kinds: str, n_steps: int = LATEST_STEPS) -> list[Place]:
    return [place(kind, seed, n_steps) for kind in kinds for seed in range(n_seeds)]


def test_former_models_stand_in_for_those_that_lack() -> None:
    stored = [*of_seeds(3, "random", "lstm"), *of_seeds(3, "normal", n_steps=100)]
    assert chosen(stored) == set(stored)
    assert chosen(stored[1:]) == {one for one in stored if one.seed > 0}, "seeds of which every model is there"


def test_a_model_may_keep_seeds_that_others_lack() -> None:
    few, many = of_seeds(2, "lstm"), of_seeds(5, "random")
    wanted = [place(kind, 0).of_any_seed for kind in ("random", "lstm")]
    assert set(best_places(["quick"], [*few, *many], wanted, with_incomplete=True)) == {*few, *many[:2]}
    found = best_places(["quick"], [*few, *many], wanted, with_incomplete=True, keeps_all_seeds=True)
    assert set(found) == {*few, *many}


def test_current_models_go_before_former_ones_of_their_kind() -> None:
    current, former = of_seeds(3, "random", "normal", "lstm"), of_seeds(3, "normal", n_steps=100)
    assert chosen(former + current) == set(current)
    assert chosen([*former, *of_seeds(3, "lstm", n_steps=100), *of_seeds(3, "random", "normal")]) == {
        *of_seeds(3, "random", "normal"),
        *of_seeds(3, "lstm", n_steps=100),
    }


def test_a_current_model_of_few_seeds_takes_the_place_of_none_of_many() -> None:
    former, others = of_seeds(3, "normal", n_steps=100), of_seeds(3, "random", "lstm")
    assert chosen([*former, *others, place("normal", 0)]) == {*former, *others}


def test_more_seeds_of_every_kind_go_before_what_is_current() -> None:
    former = of_seeds(3, "random", "normal", "lstm", n_steps=100)
    assert chosen([*former, *of_seeds(1, "random", "normal", "lstm")]) == set(former)
    assert chosen([*former, *of_seeds(1, "normal")]) == set(former)


def test_a_larger_scale_stands_above_former_models_too() -> None:
    stored = [*of_seeds(3, "random"), *of_seeds(3, "normal", n_steps=100)]
    large = place("random", 0, scale="short")
    assert chosen([*stored, large]) == {*stored, large}


def test_where_bodies_are_counted_few_at_a_larger_scale_do_not_take_the_place_of_many() -> None:
    many, few = of_seeds(3, "random"), [place("random", 0, scale="short"), place("random", 1, scale="short")]
    wanted = [one.of_any_seed for one in (*many, *few)]

    def standing(stored: list[Place], n_bodies: int = 3) -> set[Place]:
        return set(best_places(["quick", "short"], stored, wanted, with_incomplete=True, n_bodies=n_bodies))

    assert standing([*many, *few]) == set(many)
    assert standing([*many, *few], n_bodies=2) == set(few)
    assert standing([*many[:1], *few]) == set(few)
    lacking = place("normal", 0).of_any_seed
    wanted.append(lacking)
    assert standing([*many, *few]) == set(few), "what is whole goes before what is not"
    wanted.append((*place("normal", 0, scale="short").of_any_seed,))
    assert standing([*many, *few]) == set(many), "of two that lack something, the one of more bodies"


def test_a_row_of_too_few_bodies_that_lacks_something_does_not_stand() -> None:
    few, many = of_seeds(2, "random"), of_seeds(3, "random")
    wanted = [place(kind, 0).of_any_seed for kind in ("random", "normal")]
    for stored, shown in ((few, []), (many, many)):
        assert best_places(["quick"], stored, wanted, with_incomplete=True, n_bodies=3) == shown


@pytest.mark.parametrize(("paper", "figure"), DRAWN)
def test_what_is_shipped_of_runs_costs_no_row_of_the_tables(paper: Paper, figure: Figure, tmp_path: Path) -> None:
    """The runs are not computed: what would stand is counted."""
    choice = best_choice(paper, figure, origins(RunStore(tmp_path / "none"), tmp_path / "results", SHIPPED))
    assert choice is not None
    table = pl.read_csv(table_path(figure.name, SHIPPED / paper.name), infer_schema_length=None)
    assert len(choice.held) >= len(table.select("scale", *figure.key).unique())


@pytest.mark.parametrize(("paper", "figure"), DRAWN)
def test_redrawing_loses_nothing_of_the_shipped_tables(paper: Paper, figure: Figure, tmp_path: Path) -> None:
    """From the tables alone: nothing of them depends on runs that are not shipped."""
    shipped = table_path(figure.name, SHIPPED / paper.name)
    copy = table_path(figure.name, tmp_path / paper.name)
    copy.parent.mkdir(parents=True)
    shutil.copy(shipped, copy)
    table = best_stored_table(paper, figure, origins(RunStore(tmp_path / "none"), tmp_path / "results", tmp_path))
    assert table is not None
    assert len(table) == len(shipped.read_text().splitlines()) - 1
