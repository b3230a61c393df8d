"""Which of the paper's numbers stand beside which rows of our tables."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from rtinterp.figures import style
from rtinterp.figures.comparison import Compare, Item
from rtinterp.papers.random_transformers import published


def _said(table: pl.DataFrame, said: str, values: str, quantity: str, factor: float = 1.0) -> Iterator[Item]:
    """Groups of runs beside which the table itself holds what the paper says."""
    known = table.filter(pl.col(said).is_not_null()).with_columns(pl.col(values) * factor)
    for runs in known.partition_by("task", "body", "d_model", "trainable", maintain_order=True):
        paper = runs[said][0]
        task = style.task_title(runs["task"][0])
        narrow = ", narrow" if "size" in runs.columns and runs["size"][0] == "narrow" else ""
        yield Item(f"{task}{narrow}, {quantity}", runs, values, paper if isinstance(paper, str) else paper * factor)


def _geometry(table: pl.DataFrame) -> Iterator[Item]:
    runs = table.unique("seed", maintain_order=True)
    for column, number in published.CIRCUIT_MEASURES.items():
        yield Item(f"Modular addition, {column.replace('_', ' ')}", runs, column, number.value)


def _language(table: pl.DataFrame) -> Iterator[Item]:
    """The paper's best trained model, and its widest random one, which has two layers."""
    widest = table.filter(pl.col("d_model") == pl.col("d_model").max())
    for trainable, number in published.LANGUAGE_LOSS.items():
        runs = widest.filter(pl.col("trainable") == trainable)
        medians = runs.group_by("n_layers").agg(pl.col("test_loss").median()).sort("test_loss")
        n_layers = medians["n_layers"][0]
        best = runs.filter(pl.col("n_layers") == n_layers)
        yield Item(f"Language modelling, nats per token, {n_layers} layers", best, "test_loss", number.value)


def _subsets(table: pl.DataFrame) -> Iterator[Item]:
    """All embeddings together are table 1's."""
    proper = table.filter(pl.col("trainable") != "embeddings")
    return _said(proper, "paper_statement", "test_accuracy", "accuracy, %", 100)


def _memorization(table: pl.DataFrame) -> Iterator[Item]:
    yield from _said(table, "paper_recall", "recall", "pairs recalled, %", 100)
    yield from _said(table, "paper_bits_per_parameter", "bits_per_parameter", "bits per trainable parameter")


COMPARED: dict[str, Compare] = {
    "table1_accuracy": lambda table: _said(table, "paper_accuracy", "test_accuracy", "accuracy, %", 100),
    "table2_subsets": _subsets,
    "table3_memorization": _memorization,
    "figure3_embeddings": _geometry,
    "figure4_language_loss": _language,
}
