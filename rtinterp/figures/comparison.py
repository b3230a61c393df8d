"""What a paper reports beside our numbers, from the tables of figures that were drawn."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import polars as pl

from rtinterp.figures import provenance, style
from rtinterp.figures.html_tables import html_table

NAME = "paper_vs_ours"


@dataclasses.dataclass(frozen=True)
class Published:
    """A number or statement of a paper, and where it was read.

    Attributes:
        source: where in the paper.
        basis: "read" there or in the official code, "second-hand", or "unconfirmed", which is never printed.
    """

    value: float | str
    source: str
    basis: Literal["read", "second-hand", "unconfirmed"]

    @property
    def printable(self) -> bool:
        return self.basis != "unconfirmed"


class Item(NamedTuple):
    """What is measured, the rows and the column that have our values, and what the paper says, if it gives a number."""

    quantity: str
    runs: pl.DataFrame
    column: str
    paper: float | str = ""


#: What is compared or claimed makes items of the table of one figure.
Compare: TypeAlias = Callable[[pl.DataFrame], Iterable[Item]]

SCHEMA = {
    "quantity": pl.String,
    "model": pl.String,
    "paper": pl.String,
    "ours_median": pl.Float64,
    "ours_min": pl.Float64,
    "ours_max": pl.Float64,
    "n_seeds": pl.Int64,
    "scale": pl.String,
    "source": pl.String,
    "task": pl.String,
    "d_model": pl.Int64,
    "n_steps": pl.Int64,
    "batch_size": pl.Int64,
    "device": pl.String,
}


def paper_vs_ours(compared: Mapping[str, Compare], tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Make one row per number or statement of the paper that a drawn table has a counterpart of.

    Args:
        compared: by figure name.
        tables: by figure name; those without a published counterpart are passed over.
    """
    items = (item for name, compare in compared.items() if name in tables for item in compare(tables[name]))
    return summaries(items)


def summaries(items: Iterable[Item]) -> pl.DataFrame:
    """Make one row per item that has runs: their median and range, and what they are.

    Of one quantity at several scales, the first is taken, which is the largest.
    """
    rows = pl.DataFrame([_row(item) for item in items if len(item.runs)], schema=SCHEMA)
    return rows.unique(["quantity", "model"], keep="first", maintain_order=True)


def as_html(table: pl.DataFrame, label: str) -> str:
    """Write the rows of ``paper_vs_ours`` or of ``summaries`` as an HTML table, called ``label``."""
    (_, *titles), *rows = _readable(table)
    header = ["quantity: model", *titles]
    filled = [column for column, cells in enumerate(zip(*rows, strict=True)) if any(cells)]
    header, *rows = ([html.escape(cells[column]) for column in filled] for cells in (header, *rows))
    return html_table(header, rows, label)


def as_markdown(table: pl.DataFrame) -> str:
    """Write the rows of ``paper_vs_ours`` as a Markdown table."""
    head, *rows = _readable(table)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _readable(table: pl.DataFrame) -> Iterator[list[str]]:
    """The heading, and the cells of every row; a table that has no sources tells none."""
    sources = ["source"] * ("source" in table.columns)
    yield ["", "paper", "ours: median (min to max)", "seeds", *sources, "ours at", "budget", "device"]
    for row in table.iter_rows(named=True):
        spread = "" if row["n_seeds"] == 1 else f" ({row['ours_min']:.3g} to {row['ours_max']:.3g})"
        yield [
            f"{row['quantity']}: {row['model']}",
            row["paper"],
            f"{row['ours_median']:.3g}{spread}",
            str(row["n_seeds"]),
            *(row[name] for name in sources),
            f"{row['scale']} scale, {style.task_parameters(row['task'])}; width {row['d_model']}",
            f"{row['n_steps']:,} steps × {row['batch_size']:,}",
            row["device"],
        ]


def _row(item: Item) -> dict[str, Any]:
    values, first = item.runs[item.column], item.runs.row(0, named=True)
    return {
        "quantity": item.quantity,
        "model": style.model_name(first["body"], first["trainable"]),
        "paper": item.paper if isinstance(item.paper, str) else f"{item.paper:g}",
        "ours_median": values.median(),
        "ours_min": values.min(),
        "ours_max": values.max(),
        "n_seeds": item.runs["seed"].n_unique(),
        "source": provenance.sources_of(item.runs),
        **{name: first[name] for name in ("scale", "task", "d_model", "n_steps", "batch_size", "device")},
    }
