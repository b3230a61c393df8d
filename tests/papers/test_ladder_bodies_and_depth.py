"""What figures/ladder/README.md finds about other bodies, depth and initial values is what the shipped tables hold."""

from __future__ import annotations

import polars as pl
from ladder_page import said, table


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


def test_other_bodies_that_track_parity() -> None:
    alone, trained = (medians_of_bodies("GroupWordProblem(", kind) for kind in ("embeddings", "all"))
    heuristic = floors_of_bodies("GroupWordProblem(")[1]
    above = ("s4d", "wide_qk", "mamba")
    below = [alone[kind] for kind in alone if kind not in above]
    assert said(
        "S4D # %, softmax with wider queries and keys # % and Mamba # %, where the best simple heuristic has # %; all "
        "others have # to # %"
    ) == [*(alone[kind] for kind in above), heuristic, min(below), max(below)]
    assert max(below) < heuristic < min(alone[kind] for kind in above)
    others = [trained[kind] for kind in trained if kind != "wide_qk"]
    assert said(
        "Fully trained, softmax with wider queries and keys has # %, and every other body at least # %: a recurrence"
    ) == [trained["wide_qk"], min(others)]


def test_floors_of_the_three_tasks() -> None:
    rungs = ("Sorting(", "MultiQueryRecall(", "GroupWordProblem(")
    of_all = zip(*map(floors_of_bodies, rungs), strict=True)
    assert said("guessing has #, # and # %, the best simple heuristic #, # and # %") == [
        share for of_kind in of_all for share in of_kind
    ]
