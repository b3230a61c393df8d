"""The page that lists every figure that was drawn, paper by paper, and compares them with what the papers report."""

from __future__ import annotations

import html
import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures.comparison import NAME, as_html
from rtinterp.figures.figure import Figure
from rtinterp.figures.paper import Paper
from rtinterp.figures.render import DATA_FOLDER, IMAGE_FORMATS

INDEX_FILE = "index.html"
IFRAME_MARGIN = 20
#: Of a drawing that does not set its own, in pixels; plotly's.
DEFAULT_WIDTH, DEFAULT_HEIGHT = 700, 450


class Drawn(NamedTuple):
    """A figure of a paper, its table and its drawing."""

    paper: Paper
    figure: Figure
    table: pl.DataFrame
    drawing: go.Figure


def command_line(scale: str, n_seeds: int, *, with_corpus: bool = False) -> str:
    """Return the command that draws at this scale; where the corpus lies differs from machine to machine."""
    command = f"python analyses/make_figures.py --scale {shlex.quote(scale)} --seeds {n_seeds}"
    return f"{command} --corpus PATH" if with_corpus else command


def command_of(drawn: Drawn) -> str:
    """Return the command that trains what one drawn figure shows, and draws it."""
    command = "python analyses/make_figures.py"
    if "scale" in drawn.table.columns:
        scale, n_seeds = drawn.table["scale"][0], drawn.table["seed"].n_unique()
        command = command_line(scale, n_seeds, with_corpus=drawn.paper.needs_corpus(drawn.figure))
    return f"{command} --only {drawn.figure.name}"


def write_index(
    drawn: Sequence[Drawn], comparisons: Mapping[str, pl.DataFrame], out: Path, *, has_images: bool
) -> Path:
    """Write one page with every figure drawn, under its paper: caption, command, links; then the paper beside ours.

    Args:
        comparisons: by name of the paper.
    """
    path = out / INDEX_FILE
    sections = "\n".join(_sections(drawn, comparisons, has_images))
    path.write_text(_PAGE.format(sections=sections), encoding="utf-8")
    return path


def _sections(drawn: Sequence[Drawn], comparisons: Mapping[str, pl.DataFrame], has_images: bool) -> Iterator[str]:
    for paper, of_paper in itertools.groupby(drawn, key=lambda one: one.paper):
        yield _PAPER.format(name=paper.name, title=html.escape(paper.title))
        yield from (_section(one, has_images) for one in of_paper)
        comparison = comparisons[paper.name]
        if len(comparison):
            yield _COMPARISON.format(paper=paper.name, name=NAME, table=as_html(comparison), data=DATA_FOLDER)


def _section(drawn: Drawn, has_images: bool) -> str:
    name, folder, layout = drawn.figure.name, drawn.paper.name, drawn.drawing.to_dict()["layout"]
    files = {"interactive": f"{name}.html", "table (csv)": f"{DATA_FOLDER}/{name}.csv"}
    if has_images:
        files |= {kind.upper(): f"{name}.{kind}" for kind in IMAGE_FORMATS}
    links = (f'<a href="{folder}/{file}">{text}</a>' for text, file in files.items())
    return _SECTION.format(
        name=name,
        folder=folder,
        title=html.escape(drawn.figure.title),
        caption=drawn.figure.caption,
        command=html.escape(command_of(drawn)),
        links=" · ".join(links),
        width=layout.get("width", DEFAULT_WIDTH) + IFRAME_MARGIN,
        height=layout.get("height", DEFAULT_HEIGHT) + IFRAME_MARGIN,
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

_PAPER = """<h2 id="{name}">{title}</h2>"""

_SECTION = """<section id="{name}">
<h3>{title}</h3>
<p>{caption}</p>
<iframe src="{folder}/{name}.html" width="{width}" height="{height}" loading="lazy" title="{title}"></iframe>
<p>{links}<br><code>{command}</code></p>
</section>"""

_COMPARISON = """
<section id="{paper}-{name}">
<h3>The paper beside ours</h3>
<p>What the paper reports, for its own sizes and budgets, beside the median of our runs, minimum to maximum. Read
smaller scales as another experiment than the paper's. <a href="{paper}/{data}/{name}.csv">table (csv)</a></p>
{table}
</section>"""
