"""What a paper reports beside our numbers, from the tables of figures that were drawn."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import polars as pl

from rtinterp.figures import certainty, provenance, style
from rtinterp.figures.commands import command_line
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
    """What is measured, and what the paper says of it.

    Attributes:
        runs: the rows that have our values, one per seed.
        column: of these values.
        paper: empty if the paper gives no number.
        is_accuracy: the values are shares of test rows, which are told as percentages and have an interval.
        on_language: its runs need a corpus.
    """

    quantity: str
    runs: pl.DataFrame
    column: str
    paper: float | str = ""
    is_accuracy: bool = False
    on_language: bool = False


#: What is compared or claimed makes items of the table of one figure.
Compare: TypeAlias = Callable[[pl.DataFrame], Iterable[Item]]

SCHEMA = {
    "figure": pl.String,
    "quantity": pl.String,
    "model": pl.String,
    "paper": pl.String,
    "ours_median": pl.Float64,
    "ours_low": pl.Float64,
    "ours_high": pl.Float64,
    "interval_over": pl.String,
    "ours_min": pl.Float64,
    "ours_max": pl.Float64,
    "n_seeds": pl.Int64,
    "seeds": pl.String,
    "n_test_rows": pl.Int64,
    "scale": pl.String,
    "source": pl.String,
    "task": pl.String,
    "d_model": pl.Int64,
    "n_steps": pl.Int64,
    "batch_size": pl.Int64,
    "device": pl.String,
    "command": pl.String,
}


def paper_vs_ours(compared: Mapping[str, Compare], tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Make one row per number or statement of the paper that a drawn table has a counterpart of.

    Args:
        compared: by figure name.
        tables: by figure name; those without a published counterpart are passed over.
    """
    parts = [summaries(compare(tables[name]), name) for name, compare in compared.items() if name in tables]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *parts])


def summaries(items: Iterable[Item], figure: str = "") -> pl.DataFrame:
    """Make one row per item that has runs: their median, interval and range, and what they are.

    Of one quantity at several scales, the first is taken, which is the largest. With the name of their figure, the rows
    tell the command that makes them.
    """
    rows = pl.DataFrame([_row(item, figure) for item in items if len(item.runs)], schema=SCHEMA)
    return rows.unique(["quantity", "model"], keep="first", maintain_order=True)


def as_html(table: pl.DataFrame, label: str) -> str:
    """Write the rows of ``paper_vs_ours`` or of ``summaries`` as an HTML table, called ``label``."""
    (_, *titles), *rows = _readable(table)
    header, *rows = ([html.escape(cell) for cell in row] for row in (["quantity: model", *titles], *rows))
    return html_table(header, rows, label)


def as_markdown(table: pl.DataFrame) -> str:
    """Write the rows of ``paper_vs_ours`` as a Markdown table."""
    head, *rows = _readable(table)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _readable(table: pl.DataFrame) -> list[list[str]]:
    """The heading, and the cells of every row, without columns of which no cell says anything."""
    ours = "ours: median [95 % interval] (min to max)"
    header = ["", "paper", ours, "seeds", "test rows", "source", "ours at", "budget", "device", "command"]
    rows = [_cells(row) for row in table.iter_rows(named=True)]
    filled = [0, *(column for column in range(1, len(header)) if any(cells[column] for cells in rows))]
    return [[cells[column] for column in filled] for cells in (header, *rows)]


def _cells(row: Mapping[str, Any]) -> list[str]:
    interval = ""
    if row["ours_low"] is not None:
        interval = f" [{row['ours_low']:.3g}, {row['ours_high']:.3g}]" + " rows" * (row["interval_over"] == "rows")
    spread = "" if row["n_seeds"] == 1 else f" ({style.ends(*(f'{row[end]:.3g}' for end in ('ours_min', 'ours_max')))})"
    return [
        f"{row['quantity']}: {row['model']}",
        _text(row["paper"]),
        f"{row['ours_median']:.3g}{interval}{spread}",
        f"{row['n_seeds']} ({row['seeds']})",
        "" if row["n_test_rows"] is None else f"{row['n_test_rows']:,}",
        _text(row["source"]),
        f"{row['scale']} scale, {style.task_parameters(row['task'])}; width {row['d_model']}",
        f"{row['n_steps']:,} steps × {row['batch_size']:,}",
        row["device"],
        _text(row["command"]),
    ]


def _text(value: str | float | None) -> str:
    """What may be a number, or nothing, once a table was written and read again."""
    return "" if value is None else f"{value:g}" if isinstance(value, (int, float)) else value


def _row(item: Item, figure: str) -> dict[str, Any]:
    runs, first = item.runs, item.runs.row(0, named=True)
    factor = 100 if item.is_accuracy else 1
    values, seeds = runs[item.column] * factor, sorted(set(runs["seed"]))
    interval = certainty.interval_of(runs, item.column) if item.is_accuracy else None
    scale = first.get("scale", "")
    return {
        "figure": figure,
        "quantity": item.quantity,
        "model": style.model_name(first["body"], first["trainable"]),
        "paper": item.paper if isinstance(item.paper, str) else f"{item.paper:g}",
        "ours_median": values.median(),
        "ours_low": None if interval is None else interval.low * factor,
        "ours_high": None if interval is None else interval.high * factor,
        "interval_over": None if interval is None else interval.over,
        "ours_min": values.min(),
        "ours_max": values.max(),
        "n_seeds": len(seeds),
        "seeds": _span(seeds),
        "n_test_rows": first.get("n_test_rows") if item.is_accuracy else None,
        "scale": scale,
        "source": provenance.sources_of(runs),
        **{name: first[name] for name in ("task", "d_model", "n_steps", "batch_size")},
        "device": ", ".join(sorted(set(runs["device"]))),
        "command": f"{command_line(scale, len(seeds), with_corpus=item.on_language)} --only {figure}" * bool(figure),
    }


def _span(seeds: Sequence[int]) -> str:
    """``"1 to 5"``, or one by one where some are left out."""
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
