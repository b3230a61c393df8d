"""The page of everything that was drawn: what is claimed, the papers' numbers beside ours, and every figure."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import NamedTuple

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures.claims import Claim, Finding, findings
from rtinterp.figures.commands import PROGRAM, command_line
from rtinterp.figures.comparison import NAME, as_html
from rtinterp.figures.figure import Figure
from rtinterp.figures.fluid import fluid, subtitle_of
from rtinterp.figures.html_tables import markup, table_of
from rtinterp.figures.images import IMAGE_FORMATS
from rtinterp.figures.paper import Paper
from rtinterp.figures.render import DATA_FOLDER, write_aside

INDEX_FILE = "index.html"


class Drawn(NamedTuple):
    """A figure of a paper, its table and its drawing."""

    paper: Paper
    figure: Figure
    table: pl.DataFrame
    drawing: go.Figure


def command_of(drawn: Drawn) -> str:
    """Return the command that trains what one drawn figure shows, and draws it; what has several scales is stored."""
    command = PROGRAM
    if "scale" in drawn.table.columns and drawn.table["scale"].n_unique() == 1:
        scale, n_seeds = drawn.table["scale"][0], drawn.table["seed"].n_unique()
        command = command_line(scale, n_seeds, with_corpus=drawn.paper.needs_corpus(drawn.figure))
    return f"{command} --only {drawn.figure.name}"


def write_index(drawn: Sequence[Drawn], comparisons: Mapping[str, pl.DataFrame], out: Path) -> Path:
    """Write the page, which links what is there of each figure's files, and needs the plotly.min.js of ``write_html``.

    Args:
        drawn: all figures that it shows, those of a paper in a row.
        comparisons: by name of the paper.
    """
    papers = {paper: list(of) for paper, of in itertools.groupby(drawn, key=lambda one: one.paper)}
    sections = [*_claims(papers), *_comparisons(papers, comparisons), _list(papers), *_papers(papers, out)]
    parts = files("rtinterp.figures") / "page"
    style, script, page = (parts.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html"))
    text = Template(page).substitute(style=style, script=script, sections="\n".join(sections))
    return write_aside(out / INDEX_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def _claims(papers: Mapping[Paper, Sequence[Drawn]]) -> Iterator[str]:
    found = {
        paper: list(findings(paper.claims, {one.figure.name: one.table for one in of_paper}))
        for paper, of_paper in papers.items()
    }
    if not any(found.values()):
        return
    yield f'<section id="claims">\n{_CLAIMS_HEADING}'
    for paper, of_paper in found.items():
        if of_paper:
            of_claims = itertools.groupby(of_paper, key=lambda finding: finding.claim)
            items = "\n".join(_claim(paper, claim, list(of_claim)) for claim, of_claim in of_claims)
            yield f'<h3>{html.escape(paper.title)}</h3>\n<ol class="claims">\n{items}\n</ol>'
    yield "</section>"


def _claim(paper: Paper, claim: Claim, of_sizes: Sequence[Finding]) -> str:
    title = html.escape(paper.listed[claim.figure].title)
    return _CLAIM.format(
        published=html.escape(claim.published),
        found="\n".join(_finding(one, title) for one in of_sizes),
        rule=html.escape(claim.rule),
        name=claim.figure,
        title=title,
        csv=f"{paper.name}/{DATA_FOLDER}/{claim.figure}.csv",
    )


def _finding(finding: Finding, title: str) -> str:
    verdict, sentence = html.escape(finding.verdict_in_words), markup(finding.sentence("<b>{}</b>"))
    text = _FINDING.format(size=finding.size, verdict=verdict, sentence=sentence)
    if finding.rows.is_empty():
        return text
    return f"{text}\n{_ROWS.format(rows=as_html(finding.rows, f'Rows of {title}, {finding.size}'))}"


def _comparisons(papers: Mapping[Paper, Sequence[Drawn]], comparisons: Mapping[str, pl.DataFrame]) -> Iterator[str]:
    compared = [paper for paper in papers if len(comparisons[paper.name])]
    if not compared:
        return
    yield f'<section id="comparison">\n{_COMPARISON_HEADING}'
    for paper in compared:
        title = html.escape(paper.title)
        table = as_html(comparisons[paper.name], f"{title}: the paper beside ours")
        yield f'<h3 id="{paper.name}-{NAME}">{title}</h3>\n{table}'
        yield f'<p class="files"><a href="{paper.name}/{DATA_FOLDER}/{NAME}.csv">table (csv)</a></p>'
    yield "</section>"


def _list(papers: Mapping[Paper, Sequence[Drawn]]) -> str:
    """Jump to any figure."""
    lines = ['<nav id="figures" aria-labelledby="figures-title">\n<h2 id="figures-title">Figures and tables</h2>']
    for paper, of_paper in papers.items():
        lines.append(f'<h3><a href="#{paper.name}">{html.escape(paper.title)}</a></h3>\n<ul>')
        lines += (f'<li><a href="#{one.figure.name}">{html.escape(one.figure.title)}</a></li>' for one in of_paper)
        lines.append("</ul>")
    return "\n".join([*lines, "</nav>"])


def _papers(papers: Mapping[Paper, Sequence[Drawn]], out: Path) -> Iterator[str]:
    for paper, of_paper in papers.items():
        yield f'<section id="{paper.name}">\n<h2>{html.escape(paper.title)}</h2>'
        yield from (_section(one, out) for one in of_paper)
        yield "</section>"


def _section(drawn: Drawn, out: Path) -> str:
    name, folder, title = drawn.figure.name, drawn.paper.name, html.escape(drawn.figure.title)
    names = {"interactive": f"{name}.html", "table (csv)": f"{DATA_FOLDER}/{name}.csv"}
    names |= {kind.upper(): f"{name}.{kind}" for kind in IMAGE_FORMATS}
    there = {text: f"{folder}/{file}" for text, file in names.items() if (out / folder / file).is_file()}
    links = (f'<a href="{file}" aria-label="{title}: {text}">{text}</a>' for text, file in there.items())
    subtitle = subtitle_of(drawn.drawing)
    image = f'<noscript><img src="{there["PNG"]}" alt="{_words(drawn)}"></noscript>' if "PNG" in there else ""
    return _SECTION.format(
        name=name,
        title=title,
        caption=drawn.figure.caption,
        standing=f'<p class="standing">{markup(subtitle)}</p>\n' if subtitle else "",
        drawing=table_of(drawn.drawing, drawn.figure.title) or _plot(drawn) + image,
        links=" · ".join(links),
        command=html.escape(command_of(drawn)),
    )


def _plot(drawn: Drawn) -> str:
    """The place of a plot, and what plotly.js draws there."""
    json, wide, narrow = fluid(drawn.drawing)
    return _PLOT.format(words=_words(drawn), wide=wide, narrow=narrow, json=json)


def _words(drawn: Drawn) -> str:
    """What a plot is to those who do not see it."""
    caption = html.unescape(re.sub(r"<[^>]*>", "", drawn.figure.caption))
    return html.escape(f"{drawn.figure.title}. {caption}")


_CLAIMS_HEADING = """<h2>What is claimed, and whether it holds here</h2>
<p class="note">Each verdict is computed from the rows by the rule below it, apart for runs of the paper's own sizes,
under our budgets, and for smaller ones, which are other experiments. What no run decides cannot be told.</p>"""

_COMPARISON_HEADING = """<h2>The paper beside ours</h2>
<p class="note">What a paper reports, beside the median of our runs of the very same sizes: in brackets its 95 %
interval over test rows and seeds, then minimum to maximum. Budgets are ours, and stand in the row, with the command
that makes it. Runs of smaller sizes are another experiment, and do not stand here.</p>"""

_CLAIM = """<li>
<p class="published">{published}</p>
{found}
<p class="note">It holds if {rule}. <a href="#{name}">{title}</a>, <a href="{csv}">all rows (csv)</a></p>
</li>"""

_FINDING = """<p>At {size}: <b>{verdict}</b>. {sentence}</p>"""

_ROWS = """<details>
<summary>The rows behind it</summary>
{rows}
</details>"""

_SECTION = """<section class="figure" id="{name}" aria-labelledby="{name}-title">
<h3 id="{name}-title">{title}</h3>
<p class="caption">{caption}</p>
{standing}<figure aria-labelledby="{name}-title">
{drawing}
</figure>
<p class="files">{links}<span class="up"> · <a href="#figures">list of figures</a></span><br>
<code>{command}</code></p>
</section>"""

_PLOT = """<div class="plot" role="img" style="--wide-height: {wide}px; --narrow-height: {narrow}px"
 aria-label="{words}"></div>
<script type="application/json">{json}</script>"""
