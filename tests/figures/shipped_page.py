"""The page of the tables that come with the repository, drawn in seconds."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from rtinterp.figures.comparison import paper_vs_ours
from rtinterp.figures.pages import Drawn, write_index
from rtinterp.figures.render import table_path, write_html, write_table
from rtinterp.papers.random_transformers import PAPER

SHIPPED = Path(__file__).parents[2] / "figures" / PAPER.name


def shipped_table(name: str) -> pl.DataFrame:
    return pl.read_csv(table_path(name, SHIPPED), infer_schema_length=None)


def write_shipped_page(out: Path) -> Path:
    """Draw all figures into a folder, without images."""
    tables = {name: shipped_table(name) for name in PAPER.figures}
    drawn = [Drawn(PAPER, figure, tables[name], figure.plot(tables[name])) for name, figure in PAPER.figures.items()]
    for one in drawn:
        write_html(one.drawing, one.figure.name, out / PAPER.name)
        write_table(one.table, one.figure.name, out / PAPER.name)
    return write_index(drawn, {PAPER.name: paper_vs_ours(PAPER.compared, tables)}, out)
