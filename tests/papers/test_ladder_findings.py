"""What figures/ladder/README.md finds on the map is what the shipped table holds."""

from __future__ import annotations

import polars as pl
import pytest
from ladder_page import PAGE, said, table

from rtinterp.papers.ladder.figure_map import thresholds
from rtinterp.papers.ladder.order import agreement


def width_of(task: str, trainable: str, column: str = "width") -> float:
    (row,) = (
        thresholds(table("figure_map"))
        .filter(pl.col("task").str.starts_with(task), pl.col("trainable") == trainable)
        .rows(named=True)
    )
    return row[column]


SORTING = tuple(f"Sorting(length={length}" for length in (6, 12, 24))
OTHERS = (
    "ParenthesisBalancing(max_pairs=10)",
    "DecimalAddition(n_digits=2",
    "NeedleInAHaystack(max_pairs=4",
    "ModularAddition(p=79",
)
#: The easier value of the last two's dial.
EASIER = ("ModularAddition(p=31", "NeedleInAHaystack(max_pairs=2")
#: Trained models of few dimensions learn them, and no random one of those that were tried.
OUT_OF_ORDER = ("KHopInduction(", "MultiQueryRecall(", "GroupWordProblem(")
NOT_LEARNT = {
    "Multiplication(": "products of two digits and one",
    "DecimalAddition(n_digits=3": "sums of three digits",
    "ParenthesisBalancing(max_pairs=10, n_kinds=2": "brackets of two kinds",
    "GraphSearch(": "graph search",
}


def best_median(task: str, trainable: str) -> float:
    """Of all widths of a rung that were trained, in %."""
    runs = table("figure_map").filter(pl.col("task").str.starts_with(task), pl.col("trainable") == trainable)
    return round(100 * runs.group_by("d_model").agg(pl.col("accuracy").median())["accuracy"].max(), 1)


def heuristic(task: str) -> float:
    (share,) = set(table("figure_map").filter(pl.col("task").str.starts_with(task))["heuristic_accuracy"])
    return round(100 * share, 1)


def test_every_rung_of_the_map_is_told_of() -> None:
    told = (*SORTING, *OTHERS, *EASIER, *OUT_OF_ORDER, *NOT_LEARNT)
    tasks = table("figure_map")["task"].unique().to_list()
    assert sorted(sum(task.startswith(rung) for rung in told) for task in tasks) == [1] * len(told)


def test_least_widths() -> None:
    sorts = said("Of 6 numbers W\\* is #, of 12 and of 24 it is #; fully trained, width #, the narrowest")
    assert sorts == [
        width_of(SORTING[0], "embeddings"),
        width_of(SORTING[1], "embeddings"),
        width_of(SORTING[0], "all"),
    ]
    assert width_of(SORTING[1], "embeddings") == width_of(SORTING[2], "embeddings")
    assert (
        {width_of(task, "all") for task in SORTING} == {width_of(task, "all", "narrowest") for task in SORTING} == {16}
    )
    beside = said(
        "# beside # for parentheses, # beside # for decimal addition, # beside # for needle in a haystack and # beside "
        "# for modular addition"
    )
    assert beside == [width_of(task, kind) for task in OTHERS for kind in ("embeddings", "all")]
    assert "at least four to eight times as much for sorting" in " ".join(PAGE.split())
    assert {width_of(task, "embeddings") / width_of(task, "all") for task in SORTING} == {4, 8}
    narrower = [width_of(task, "embeddings", "accuracy_below") for task in (*SORTING, *OTHERS)]
    assert said("at the next narrower width that was tried, the medians are # to # %") == [
        round(100 * end(narrower), 1) for end in (min, max)
    ]


def test_dials_that_are_turned() -> None:
    sums, needles = EASIER
    turned = said(
        "From sums modulo # to sums modulo #, w\\* goes from # to # and W\\* from # to #; from # pairs of a needle and "
        "a value to #, w\\* from # to # and W\\* from # to #"
    )
    expected = []
    for values, task, harder in (((31, 79), sums, OTHERS[3]), ((2, 4), needles, OTHERS[2])):
        expected += [*values, *(width_of(one, kind) for kind in ("all", "embeddings") for one in (task, harder))]
    assert turned == expected
    assert said("W\\* is #, # and # for 6, 12 and 24 numbers, where w\\* is at most # throughout") == [
        *(width_of(task, "embeddings") for task in SORTING),
        *{width_of(task, "all") for task in SORTING},
    ]


def test_the_order_of_tasks() -> None:
    known = (*SORTING, *OTHERS, *EASIER)
    random, trained = ({task: width_of(task, kind) for task in known} for kind in ("embeddings", "all"))
    few, some, many = (sorted(random[task] for task in known if trained[task] == width) for width in (16, 64, 128))
    assert len(few) + len(some) + len(many) == len(known) == 9
    assert set(some) == {some[0]}
    assert said(
        "Of the nine rungs of which both are known, w\\* of at most # goes with W\\* of # to #, w\\* of # with W\\* of "
        "#, and w\\* of # with W\\* of # to #"
    ) == [16, few[0], few[-1], 64, some[0], 128, many[0], many[-1]]
    assert said(
        "Of pairs of rungs whose two orders are certain, # are ordered alike by both, and # are opposed"
    ) == list(agreement(thresholds(table("figure_map"))))
    assert said(
        "fully trained, widths #, # and # do, and at random, widths #, # and # have #, # and # %, where the best "
        "simple heuristics have #, # and # %"
    ) == [
        *(width_of(task, "all") for task in OUT_OF_ORDER),
        *(width_of(task, "embeddings", "widest") for task in OUT_OF_ORDER),
        *(best_median(task, "embeddings") for task in OUT_OF_ORDER),
        *map(heuristic, OUT_OF_ORDER),
    ]


@pytest.mark.parametrize(("task", "name"), NOT_LEARNT.items(), ids=NOT_LEARNT.values())
def test_what_no_model_learns(task: str, name: str) -> None:
    trained, random, simple = said(f"{name} (# % fully trained, # % at random, # % by the best simple heuristic)")
    assert (trained, random, simple) == (
        *(best_median(task, kind) for kind in ("all", "embeddings")),
        heuristic(task),
    )
    assert max(trained, random) < 99
