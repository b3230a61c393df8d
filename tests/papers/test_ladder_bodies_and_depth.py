"""What figures/ladder/README.md finds about other bodies, depth and initial values is what the shipped tables hold."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
from ladder_page import PAGE, said, table

from rtinterp.papers.ladder.figure_map import thresholds

TEXT = " ".join(PAGE.split())
GPT2, WIDE, FULL = "GPT-2", "wide queries and keys", "no residual scaling"
#: The rungs that models grow in depth on, as the page calls them, each at half of its W*.
DEEPENED = {
    "Sorting(": "sorting",
    "ParenthesisBalancing(": "parentheses",
    "DecimalAddition(": "decimal addition",
    "NeedleInAHaystack(": "needles",
    "ModularAddition(": "sums modulo 31",
}


def of_depths(task: str) -> pl.DataFrame:
    return table("figure_depth_and_init").filter(pl.col("task").str.starts_with(task))


def medians_by_depth(task: str, initial_values: str) -> list[float]:
    """In %, from two layers on."""
    of_models = of_depths(task).filter(pl.col("initial_values") == initial_values)
    by_depth = of_models.group_by("n_layers").agg(pl.col("accuracy").median()).sort("n_layers")
    assert by_depth["n_layers"][0] == 2
    return [round(100 * share, 1) for share in by_depth["accuracy"]]


def in_words(values: Iterable[object]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}"


def test_depths_are_of_half_of_the_width_that_suffices() -> None:
    known = thresholds(table("figure_map")).filter(pl.col("trainable") == "embeddings")
    deepened = table("figure_depth_and_init").select("task", "d_model").unique()
    assert len(deepened) == len(DEEPENED)
    for task, width in deepened.iter_rows():
        assert [2 * width] == known.filter(pl.col("task") == task)["width"].to_list()


def test_what_it_starts_with() -> None:
    two_layers = {name: [medians_by_depth(task, name)[0] for task in DEEPENED] for name in (GPT2, WIDE, FULL)}
    assert (
        f"GPT-2's initial values lead to {in_words(two_layers[GPT2])} % in {in_words(DEEPENED.values())}, wider "
        f"queries and keys to {in_words(two_layers[WIDE])} %, and no scaling of what writes to the residual stream to "
        f"{in_words(two_layers[FULL])} %"
    ) in TEXT
    best = [max(two_layers, key=lambda name: two_layers[name][number]) for number in range(len(DEEPENED))]
    assert {task: name for task, name in zip(DEEPENED, best, strict=True) if name != WIDE} == {
        "ParenthesisBalancing(": FULL
    }
    n_rows = [*of_depths("NeedleInAHaystack(")["n_test_rows"].unique(), *of_depths("Modular")["n_test_rows"].unique()]
    assert said("Needles and sums are tested on # and # rows") == n_rows


def test_depth() -> None:
    told = {
        FULL: "Without scaling: ",
        GPT2: "With GPT-2's, which divides by the root of twice the layers: ",
        WIDE: "With wider queries and keys: ",
    }
    for name, begin in told.items():
        courses = [f"{in_words(medians_by_depth(task, name))} % in {DEEPENED[task]}" for task in DEEPENED]
        assert begin + "; ".join(courses) in TEXT
    sums = of_depths("ModularAddition(").group_by("initial_values", "n_layers")
    spreads = sums.agg(pl.col("accuracy").max() - pl.col("accuracy").min())["accuracy"]
    assert said("Seeds of one model differ by up to # points in sums modulo 31") == [round(100 * spreads.max())]


def test_tokens_become_alike_without_scaling_and_that_is_no_obstacle() -> None:
    depths = table("figure_depth_and_init")
    scaled, full = (depths.filter((pl.col("initial_values") == FULL) == is_full) for is_full in (False, True))
    assert said("is at most # with scaling at any depth; without, it grows with depth to #") == [
        round(of_kind["cosine"].max(), 2) for of_kind in (scaled, full)
    ]
    for task in DEEPENED:
        cosines = full.filter(pl.col("task").str.starts_with(task)).group_by("n_layers").agg(pl.col("cosine").median())
        assert cosines.sort("n_layers")["cosine"].is_sorted()
    deepest = of_depths("DecimalAddition(").filter(initial_values=FULL, n_layers=16)
    assert said("16 layers without scaling has # %, at a cosine of #") == [
        round(100 * deepest["accuracy"].median(), 1),
        round(deepest["cosine"].median(), 2),
    ]


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
