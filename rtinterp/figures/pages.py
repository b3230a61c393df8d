"""The page that lists every figure of a folder, and compares them with the paper."""

from __future__ import annotations

import html
import shlex
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures.figure import Figure
from rtinterp.figures.paper_vs_ours import NAME, as_html
from rtinterp.figures.render import DATA_FOLDER

INDEX_FILE = "index.html"
IFRAME_MARGIN = 20


class Drawn(NamedTuple):
    """A figure, its table and its drawing."""

    figure: Figure
    table: pl.DataFrame
    drawing: go.Figure


def command_line(scale: str, n_seeds: int, *, with_corpus: bool = False) -> str:
    """The command that draws at this scale; where the corpus lies differs from machine to machine."""
    command = f"python analyses/make_figures.py --scale {shlex.quote(scale)} --seeds {n_seeds}"
    return f"{command} --corpus PATH" if with_corpus else command


def command_of(drawn: Drawn) -> str:
    """The command that trains what one drawn figure shows, and draws it."""
    command = "python analyses/make_figures.py"
    if "scale" in drawn.table.columns:
        scale, n_seeds = drawn.table["scale"][0], drawn.table["seed"].n_unique()
        command = command_line(scale, n_seeds, with_corpus=drawn.figure.needs_corpus)
    return f"{command} --only {drawn.figure.name}"


def write_index(drawn: list[Drawn], comparison: pl.DataFrame, out: Path, *, has_images: bool) -> Path:
    """One page with every figure drawn: caption, command, links to table and images; then the paper beside ours."""
    sections = "\n".join(_section(one, has_images) for one in drawn)
    if len(comparison):
        sections += _COMPARISON.format(name=NAME, table=as_html(comparison), data=DATA_FOLDER)
    path = out / INDEX_FILE
    path.write_text(_PAGE.format(sections=sections), encoding="utf-8")
    return path


def _section(drawn: Drawn, has_images: bool) -> str:
    name, layout = drawn.figure.name, drawn.drawing.layout
    links = [f'<a href="{name}.html">interactive</a>', f'<a href="{DATA_FOLDER}/{name}.csv">table (csv)</a>']
    if has_images:
        links += [f'<a href="{name}.{kind}">{kind.upper()}</a>' for kind in ("png", "svg")]
    return _SECTION.format(
        name=name,
        title=html.escape(drawn.figure.title),
        caption=drawn.figure.caption,
        command=html.escape(command_of(drawn)),
        links=" · ".join(links),
        width=layout.width + IFRAME_MARGIN,
        height=layout.height + IFRAME_MARGIN,
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>rtinterp figures</title>
<style>
body {{ font: 16px/1.5 Helvetica, Arial, sans-serif; color: #222; }}
body {{ max-width: 1120px; margin: 2em auto; padding: 0 1em; }}
iframe {{ border: 0; max-width: 100%; }}
section {{ border-top: 1px solid #e6e6e6; margin-top: 2em; }}
table {{ border-collapse: collapse; font-size: 13px; }}
td, th {{ border: 1px solid #e6e6e6; padding: 0.2em 0.5em; text-align: left; }}
code {{ background: #f5f5f5; padding: 0.1em 0.3em; }}
</style>
</head>
<body>
<h1>Random transformers, opened up</h1>
<p>Scale, sizes, budgets, seeds and device stand under each title, the command that makes a figure below it.</p>
{sections}
</body>
</html>
"""

_SECTION = """<section id="{name}">
<h2>{title}</h2>
<p>{caption}</p>
<iframe src="{name}.html" width="{width}" height="{height}" loading="lazy" title="{title}"></iframe>
<p>{links}<br><code>{command}</code></p>
</section>"""

_COMPARISON = """
<section id="{name}">
<h2>The paper beside ours</h2>
<p>What the paper reports, for its own sizes and budgets, beside the median of our runs, minimum to maximum. Read
smaller scales as another experiment than the paper's. <a href="{data}/{name}.csv">table (csv)</a></p>
{table}
</section>"""
