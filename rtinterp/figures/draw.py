"""From runs to a folder of figures: compute, write, and list it all in one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl
from rich.console import Console

from rtinterp.figures import comparison
from rtinterp.figures.figure import Figure, with_scale
from rtinterp.figures.pages import Drawn, write_index
from rtinterp.figures.paper import Paper
from rtinterp.figures.render import write_html, write_images, write_table
from rtinterp.figures.stored_tables import best_stored_table, written_tables
from rtinterp.store import RunStore, StoreError
from rtinterp.store.training import train
from rtinterp.tasks import Corpus
from rtinterp.training.loop import DivergenceError


def draw(
    papers: Sequence[Paper],
    store: RunStore,
    out: Path,
    *,
    scale: str,
    n_seeds: int,
    corpus: Corpus | None = None,
    device: str | None = None,
    retry_failed: bool = False,
) -> None:
    """Write csv, HTML and images of every figure of papers; runs that the store has are not trained again.

    Args:
        out: gets a folder for each paper.
        retry_failed: train runs again that diverged before.

    Raises:
        NoCorpusError: a figure is about language, and there is no corpus. Nothing is trained then.
        StoreError: a run diverged, or is damaged in the store, or cannot be saved. The other figures are drawn first.
        ValueError: the corpus is too small for the scale, or the device is not there.
    """
    console = _console()
    specs_of = {
        (paper, figure): paper.specs(figure, scale, n_seeds, corpus)
        for paper in papers
        for figure in paper.figures.values()
    }
    left_out: dict[str, Exception] = {}

    def trained_table(paper: Paper, figure: Figure) -> pl.DataFrame | None:
        specs = specs_of[paper, figure]
        if not specs:
            return figure.compute([])
        missing = store.missing(specs, retry_failed=retry_failed)
        if missing:
            console.print(f"{figure.name}: training {len(missing)} of {len(specs)} runs")
        try:
            runs = train(specs, store=store, device=device, retry_failed=retry_failed)
        except (StoreError, DivergenceError) as error:
            console.print(f"{figure.name}: not drawn: {error}")
            left_out[figure.name] = error
            return None
        return with_scale(figure.compute(runs), scale)

    _write(papers, trained_table, out, console)
    if left_out:
        raise StoreError(
            f"not drawn: {', '.join(left_out)}; {next(iter(left_out.values()))}. A damaged run is trained again "
            f"once its folder in {store.path} is moved away, one that failed by --retry-failed"
        )


def redraw(papers: Sequence[Paper], stores: Sequence[RunStore], out: Path, *, corpus: Corpus | None = None) -> None:
    """Write every figure at the best scale that can be had without training (``best_stored_table``)."""
    console = _console()

    def stored_table(paper: Paper, figure: Figure) -> pl.DataFrame | None:
        table = best_stored_table(paper, figure, stores, out / paper.name, corpus)
        if table is None:
            console.print(f"{figure.name}: nothing stored to draw it from; --scale quick trains what it needs")
        return table

    if not _write(papers, stored_table, out, console):
        raise ValueError("nothing was drawn")


def _write(
    papers: Sequence[Paper],
    table_of: Callable[[Paper, Figure], pl.DataFrame | None],
    out: Path,
    console: Console,
) -> bool:
    """Write the figures that have a table, and the page that lists them; whether there was any."""
    drawn: list[Drawn] = []
    for one in _drawings(papers, table_of):
        folder, name = out / one.paper.name, one.figure.name
        write_table(one.table, name, folder)
        console.print(f"{name}: {write_html(one.drawing, name, folder)}")
        drawn.append(one)
    if not drawn:
        return False
    comparisons = {paper.name: _compare(paper, out / paper.name) for paper in papers}
    note = write_images({out / one.paper.name / one.figure.name: one.drawing for one in drawn})
    if note:
        console.print(f"No PNG and SVG images: {note}. The HTML pages are complete.")
    console.print(f"All figures: {write_index(drawn, comparisons, out)}")
    return True


def _drawings(papers: Sequence[Paper], table_of: Callable[[Paper, Figure], pl.DataFrame | None]) -> Iterator[Drawn]:
    for paper in papers:
        for figure in paper.figures.values():
            table = table_of(paper, figure)
            if table is not None:
                yield Drawn(paper, figure, table, figure.plot(table))


def _compare(paper: Paper, folder: Path) -> pl.DataFrame:
    """Compare what is drawn, with earlier drawings too, which ``--only`` leaves as they are, and write the table."""
    compared = comparison.paper_vs_ours(paper.compared, written_tables(paper.compared, folder))
    if len(compared):
        write_table(compared, comparison.NAME, folder)
    return compared


def _console() -> Console:
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
