"""What figures/ladder/README.md says is what the shipped tables hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rtinterp.papers.ladder.bodies import TOLD
from rtinterp.papers.ladder.figure_map import thresholds
from rtinterp.papers.ladder.looks import rung_name

FOLDER = Path(__file__).parents[2] / "figures" / "ladder"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")

MODEL = ("task", "kind", "initial_values", "n_layers", "d_model", "trainable")


def table(name: str) -> pl.DataFrame:
    return pl.read_csv(FOLDER / "data" / f"{name}.csv", infer_schema_length=None)


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def spread(runs: pl.DataFrame, column: str = "accuracy") -> str:
    """Median, and the least and most of the seeds, in %."""
    least, median, most = (getattr(runs[column], name)() for name in ("min", "median", "max"))
    return f"{percent(median)} {ends(least, most)}".strip()


def ends(least: float, most: float) -> str:
    """The least and most in brackets, unless they are printed alike."""
    low, high = percent(least), percent(most)
    return "" if low == high else f"({low} to {high})"


def least_width(row: dict[str, Any]) -> str:
    """What is known of a least width, with the accuracies that it rests on."""
    if row["known"] == "more than":
        return f"> {row['widest']}: {percent(row['accuracy_below'])}"
    if row["known"] == "open":
        return f"> {row['below']}, <= {row['width']}"
    at = f"{percent(row['accuracy_at'])} {ends(row['least_at'], row['most_at'])}".strip()
    if row["known"] == "at most":
        return f"<= {row['width']}: {at}"
    return f"{row['width']}: {at}; {row['below']}: {percent(row['accuracy_below'])}"


def rows_of_the_map() -> list[str]:
    known = thresholds(table("figure_map"))
    rows = []
    for of_rung in known.partition_by("task", maintain_order=True):
        of = {row["trainable"]: row for row in of_rung.iter_rows(named=True)}
        one = next(iter(of.values()))
        cells = [
            rung_name(one["task"], one["dial"], one["value"]),
            *(least_width(of[kind]) if kind in of else "" for kind in ("all", "embeddings")),
            f"{one['n_seeds']}",
            f"{one['n_test_rows']:,}",
            f"{percent(one['floor_accuracy'])} / {percent(one['heuristic_accuracy'])}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def rows_of_bodies() -> list[str]:
    rows = []
    for of_task in table("figure_bodies").partition_by("task", maintain_order=True):
        one = of_task.row(0, named=True)
        for kind, name in TOLD.items():
            cells = [
                spread(runs)
                if len(runs := of_task.filter(pl.col("kind") == kind, pl.col("trainable") == trainable))
                else ""
                for trainable in ("embeddings", "all")
            ]
            if any(cells):
                rung = rung_name(one["task"], one["dial"], one["value"])
                rows.append(f"| {rung} | {name} | {' | '.join(cells)} |")
    return rows


def rows_of_depths() -> list[str]:
    rows = []
    for of_model in table("figure_depth_and_init").partition_by(
        "task", "initial_values", "n_layers", maintain_order=True
    ):
        one = of_model.row(0, named=True)
        least, most = of_model["cosine"].min(), of_model["cosine"].max()
        rung = rung_name(one["task"], one["dial"], one["value"])
        cells = (rung, one["initial_values"], str(one["n_layers"]), spread(of_model), f"{least:.2f} to {most:.2f}")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def test_the_tables_of_the_page_are_those_that_ship() -> None:
    """All rows, and no others: those of former tables would be left over."""
    expected = [*rows_of_the_map(), *rows_of_bodies(), *rows_of_depths()]
    written = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| rung"))]
    assert written == expected


@pytest.mark.parametrize("name", ["figure_map", "figure_bodies", "figure_depth_and_init"])
def test_every_model_is_of_three_seeds(name: str) -> None:
    shipped = table(name)
    model = [column for column in MODEL if column in shipped.columns]
    assert set(shipped.group_by(model).agg(pl.col("seed").n_unique())["seed"]) == {3}
    assert set(shipped["device"]) == {"cpu (x86_64)"}
    assert set(shipped["scale"]) == {"quick"}


def said(pattern: str) -> list[float]:
    """The numbers in the one place of the page that reads so; # stands for a number."""
    text = " ".join(PAGE.split())
    (found,) = re.findall(re.escape(pattern).replace(r"\#", r"(-?[\d.]+)"), text)
    return [float(number.rstrip(".")) for number in ([found] if isinstance(found, str) else found)]


def width_of(task: str, trainable: str, column: str = "width") -> float:
    (row,) = (
        thresholds(table("figure_map"))
        .filter(pl.col("task").str.starts_with(task), pl.col("trainable") == trainable)
        .rows(named=True)
    )
    return row[column]


SORTING = tuple(f"Sorting(length={length}" for length in (6, 12, 24))
OTHERS = ("ParenthesisBalancing(", "DecimalAddition(", "NeedleInAHaystack(", "ModularAddition(")
#: Trained models of few dimensions learn them, and no random one of those that were tried.
OUT_OF_ORDER = ("KHopInduction(", "MultiQueryRecall(", "GroupWordProblem(")
NOT_LEARNT = ("Multiplication(", "GraphSearch(")


def best_median(task: str, trainable: str) -> float:
    """Of all widths of a rung that were trained, in %."""
    runs = table("figure_map").filter(pl.col("task").str.starts_with(task), pl.col("trainable") == trainable)
    return round(100 * runs.group_by("d_model").agg(pl.col("accuracy").median())["accuracy"].max(), 1)


def heuristic(task: str) -> float:
    (share,) = set(table("figure_map").filter(pl.col("task").str.starts_with(task))["heuristic_accuracy"])
    return round(100 * share, 1)


def test_every_rung_of_the_map_is_told_of() -> None:
    told = (*SORTING, *OTHERS, *OUT_OF_ORDER, *NOT_LEARNT)
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


def test_the_order_of_tasks() -> None:
    random, trained = ({task: width_of(task, kind) for task in (*SORTING, *OTHERS)} for kind in ("embeddings", "all"))
    assert set(trained.values()) == {16, 128}
    of_few, of_many = ([random[task] for task in random if trained[task] == width] for width in (16, 128))
    assert said("w\\* of at most # goes with W\\* of # to #, w\\* of # with W\\* of # to #") == [
        16, min(of_few), max(of_few), 128, min(of_many), max(of_many),
    ]  # fmt: skip
    assert said(
        "fully trained, widths #, # and # do, and at random, widths #, # and # have #, # and # %, where the best "
        "simple heuristics have #, # and # %"
    ) == [
        *(width_of(task, "all") for task in OUT_OF_ORDER),
        *(width_of(task, "embeddings", "widest") for task in OUT_OF_ORDER),
        *(best_median(task, "embeddings") for task in OUT_OF_ORDER),
        *map(heuristic, OUT_OF_ORDER),
    ]


def test_what_no_model_learns() -> None:
    for task, name in zip(NOT_LEARNT, ("products of two digits and one", "graph search"), strict=True):
        trained, random, simple = said(f"{name} (# % fully trained, # % at random, # % by the best simple heuristic)")
        assert (trained, random, simple) == (
            *(best_median(task, kind) for kind in ("all", "embeddings")),
            heuristic(task),
        )
        assert trained < 99


def median_at(initial_values: str, n_layers: int) -> float:
    of_model = table("figure_depth_and_init").filter(
        pl.col("initial_values") == initial_values, pl.col("n_layers") == n_layers
    )
    assert set(of_model["d_model"]) == {32}
    assert len(of_model) == 3
    return round(100 * of_model["accuracy"].median(), 1)


def test_depth_and_initial_values() -> None:
    names = ("GPT-2", "wide queries and keys", "no residual scaling")
    two = said(
        "initial values lead to # %, wider queries and keys to # %, and no scaling of what writes to the residual "
        "stream to # %"
    )
    assert two == [median_at(name, 2) for name in names]
    said_of = {
        "no residual scaling": said("without scaling, 2, 4 and 8 layers have #, # and # %"),
        "GPT-2": said("the root of twice the layers, they have #, # and # %"),
        "wide queries and keys": said("with wider queries and keys as well #, # and # %"),
    }
    assert said_of == {name: [median_at(name, depth) for depth in (2, 4, 8)] for name in said_of}
    depths = table("figure_depth_and_init")
    (most,) = said("after the last layer is at most # before training")
    assert most == round(depths["cosine"].max(), 2)
    largest = depths.group_by("initial_values").agg(pl.col("cosine").max()).sort("cosine")
    assert largest["initial_values"][-1] == "no residual scaling"


def medians_of_bodies(task: str, trainable: str) -> dict[str, float]:
    runs = table("figure_bodies").filter(pl.col("task").str.starts_with(task), pl.col("trainable") == trainable)
    assert set(runs["d_model"]) == {64}
    assert runs["task"].n_unique() == 1
    of_kinds = runs.group_by("kind").agg(pl.col("accuracy").median())
    return {kind: round(100 * share, 1) for kind, share in of_kinds.rows()}


def floors_of_bodies(task: str) -> list[float]:
    rows = table("figure_bodies").filter(pl.col("task").str.starts_with(task))
    return [round(100 * rows[f"{kind}_accuracy"][0], 1) for kind in ("floor", "heuristic")]


def test_other_bodies_that_sort() -> None:
    medians, trained = (medians_of_bodies("Sorting(", kind) for kind in ("embeddings", "all"))
    in_order = (
        "softmax",
        "wide_qk",
        "linear_normalised",
        "s4d",
        "linear",
        "retention",
        "gated_linear",
        "mamba",
        "lstm",
    )
    found = said(
        "softmax # %, with wider queries and keys # %, normalised linear attention # %, S4D # %, linear attention "
        "without its norm # %, retention # %, gated linear attention # %, Mamba # % and the LSTM # %, where the best "
        "simple heuristic has # %"
    )
    assert found == [*(medians[kind] for kind in in_order), floors_of_bodies("Sorting(")[1]]
    assert len(trained) == len(medians) == len(in_order)
    assert said("Fully trained, every one of them has a median of # %") == [min(trained.values())]


def test_other_bodies_that_recall() -> None:
    alone, trained = (medians_of_bodies("MultiQueryRecall(", kind) for kind in ("embeddings", "all"))
    can = ("softmax", "wide_qk", "mamba", "s4d")
    heuristic_of_recall = floors_of_bodies("MultiQueryRecall(")[1]
    others = [trained[kind] for kind in trained if kind not in can]
    assert said(
        "softmax # %, with wider queries and keys # %, Mamba # % and S4D # %, all others # to # %, where the best "
        "simple heuristic has # %"
    ) == [*(trained[kind] for kind in can), min(others), max(others), heuristic_of_recall]
    assert max(others) <= heuristic_of_recall < min(trained[kind] for kind in can)
    assert said("With the embeddings alone none of them does, # to # %") == [min(alone.values()), max(alone.values())]
    assert max(alone.values()) <= heuristic_of_recall
    of_both = zip(floors_of_bodies("Sorting("), floors_of_bodies("MultiQueryRecall("), strict=True)
    assert said("guessing has # and # %, the best simple heuristic # and # %") == [
        share for pair in of_both for share in pair
    ]
