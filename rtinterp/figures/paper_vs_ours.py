"""The paper's numbers beside ours, from the tables of figures that were drawn."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import polars as pl

from rtinterp.figures import published, style

NAME = "paper_vs_ours"
#: What is compared, which rows have our values, in which column, and what the paper says.
Item: TypeAlias = tuple[str, pl.DataFrame, str, "float | str"]

SCHEMA = {
    "quantity": pl.String,
    "model": pl.String,
    "paper": pl.String,
    "ours_median": pl.Float64,
    "ours_min": pl.Float64,
    "ours_max": pl.Float64,
    "n_seeds": pl.Int64,
    "scale": pl.String,
    "task": pl.String,
    "d_model": pl.Int64,
    "n_steps": pl.Int64,
    "batch_size": pl.Int64,
    "device": pl.String,
}


def paper_vs_ours(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """One row per number or statement of the paper that a drawn table has a counterpart of.

    Args:
        tables: by figure name; those without a published counterpart are passed over.
    """
    items = [item for name, compare in COMPARED.items() if name in tables for item in compare(tables[name])]
    return pl.DataFrame([_row(*item) for item in items], schema=SCHEMA)


def as_html(table: pl.DataFrame) -> str:
    """The rows as an HTML table."""
    head = "".join(f"<th>{title}</th>" for title in READABLE)
    body = "\n".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in _readable(table))
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"


def as_markdown(table: pl.DataFrame) -> str:
    """The rows as a Markdown table."""
    lines = [READABLE, ["---"] * len(READABLE), *_readable(table)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


READABLE = ["", "paper", "ours: median (min to max)", "seeds", "ours at", "budget", "device"]


def _readable(table: pl.DataFrame) -> Iterator[list[str]]:
    for row in table.iter_rows(named=True):
        spread = "" if row["n_seeds"] == 1 else f" ({row['ours_min']:.3g} to {row['ours_max']:.3g})"
        yield [
            f"{row['quantity']}: {row['model']}",
            row["paper"],
            f"{row['ours_median']:.3g}{spread}",
            str(row["n_seeds"]),
            f"{row['scale']} scale, {style.task_parameters(row['task'])}; width {row['d_model']}",
            f"{row['n_steps']:,} steps × {row['batch_size']:,}",
            row["device"],
        ]


def _row(quantity: str, runs: pl.DataFrame, column: str, paper: float | str) -> dict[str, Any]:
    values, first = runs[column], runs.row(0, named=True)
    return {
        "quantity": quantity,
        "model": style.model_name(first["body"], first["trainable"]),
        "paper": paper if isinstance(paper, str) else f"{paper:g}",
        "ours_median": values.median(),
        "ours_min": values.min(),
        "ours_max": values.max(),
        "n_seeds": runs["seed"].n_unique(),
        **{name: first[name] for name in ("scale", "task", "d_model", "n_steps", "batch_size", "device")},
    }


def _said(table: pl.DataFrame, said: str, values: str, quantity: str, factor: float = 1.0) -> Iterator[Item]:
    """Groups of runs beside which the table itself holds what the paper says."""
    known = table.filter(pl.col(said).is_not_null()).with_columns(pl.col(values) * factor)
    for runs in known.partition_by("task", "body", "d_model", "trainable", maintain_order=True):
        paper = runs[said][0]
        task = style.task_title(runs["task"][0])
        narrow = ", narrow" if "size" in runs.columns and runs["size"][0] == "narrow" else ""
        yield f"{task}{narrow}, {quantity}", runs, values, paper if isinstance(paper, str) else paper * factor


def _geometry(table: pl.DataFrame) -> Iterator[Item]:
    runs = table.unique("seed", maintain_order=True)
    symmetricity, irrelevance = published.GRADIENT_SYMMETRICITY.value, published.DISTANCE_IRRELEVANCE.value
    yield "Modular addition, gradient symmetricity", runs, "gradient_symmetricity", symmetricity
    yield "Modular addition, distance irrelevance", runs, "distance_irrelevance", irrelevance


def _language(table: pl.DataFrame) -> Iterator[Item]:
    """The paper's best trained model, and its widest random one, which has two layers."""
    widest = table.filter(pl.col("d_model") == pl.col("d_model").max())
    for trainable, number in published.LANGUAGE_LOSS.items():
        runs = widest.filter(pl.col("trainable") == trainable)
        medians = runs.group_by("n_layers").agg(pl.col("test_loss").median()).sort("test_loss")
        best = runs.filter(pl.col("n_layers") == medians["n_layers"][0])
        yield f"Language modelling, nats per token, {medians['n_layers'][0]} layers", best, "test_loss", number.value


def _subsets(table: pl.DataFrame) -> Iterator[Item]:
    """All embeddings together are table 1's."""
    proper = table.filter(pl.col("trainable") != "embeddings")
    return _said(proper, "paper_statement", "test_accuracy", "accuracy, %", 100)


def _memorization(table: pl.DataFrame) -> Iterator[Item]:
    yield from _said(table, "paper_recall", "recall", "pairs recalled, %", 100)
    yield from _said(table, "paper_bits_per_parameter", "bits_per_parameter", "bits per trainable parameter")


COMPARED: dict[str, Callable[[pl.DataFrame], Iterable[Item]]] = {
    "table1_accuracy": lambda table: _said(table, "paper_accuracy", "test_accuracy", "accuracy, %", 100),
    "table2_subsets": _subsets,
    "table3_memorization": _memorization,
    "figure3_embeddings": _geometry,
    "figure4_language_loss": _language,
}
