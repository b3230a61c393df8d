"""The paper's numbers beside ours: planted tables with known medians."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from rtinterp.analysis import bootstrap_median
from rtinterp.figures.comparison import NAME, as_html, as_markdown, paper_vs_ours
from rtinterp.figures.render import table_path
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.comparison import COMPARED
from rtinterp.papers.random_transformers.paper_sizes import is_papers_task
from rtinterp.papers.random_transformers.scales import SCALES


def runs(column: str, values: list[float], **columns: object) -> pl.DataFrame:
    """A row per seed, from 1 on."""
    common = {
        "scale": "short", "task": "ModularAddition(p=199)", "body": "transformer", "n_layers": 2, "d_model": 1024,
        "trainable": "embeddings", "n_steps": 1500, "batch_size": 7, "device": "cpu (x86_64)", **columns,
    }  # fmt: skip
    return pl.DataFrame({"seed": range(1, len(values) + 1), column: values}).with_columns(
        pl.lit(value).alias(name) for name, value in common.items()
    )


COUNTED = {"n_test_rows": 1981, "n_effective_rows": 1981.0}


def test_median_interval_and_range_of_the_runs_beside_a_known_number() -> None:
    known = runs("test_accuracy", [0.5, 0.9, 0.7], **COUNTED)
    unknown = runs("test_accuracy", [0.1], d_model=512, **COUNTED)
    (row,) = paper_vs_ours(COMPARED, {"table1_accuracy": pl.concat([known, unknown])}).iter_rows(named=True)
    assert row["paper"] == "100"
    assert (row["ours_median"], row["ours_min"], row["ours_max"]) == pytest.approx((70, 50, 90))
    low, high, over = bootstrap_median([0.5, 0.9, 0.7], [1981] * 3, torch.Generator().manual_seed(0))
    assert (row["ours_low"], row["ours_high"], row["interval_over"]) == (100 * low, 100 * high, over)
    assert (row["n_seeds"], row["seeds"], row["n_test_rows"]) == (3, "1 to 3", 1981)
    assert (row["scale"], row["d_model"], row["n_steps"], row["batch_size"]) == ("short", 1024, 1500, 7)
    assert row["device"] == "cpu (x86_64)"
    assert row["command"] == "python analyses/make_figures.py --scale short --seeds 3 --only table1_accuracy"


def test_runs_of_different_budgets_are_no_seeds_of_one_model() -> None:
    tables = [runs("test_accuracy", [0.5, 0.5], **COUNTED), runs("test_accuracy", [1.0] * 3, n_steps=50_000, **COUNTED)]
    (row,) = paper_vs_ours(COMPARED, {"table1_accuracy": pl.concat(tables)}).iter_rows(named=True)
    assert (row["ours_median"], row["n_seeds"], row["n_steps"]) == (50, 2, 1500)


#: Figure, and what a row at the paper's size has.
KNOWN = {
    "table1_accuracy": {"column": "test_accuracy"},
    "table2_subsets": {"column": "test_accuracy", "trainable": "unembedding"},
    "table3_memorization": {
        "column": "recall", "task": "Memorization(n_keys=512)", "d_model": 128, "paper_recall": 0.045,
        "bits_per_parameter": 0.4, "paper_bits_per_parameter": 0.41,
    },
    "figure3_embeddings": {"column": "gradient_symmetricity", "distance_irrelevance": 0.9},
    "figure4_language_loss": {
        "column": "test_loss", "d_model": 512,
        "task": "LanguageModelling(corpus=df5588a5, d_vocab=10000, context_length=512)",
    },
}  # fmt: skip
#: The same at sizes that are not the paper's: another width, and another task.
TOYS = {
    "width": {name: {"d_model": 256} for name in KNOWN},
    "task": {
        **{name: {"task": "ModularAddition(p=79)"} for name in KNOWN},
        "table3_memorization": {"task": "Memorization(n_keys=64)"},
        "figure4_language_loss": {"task": "LanguageModelling(corpus=df5588a5, d_vocab=1024, context_length=64)"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARED)
def test_rows_of_the_papers_sizes_stand_beside_its_numbers_and_no_others(name: str) -> None:
    column, columns = KNOWN[name]["column"], {key: value for key, value in KNOWN[name].items() if key != "column"}
    assert len(paper_vs_ours(COMPARED, {name: runs(column, [0.5, 0.7], **columns)}))
    for toy in TOYS.values():
        assert paper_vs_ours(COMPARED, {name: runs(column, [0.5, 0.7], **{**columns, **toy[name]})}).is_empty()


def test_toys_of_earlier_drawings_that_hold_the_papers_number_do_not_stand_beside_it() -> None:
    table = runs("test_accuracy", [1.0], task="ModularAddition(p=79)", paper_accuracy=1.0, size="wide", d_model=512)
    assert paper_vs_ours(COMPARED, {"table1_accuracy": table}).is_empty()


@pytest.mark.parametrize(
    ("task", "is_the_papers"),
    [
        ("NeedleInAHaystack(max_pairs=30, n_values=127)", True),
        ("NeedleInAHaystack(max_pairs=30, n_values=127, test_rows='validation')", False),
        ("NeedleInAHaystack(max_pairs=30, n_values=16)", False),
        ("DecimalAddition(n_digits=10, score_first_digit=True)", False),
        ("DecimalAddition(n_digits=10, score_first_digit=False)", True),
        ("ModularAddition(p=19)", False),
        ("CircuitImitation(target_d_model=64, target_n_layers=3, target_n_heads=2, target_seed=3, n_tokens=40, "
         "d_vocab=512, scored_positions='last')", True),
        ("SayItAgain(d_vocab=5)", False),
        ("Nothing()", False),
    ],
)  # fmt: skip
def test_tasks_of_the_papers_parameters_are_told_from_others(task: str, is_the_papers: bool) -> None:
    assert is_papers_task(task) == is_the_papers


def test_the_papers_scale_is_at_the_papers_sizes() -> None:
    for budget in (*SCALES["paper"].algorithmic, SCALES["paper"].memorization):
        assert is_papers_task(repr(budget.task))
    for budget in SCALES["quick"].algorithmic:
        assert not is_papers_task(repr(budget.task))


def test_statements_stand_beside_accuracies() -> None:
    table = runs("test_accuracy", [0.25], trainable="unembedding")
    (row,) = paper_vs_ours(COMPARED, {"table2_subsets": table}).iter_rows(named=True)
    assert (row["paper"], row["ours_median"], row["model"]) == ("fails", 25, "unembedding only")
    assert (row["ours_low"], row["n_test_rows"]) == (None, None), "an older table does not count its test rows"


def test_the_widest_models_of_the_better_depth_stand_for_language() -> None:
    columns = {"task": "LanguageModelling(corpus=df5588a5, d_vocab=10000, context_length=512)"}
    table = pl.concat(
        runs("test_loss", [loss], n_layers=depth, d_model=width, trainable=trainable, **columns)
        for depth, width, trainable, loss in (
            (2, 256, "embeddings", 1.0), (2, 512, "embeddings", 3.0), (4, 512, "embeddings", 3.5),
            (2, 512, "all", 2.5), (4, 512, "all", 2.0),
        )
    )  # fmt: skip
    found = paper_vs_ours(COMPARED, {"figure4_language_loss": table})
    assert dict(zip(found["model"], found["ours_median"], strict=True)) == {"random": 3.0, "normal": 2.0}
    assert found["quantity"].str.extract(r"(\d) layers").to_list() == ["2", "4"]
    assert set(found["paper"]) == {f"{number.value:g}" for number in published.LANGUAGE_LOSS.values()}
    assert found["command"].str.contains("--corpus PATH").all()


def test_both_renderings_hold_every_row() -> None:
    tables = {
        "figure3_embeddings": runs("gradient_symmetricity", [0.3, 0.5], distance_irrelevance=0.9),
        "table1_accuracy": runs("test_accuracy", [0.985], **COUNTED),
    }
    found = paper_vs_ours(COMPARED, tables)
    assert len(found) == 3
    for text in (as_html(found, "measures"), as_markdown(found)):
        for told in ("0.4 (0.3 to 0.5)", "98.5 [97.9, 98.9] rows", "2 (1, 2)", "1,981", "p = 199", "1,500 steps × 7"):
            assert told in text
        assert "--scale short --seeds 2 --only figure3_embeddings" in text


@pytest.mark.parametrize(
    ("accuracies", "told"), [((0.99996, 1.0), " (100) "), ((0.5, 0.7), " (50 to 70) "), ((1.0,), "[")]
)
def test_ends_that_are_printed_alike_are_told_once(accuracies: tuple[float, ...], told: str) -> None:
    text = as_markdown(paper_vs_ours(COMPARED, {"table1_accuracy": runs("test_accuracy", list(accuracies), **COUNTED)}))
    assert told in text
    assert "100 to 100" not in text


def test_without_counterparts_it_is_empty() -> None:
    assert paper_vs_ours(COMPARED, {"figure7_width": runs("test_accuracy", [0.5])}).is_empty()


def test_the_page_of_shipped_figures_shows_the_table_that_is_committed() -> None:
    repository = Path(__file__).parents[2]
    path = table_path(NAME, repository / "figures" / "random_transformers")
    committed = pl.read_csv(path, infer_schema_length=None)
    assert as_markdown(committed) in (repository / "figures" / "README.md").read_text(encoding="utf-8")
