"""Which of the paper's numbers stand beside which rows of our tables: those of its own sizes, and no others."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from rtinterp.figures import style
from rtinterp.figures.accuracies import Said
from rtinterp.figures.comparison import Compare, Item
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.paper_sizes import at_paper_size

#: Of runs that belong together.
MODEL = ("scale", "task", "body", "d_model", "trainable", "n_steps", "batch_size")


def _accuracies(table: pl.DataFrame, said: Said) -> Iterator[Item]:
    """Groups of runs of which the paper says something, which it says of its own sizes alone."""
    for runs in table.partition_by(MODEL, maintain_order=True):
        paper = said(runs.row(0, named=True))
        if paper is not None:
            narrow = ", narrow" if runs["d_model"][0] == published.PAPER_WIDTHS["narrow"] else ""
            quantity = f"{style.task_title(runs['task'][0])}{narrow}, accuracy, %"
            number = paper if isinstance(paper, str) else paper * 100
            yield Item(quantity, runs, "test_accuracy", number, is_accuracy=True)


def _subsets(table: pl.DataFrame) -> Iterator[Item]:
    """All embeddings together are table 1's."""
    return _accuracies(table.filter(pl.col("trainable") != "embeddings"), published.statement)


def _memorization(table: pl.DataFrame) -> Iterator[Item]:
    of_size = table.filter(at_paper_size(table, [published.MEMORIZATION_WIDTH]))
    for said, column, quantity, factor in (
        ("paper_recall", "recall", "pairs recalled, %", 100),
        ("paper_bits_per_parameter", "bits_per_parameter", "bits per trainable parameter", 1),
    ):
        known = of_size.filter(pl.col(said).is_not_null()).with_columns(pl.col(column) * factor)
        for runs in known.partition_by(MODEL, maintain_order=True):
            yield Item(f"Memorization, {quantity}", runs, column, runs[said][0] * factor)


def _geometry(table: pl.DataFrame) -> Iterator[Item]:
    runs = table.filter(at_paper_size(table, [published.PAPER_WIDTHS["wide"]])).unique("seed", maintain_order=True)
    for column, number in published.CIRCUIT_MEASURES.items():
        yield Item(f"Modular addition, {column.replace('_', ' ')}", runs, column, number.value)


def _language(table: pl.DataFrame) -> Iterator[Item]:
    """The paper's best trained model, and its widest random one, which has two layers; no text is told apart."""
    widest = table.filter(at_paper_size(table, [published.LANGUAGE_WIDTH]))
    for trainable, number in published.LANGUAGE_LOSS.items():
        runs = widest.filter(pl.col("trainable") == trainable)
        if len(runs):
            medians = runs.group_by("n_layers").agg(pl.col("test_loss").median()).sort("test_loss")
            n_layers = medians["n_layers"][0]
            best = runs.filter(pl.col("n_layers") == n_layers)
            quantity = f"Language modelling, nats per token, {n_layers} layers"
            yield Item(quantity, best, "test_loss", number.value, on_language=True)


COMPARED: dict[str, Compare] = {
    "table1_accuracy": lambda table: _accuracies(table, published.accuracy),
    "table2_subsets": _subsets,
    "table3_memorization": _memorization,
    "figure3_embeddings": _geometry,
    "figure4_language_loss": _language,
}
