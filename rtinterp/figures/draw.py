"""From runs to a folder of figures: compute, write, and list it all in one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
from rich.console import Console

from rtinterp.figures import paper_vs_ours
from rtinterp.figures.figure import Figure, with_scale
from rtinterp.figures.pages import Drawn, write_index
from rtinterp.figures.render import write_html, write_images, write_table
from rtinterp.figures.stored_tables import best_stored_table
from rtinterp.store import RunStore
from rtinterp.tasks import Corpus


def draw(
    figures: Sequence[Figure],
    store: RunStore,
    out: Path,
    *,
    scale: str,
    n_seeds: int,
    corpus: Corpus | None = None,
    device: str | None = None,
) -> None:
    """Write csv, HTML and images of every figure; runs that the store has are not trained again.

    Raises:
        NoCorpusError: a figure is about language, and there is no corpus. Nothing is trained then.
        StoreError: a run in the store is damaged, or one cannot be saved.
        ValueError: the corpus is too small for the scale, or the device is not there.
    """
    console = Console(stderr=True)
    specs_of = {figure.name: figure.specs(scale, n_seeds, corpus) for figure in figures}

    def trained_table(figure: Figure) -> pl.DataFrame:
        specs = specs_of[figure.name]
        if not specs:
            return figure.compute([])
        missing = store.missing(specs)
        if missing:
            console.print(f"{figure.name}: training {len(missing)} of {len(specs)} runs", highlight=False)
        store.train_missing(specs, device=device)
        return with_scale(figure.compute([store.load(spec.run_id) for spec in specs]), scale)

    _write(figures, trained_table, out, console)


def redraw(figures: Sequence[Figure], stores: Sequence[RunStore], out: Path, *, corpus: Corpus | None = None) -> None:
    """Write every figure at the best scale that can be had without training (``best_stored_table``)."""
    _write(figures, lambda figure: best_stored_table(figure, stores, out, corpus), out, Console(stderr=True))


def _write(
    figures: Sequence[Figure], table_of: Callable[[Figure], pl.DataFrame | None], out: Path, console: Console
) -> None:
    drawn: list[Drawn] = []
    for figure in figures:
        table = table_of(figure)
        if table is None:
            told = f"{figure.name}: nothing stored to draw it from; --scale quick trains what it needs"
            console.print(told, highlight=False, soft_wrap=True)
            continue
        write_table(table, figure.name, out)
        drawn.append(Drawn(figure, table, figure.plot(table)))
        page = write_html(drawn[-1].drawing, figure.name, out)
        console.print(f"{figure.name}: {page}", highlight=False, soft_wrap=True)
    if not drawn:
        raise ValueError("nothing was drawn")
    comparison = paper_vs_ours.paper_vs_ours({one.figure.name: one.table for one in drawn})
    if len(comparison):
        write_table(comparison, paper_vs_ours.NAME, out)
    note = write_images({one.figure.name: one.drawing for one in drawn}, out)
    if note:
        console.print(f"No PNG and SVG images: {note}. The HTML pages are complete.", highlight=False, soft_wrap=True)
    index = write_index(drawn, comparison, out, has_images=note is None)
    console.print(f"All figures: {index}", highlight=False, soft_wrap=True)
