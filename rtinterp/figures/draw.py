"""From a run store to a folder of figures: train what is missing, compute, write, and list it all in one page."""

from __future__ import annotations

import html
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import plotly.graph_objects as go
from rich.console import Console

from rtinterp.figures.figure import Figure
from rtinterp.figures.render import write_html, write_images, write_table
from rtinterp.store import RunStore, StoreError
from rtinterp.tasks import Corpus

INDEX_FILE = "index.html"
IFRAME_MARGIN = 20


def draw(
    figures: Sequence[Figure],
    store: RunStore,
    out: Path,
    *,
    scale: str,
    n_seeds: int,
    corpus: Corpus | None = None,
    device: str | None = None,
    retry_failed: bool = False,
) -> None:
    """Write csv, HTML and images of every figure; runs that the store has are not trained again.

    Args:
        retry_failed: train runs again that diverged before.

    Raises:
        NoCorpusError: a figure is about language, and there is no corpus. Nothing is trained then.
        StoreError: a run diverged, or is damaged in the store, or cannot be saved.
        ValueError: the corpus is too small for the scale, or the device is not there.
    """
    console = Console(stderr=True)
    specs_of = {figure.name: figure.specs(scale, n_seeds, corpus) for figure in figures}
    drawn: dict[str, go.Figure] = {}
    left_out: dict[str, StoreError] = {}
    for figure in figures:
        specs = specs_of[figure.name]
        missing = store.missing(specs, retry_failed=retry_failed)
        if missing:
            console.print(f"{figure.name}: training {len(missing)} of {len(specs)} runs", highlight=False)
        store.train_missing(specs, device=device, retry_failed=retry_failed)
        try:
            runs = [store.load(spec.run_id) for spec in specs]
        except StoreError as error:
            console.print(f"{figure.name}: not drawn: {error}", highlight=False, soft_wrap=True, markup=False)
            left_out[figure.name] = error
            continue
        table = figure.compute(runs)
        write_table(table, figure.name, out)
        drawn[figure.name] = figure.plot(table)
        page = write_html(drawn[figure.name], figure.name, out)
        console.print(f"{figure.name}: {page}", highlight=False, soft_wrap=True)
    if not drawn:
        _raise_if(left_out, store)
    note = write_images(drawn, out)
    if note:
        console.print(f"No PNG and SVG images: {note}. The HTML pages are complete.", highlight=False, soft_wrap=True)
    index = write_index(
        [figure for figure in figures if figure.name in drawn],
        drawn,
        out,
        scale=scale,
        n_seeds=n_seeds,
        with_corpus=corpus is not None,
        has_images=note is None,
    )
    console.print(f"All figures: {index}", highlight=False, soft_wrap=True)
    _raise_if(left_out, store)


def _raise_if(left_out: dict[str, StoreError], store: RunStore) -> None:
    if left_out:
        raise StoreError(
            f"not drawn: {', '.join(left_out)}; {next(iter(left_out.values()))}. A run that is damaged is trained again "
            f"once its folder in {store.path} is moved away, one that failed by --retry-failed"
        )


def command_line(scale: str, n_seeds: int, *, with_corpus: bool = False) -> str:
    """The command that draws at this scale; where the corpus lies differs from machine to machine."""
    command = f"python analyses/make_figures.py --scale {shlex.quote(scale)} --seeds {n_seeds}"
    return f"{command} --corpus PATH" if with_corpus else command


def write_index(
    figures: Iterable[Figure],
    drawn: dict[str, go.Figure],
    out: Path,
    *,
    scale: str,
    n_seeds: int,
    with_corpus: bool,
    has_images: bool,
) -> Path:
    """One page with every figure drawn: caption, command, links to table and images."""
    sections = "\n".join(
        _section(figure, drawn[figure.name], command_line(scale, n_seeds, with_corpus=figure.needs_corpus), has_images)
        for figure in figures
    )
    command = command_line(scale, n_seeds, with_corpus=with_corpus)
    path = out / INDEX_FILE
    path.write_text(_PAGE.format(sections=sections, command=html.escape(command)), encoding="utf-8")
    return path


def _section(figure: Figure, drawn: go.Figure, command: str, has_images: bool) -> str:
    links = [f'<a href="{figure.name}.html">interactive</a>', f'<a href="data/{figure.name}.csv">table (csv)</a>']
    if has_images:
        links += [f'<a href="{figure.name}.{kind}">{kind.upper()}</a>' for kind in ("png", "svg")]
    return _SECTION.format(
        name=figure.name,
        title=html.escape(figure.title),
        caption=figure.caption,
        command=html.escape(f"{command} --only {figure.name}"),
        links=" · ".join(links),
        width=drawn.layout.width + IFRAME_MARGIN,
        height=drawn.layout.height + IFRAME_MARGIN,
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
code {{ background: #f5f5f5; padding: 0.1em 0.3em; }}
</style>
</head>
<body>
<h1>Random transformers, opened up</h1>
<p>Made by <code>{command}</code>. Sizes, budgets, seeds and device stand under each title.</p>
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
