"""What figures/README.md says of the release of a body, held against the shipped table."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from rtinterp.papers.mechanism.figure_dynamics import FIGURE, leading_heads, similarities

FIGURES = Path(__file__).parents[2] / "figures"


def shipped(task: str) -> pl.DataFrame:
    table = pl.read_csv(FIGURES / "mechanism" / "data" / "figure_dynamics.csv", infer_schema_length=None)
    return table.filter(pl.col("task").str.starts_with(task))


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return shipped("Needle")


@pytest.fixture(scope="module")
def parentheses() -> pl.DataFrame:
    return shipped("Parenthesis")


@pytest.fixture(scope="module")
def said() -> str:
    text = (FIGURES / "README.md").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"\*When the body is released\*.*?\n\n", text, re.DOTALL)
    return " ".join(paragraph.split())


def at_the_end(table: pl.DataFrame, *, released: bool) -> pl.DataFrame:
    arm = table.filter((pl.col("release_at") > 0) == released)
    return arm.filter(pl.col("step") == pl.col("step").max())


def at_the_release(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter((pl.col("release_at") > 0) & (pl.col("step") == pl.col("release_at")))


def percents(values: pl.Series) -> str:
    return f"{100 * values.min():.0f} to {100 * values.max():.0f} %"  # pyright: ignore[reportOptionalOperand]


def test_seeds_and_steps(table: pl.DataFrame, said: str) -> None:
    assert f"needle, {table['seed'].n_unique()} seeds" in said
    (release_at,) = table.filter(pl.col("release_at") > 0)["release_at"].unique()
    assert f"alone for {release_at} steps, then everything for {table['n_steps'].max() - release_at}." in said
    assert table.filter(pl.col("release_at") == 0)["n_steps"].unique().to_list() == [
        table["n_steps"].max() - release_at
    ]


def test_leading_heads(table: pl.DataFrame, said: str) -> None:
    heads = leading_heads(table)
    before, after = at_the_release(heads), at_the_end(heads, released=True)
    marker, retrieval = "marker score", "retrieval score"
    before_said = (percents(before.filter(measure=role)["value"]) for role in (marker, retrieval))
    assert "at {} (marker) and {} (query to value)".format(*before_said) in said
    after_said = [percents(after.filter(measure=role)["value"]) for role in (marker, retrieval)]
    assert "still do, at {} and {}, within 1 % of the best head of their layer".format(*after_said) in said
    scores = at_the_end(table, released=True).filter(pl.col("measure").is_in([marker, retrieval]))
    best = scores.group_by("seed", "measure").agg(pl.col("value").max().alias("best"))
    assert (after.join(best, on=["seed", "measure"]).select(pl.col("best") - pl.col("value")).to_series() < 0.01).all()


def test_circuits_and_distances(table: pl.DataFrame, said: str) -> None:
    cosines = similarities(table)
    first, second, third = at_the_end(cosines, released=True).sort("value").select("seed", "value").rows()
    assert f"is {first[1]:.2f} and {second[1]:.2f} in two seeds" in said
    assert f"{third[1]:.2f} in the third" in said
    from_start = at_the_end(cosines, released=False)["value"]
    assert f"It is {from_start.min():.2f} to {from_start.max():.2f} to models" in said
    moved = at_the_end(table, released=True).filter(measure="distance", item="qk")
    assert f"moved by {percents(moved.filter(pl.col('seed') != third[0])['value'])}" in said
    assert f"where they moved by {100 * moved.filter(seed=third[0])['value'].item():.0f} %" in said


def test_least_ranks(table: pl.DataFrame, said: str) -> None:
    ranks = table.filter(measure="least rank")
    before = at_the_release(ranks).sort("seed")["value"]
    after = at_the_end(ranks, released=True).sort("value")["value"].to_list()
    assert after[0] == after[1] < before.min()  # pyright: ignore[reportOperatorIssue]
    assert f"from {before.min():.0f} to {before.max():.0f} to {after[0]:.0f} in the two, and is {after[2]:.0f}" in said


def spread(values: pl.Series, digits: int = 0) -> str:
    return f"{values.min():.{digits}f} to {values.max():.{digits}f}"


def test_parentheses(table: pl.DataFrame, parentheses: pl.DataFrame, said: str) -> None:
    assert f"Parentheses ({parentheses['seed'].n_unique()} seeds, the same steps)" in said
    steps = ["release_at", "n_steps"]
    assert set(parentheses.select(steps).rows()) == set(table.select(steps).rows())
    cosines = similarities(parentheses)
    after, from_start = (at_the_end(cosines, released=released)["value"] for released in (True, False))
    assert f"before and after is {spread(after, 2)}, as little as to models trained from the start" in said
    assert f"({spread(from_start, 2)})" in said
    assert after.max() < 0.5  # pyright: ignore[reportOperatorIssue]
    moved = at_the_end(parentheses, released=True).filter(measure="distance", item="qk")["value"]
    assert f"queries and keys moved by {spread(100 * moved)} %" in said
    ranks, sizes = (parentheses.filter(measure=m) for m in ("least rank", "minimal circuits"))
    sizes = sizes.filter(item="least size")
    before, later = (spread(of(ranks)["value"]) for of in (at_the_release, lambda t: at_the_end(t, released=True)))
    assert f"k95 after layer 0 falls from {before} to {later}" in said
    before, later = (spread(of(sizes)["value"]) for of in (at_the_release, lambda t: at_the_end(t, released=True)))
    assert f"smallest circuit from {before} nodes to {later}." in said


def test_the_caption(table: pl.DataFrame, parentheses: pl.DataFrame) -> None:
    heads = leading_heads(table)
    before, after = (
        of.sort("seed", "measure")["value"] for of in (at_the_release(heads), at_the_end(heads, released=True))
    )
    assert "still look as much as any afterwards" in FIGURE.caption
    assert (after > before).all()
    moved = at_the_end(table, released=True).filter(measure="distance", item="qk").sort("seed")["value"]
    cosines = at_the_end(similarities(table), released=True).sort("seed")["value"]
    assert "moved by more than a tenth, in two seeds of three" in FIGURE.caption
    assert (moved > 0.1).to_list() == (cosines < 0.9).to_list()
    assert (moved > 0.1).sum() == 2
    assert (cosines > at_the_end(similarities(table), released=False).sort("seed")["value"]).all()
    assert "On parentheses nothing of it holds" in FIGURE.caption
    of_parentheses = at_the_end(similarities(parentheses), released=True)["value"]
    assert of_parentheses.max() < cosines.min()  # pyright: ignore[reportOperatorIssue]
