"""What ours shows of the paper's claims: planted tables whose medians are known."""

from __future__ import annotations

import polars as pl
import pytest
from shipped_page import shipped_table

from rtinterp.figures.claims import Claim, Finding, findings
from rtinterp.papers.random_transformers import FIGURES, PAPER
from rtinterp.papers.random_transformers.claims import CLAIMS


def found_in(name: str, table: pl.DataFrame) -> list[Finding]:
    return list(findings(CLAIMS, {name: table}))


def column_of(claim: Claim) -> str:
    return next(iter(claim.evidence(shipped_table(claim.figure)))).column


def test_every_claim_is_on_a_figure_and_has_shipped_rows() -> None:
    found = list(findings(CLAIMS, {claim.figure: shipped_table(claim.figure) for claim in CLAIMS}))
    assert [one.claim for one in found] == list(PAPER.claims)
    assert {claim.figure for claim in CLAIMS} <= set(FIGURES)
    for one in found:
        assert not one.rows["quantity"].is_duplicated().any(), "each number is of one thing"
        assert one.rows["ours_median"].is_not_nan().all()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.measure)
def test_every_number_comes_from_the_rows(claim: Claim) -> None:
    """With every value doubled, every median is."""
    table, column = shipped_table(claim.figure), column_of(claim)
    pairs = zip(
        *(next(findings([claim], {claim.figure: of})).rows["ours_median"]
          for of in (table, table.with_columns(pl.col(column) * 2))), strict=True,
    )  # fmt: skip
    assert all(doubled == pytest.approx(2 * single) for single, doubled in pairs)


def test_the_sentence_tells_each_median_and_where_it_is_from() -> None:
    table = shipped_table("table3_memorization").with_columns(
        bits_per_parameter=pl.when(trainable="all").then(3.0).otherwise(0.5) + 0.25 * (pl.col("seed") - 1)
    )
    (one,) = found_in("table3_memorization", table)
    numbers = "random transformer 0.50, fully trained 3.00"
    assert one.sentence() == f"Bits per trainable parameter: {numbers} (quick scale, medians of 3 seeds, shipped)."
    (one,) = found_in("table3_memorization", table.filter(pl.col("seed") == 2).with_columns(scale=pl.lit("paper")))
    assert one.sentence("<b>{}</b>").endswith("fully trained <b>3.25</b> (paper scale, 1 seed, shipped).")


def test_narrow_models_and_other_bodies_are_no_wide_random_transformers() -> None:
    table = shipped_table("table1_accuracy")
    wide = (pl.col("size") == "wide") & (pl.col("body") == "transformer") & (pl.col("trainable") == "embeddings")
    wide_claim, narrow_claim = found_in("table1_accuracy", table.with_columns(test_accuracy=wide.cast(pl.Float64)))
    assert set(wide_claim.rows["ours_median"]) == {100}
    assert set(narrow_claim.rows["ours_median"]) == {0}


def test_the_last_layer_is_the_one_before_the_final_norm() -> None:
    table = shipped_table("table4_explained_variance")
    last = pl.col("site") == "after layer 1"
    (one,) = found_in("table4_explained_variance", table.with_columns(share_principal_components=last.cast(pl.Float64)))
    assert set(one.rows["ours_median"]) == {100}


def test_what_no_table_bears_on_is_left_out() -> None:
    assert not list(findings(CLAIMS, {}))
    assert not found_in("table3_memorization", shipped_table("table3_memorization").clear())
