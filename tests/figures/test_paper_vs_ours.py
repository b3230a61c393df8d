"""The paper's numbers beside ours: planted tables with known medians."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from rtinterp.figures.comparison import NAME, as_html, as_markdown, paper_vs_ours
from rtinterp.figures.render import table_path
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.comparison import COMPARED


def runs(column: str, values: list[float], **columns: object) -> pl.DataFrame:
    """A row per seed."""
    common = {
        "scale": "quick", "task": "ModularAddition(p=13)", "body": "transformer", "n_layers": 2, "d_model": 24,
        "trainable": "embeddings", "n_steps": 1500, "batch_size": 7, "device": "cpu (x86_64)", **columns,
    }  # fmt: skip
    return pl.DataFrame({"seed": range(len(values)), column: values}).with_columns(
        pl.lit(value).alias(name) for name, value in common.items()
    )


def test_median_and_range_of_the_runs_beside_a_known_number() -> None:
    known = runs("test_accuracy", [0.5, 0.9, 0.7], size="wide", paper_accuracy=1.0)
    unknown = runs("test_accuracy", [0.1], size="narrow", d_model=8, paper_accuracy=None)
    unknown = unknown.with_columns(pl.col("paper_accuracy").cast(pl.Float64))
    (row,) = paper_vs_ours(COMPARED, {"table1_accuracy": pl.concat([known, unknown])}).iter_rows(named=True)
    assert row["paper"] == "100"
    assert (row["ours_median"], row["ours_min"], row["ours_max"]) == pytest.approx((70, 50, 90))
    assert (row["n_seeds"], row["scale"], row["d_model"], row["n_steps"]) == (3, "quick", 24, 1500)


def test_statements_stand_beside_accuracies() -> None:
    table = runs("test_accuracy", [0.25], trainable="unembedding", paper_statement="fails")
    (row,) = paper_vs_ours(COMPARED, {"table2_subsets": table}).iter_rows(named=True)
    assert (row["paper"], row["ours_median"], row["model"]) == ("fails", 25, "unembedding only")


def test_the_widest_models_of_the_better_depth_stand_for_language() -> None:
    columns = {"task": "LanguageModelling(corpus_sha256=00, d_vocab=10)"}
    table = pl.concat(
        runs("test_loss", [loss], n_layers=depth, d_model=width, trainable=trainable, **columns)
        for depth, width, trainable, loss in (
            (2, 8, "embeddings", 1.0), (2, 16, "embeddings", 3.0), (4, 16, "embeddings", 3.5),
            (2, 16, "all", 2.5), (4, 16, "all", 2.0),
        )
    )  # fmt: skip
    found = paper_vs_ours(COMPARED, {"figure4_language_loss": table})
    assert dict(zip(found["model"], found["ours_median"], strict=True)) == {"random": 3.0, "normal": 2.0}
    assert found["quantity"].str.extract(r"(\d) layers").to_list() == ["2", "4"]
    assert set(found["paper"]) == {f"{number.value:g}" for number in published.LANGUAGE_LOSS.values()}


def test_both_renderings_hold_every_row() -> None:
    table = runs("gradient_symmetricity", [0.3, 0.5]).with_columns(distance_irrelevance=pl.lit(0.9))
    found = paper_vs_ours(COMPARED, {"figure3_embeddings": table})
    for text in (as_html(found, "measures"), as_markdown(found)):
        assert "0.4 (0.3 to 0.5)" in text
        assert "p = 13" in text
        assert "1,500 steps × 7" in text


def test_without_counterparts_it_is_empty() -> None:
    assert paper_vs_ours(COMPARED, {"figure7_width": runs("test_accuracy", [0.5])}).is_empty()


def test_the_page_of_shipped_figures_shows_the_table_that_is_committed() -> None:
    repository = Path(__file__).parents[2]
    path = table_path(NAME, repository / "figures" / "random_transformers")
    committed = pl.read_csv(path, infer_schema_length=None)
    assert as_markdown(committed) in (repository / "figures" / "README.md").read_text(encoding="utf-8")
