"""Tables of a page: what plotly draws as a table, and what is compared, as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go

#: What ends a line of prose, for plotly, which does not; in other cells, a break stands beside smaller print.
_SOFT_BREAK = r"(?<!>)<br>(?!<)"
#: The tags that plotly knows and ``rtinterp.figures.style`` writes; all else is text.
_TAG = r"/?(?:b|i|sub|sup)>|br>|span style='[\w:;#. -]*'>|/span>"


def markup(text: object) -> str:
    """Make HTML of text in plotly's markup."""
    return re.sub(rf"<(?!{_TAG})", "&lt;", str(text))


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], label: str) -> str:
    """Write a table of cells that are HTML, in a box that alone scrolls where the table is wider than the page.

    Args:
        label: what a screen reader calls it; plain text.
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "\n".join(_row(row) for row in rows)
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{html.escape(label)}">\n'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def table_of(drawing: go.Figure, label: str) -> str | None:
    """Write a drawing as an HTML table if it is a table whose cells are texts; None for others."""
    figure = drawing.to_dict()
    if [trace["type"] for trace in figure["data"]] != ["table"]:
        return None
    (trace,) = figure["data"]
    columns = trace["cells"]["values"]
    if not all(isinstance(cell, str) for column in columns for cell in column):
        return None
    rows = ([markup(re.sub(_SOFT_BREAK, " ", cell)) for cell in row] for row in zip(*columns, strict=True))
    return html_table([markup(cell) for cell in trace["header"]["values"]], rows, label)


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'
