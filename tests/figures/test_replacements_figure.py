"""Replacements of runs: means cost what all subsets say, and a position that is always the same can be replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from rtinterp.papers.mechanism import FIGURES, PAPER, figure_circuits
from rtinterp.papers.mechanism.figure_replacements import AFTER_FIRST, EMBEDDING, compute, plot, ranked
from rtinterp.store import RunStore

if TYPE_CHECKING:
    from rtinterp.training.run import Run

RANKED = ("most needed head", "2nd most needed", "3rd most needed", "4th most needed")


@pytest.fixture(scope="module")
def runs(tiny_store: RunStore) -> list[Run]:
    specs = PAPER.specs(FIGURES["figure_replacements"], "tiny", 2)
    return [tiny_store.load(spec.run_id) for spec in specs if spec.task.name == "decimal_addition"]


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> pl.DataFrame:
    return compute(runs)


def test_means_in_the_place_of_a_node_cost_what_the_subset_without_it_says(
    runs: list[Run], table: pl.DataFrame
) -> None:
    of_subsets = figure_circuits.compute(runs).select("trainable", "seed", "node", "without")
    means = table.filter(replacement="mean").join(
        of_subsets, left_on=["trainable", "seed", "item"], right_on=["trainable", "seed", "node"]
    )
    assert len(means) == len(runs) * 10
    assert ((means["accuracy"] - means["without"]).abs() < 0.011).all()
    assert (means["accuracy"] - means["without"]).abs().mean() < 1e-3  # pyright: ignore[reportOperatorIssue]


def test_what_is_always_the_same_is_missed_only_where_it_is_zero(table: pl.DataFrame) -> None:
    roles = table.filter(pl.col("site") == EMBEDDING)
    assert "end" not in set(roles["item"])
    of_sign = roles.filter(pl.col("item").is_in(["+", "="]), pl.col("replacement") != "zero")
    assert len(of_sign) == 2 * 2 * 4
    assert (of_sign["accuracy"] == of_sign["intact"]).all()
    assert set(table.filter(site=AFTER_FIRST)["item"]) == set(roles["item"])
    others = roles.filter(pl.col("replacement") == "resample", ~pl.col("item").is_in(["+", "="]))
    assert (others["accuracy"] != others["intact"]).any()


def test_heads_are_named_by_what_their_mean_costs() -> None:
    rows = [
        {"task": "t", "trainable": "all", "seed": seed, "site": site, "item": item, "replacement": of, "accuracy": left}
        for seed, costs in ((0, (0.9, 0.2)), (1, (0.1, 0.8)))
        for site, item, mean in (
            ("layer 0", "L0H0", costs[0]),
            ("layer 0", "L0H1", costs[1]),
            ("layer 0", "L0 MLP", 0.5),
        )
        for of, left in (("mean", mean), ("zero", 1 - mean))
    ]
    rows.append({**rows[0], "site": EMBEDDING, "item": "query"})
    named = ranked(pl.DataFrame(rows))
    assert len(named) == len(rows)
    for name, expected in (("most needed head of L0", ["L0H1", "L0H0"]), ("2nd most needed of L0", ["L0H0", "L0H1"])):
        assert named.filter(name=name).unique("seed").sort("seed").select("seed", "item").rows() == [
            (0, expected[0]),
            (1, expected[1]),
        ]
    assert set(named.filter(item="L0 MLP")["name"]) == {"L0 MLP"}
    assert named["name"][-1] == "embedding: query"


def test_the_drawing_has_the_medians(table: pl.DataFrame) -> None:
    figure: Any = plot(table)
    assert len(figure.data) == table.select("task", "trainable").unique().height
    first = table.filter(pl.col("trainable") == table["trainable"][0], item="L0 MLP", replacement="mean")
    trace = figure.data[0]
    assert trace.z[list(trace.y).index("L0 MLP")][1] == pytest.approx(first["accuracy"].median())
    nodes = [f"{rank} of {layer}" for layer in ("L0", "L1") for rank in RANKED]
    assert list(trace.y)[:10] == [*nodes[:4], "L0 MLP", *nodes[4:], "L1 MLP"]
