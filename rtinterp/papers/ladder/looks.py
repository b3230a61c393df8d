"""What the figures of the ladder share: titles of rungs, and the line under a heading."""

from __future__ import annotations

import re

import polars as pl

from rtinterp.figures import provenance, style

#: Parameters that go without saying, since all rungs have them alike.
_UNTOLD = re.compile(r", (test_rows|short_strings|score_first_digit)=('[\w ]+'|\w+)")


def rung_name(task: str, dial: str, value: int) -> str:
    """Name a rung shortly: ``"K-hop induction, k = 2"``, with the group where there is one."""
    group = re.search(r"group='(\w+)'", task)
    return f"{style.task_title(task)}{f' {group[1]}' if group else ''}, {dial} = {value}"


def family(task: str) -> str:
    """Name what one dial is turned of: the task, and the group where there is one."""
    group = re.search(r"group='(\w+)'", task)
    return f"{style.task_title(task)}{f' {group[1]}' if group else ''}"


def rung_title(table: pl.DataFrame) -> str:
    """Make the title of a panel from rows of one rung: its name, and below it what it was trained for."""
    row = table.row(0, named=True)
    steps = table.select("trainable", "n_steps").unique(maintain_order=True)
    told = ", ".join(f"{n_steps:,} steps ({_WORDS.get(kind, kind)})" for kind, n_steps in steps.iter_rows())
    return rung_name(row["task"], row["dial"], row["value"]) + style.small(f"{told}, {row['n_test_rows']:,} test rows")


_WORDS = {"embeddings": "random", "all": "fully trained"}


def budgets(table: pl.DataFrame) -> str:
    """Tell scales, seeds, sources, widths, batch sizes and devices of a table's rows."""
    parts = table.partition_by("scale", maintain_order=True) if "scale" in table.columns else [table]
    return "<br>".join(map(_line, parts))


def _line(table: pl.DataFrame) -> str:
    widths, batches = (", ".join(map(str, table[name].unique().sort())) for name in ("d_model", "batch_size"))
    devices = ", ".join(sorted(set(table["device"])))
    return f"{', '.join(provenance.standing(table))} · width {widths} · batches of {batches} · {devices}"
