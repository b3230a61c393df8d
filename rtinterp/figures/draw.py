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
from rtinterp.figures.stored_tables import best_stored_table, written_tables
from rtinterp.store import RunStore, StoreError
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
    retry_failed: bool = False,
) -> None:
    """Write csv, HTML and images of every figure; runs that the store has are not trained again.

    Args:
        retry_failed: train runs again that diverged before.

    Raises:
        NoCorpusError: a figure is about language, and there is no corpus. Nothing is trained then.
        StoreError: a run diverged, or is damaged in the store, or cannot be saved. The other figures are drawn first.
        ValueError: the corpus is too small for the scale, or the device is not there.
    """
    console = _console()
    specs_of = {figure.name: figure.specs(scale, n_seeds, corpus) for figure in figures}
    left_out: dict[str, StoreError] = {}

    def trained_table(figure: Figure) -> pl.DataFrame | None:
        specs = specs_of[figure.name]
        if not specs:
            return figure.compute([])
        missing = store.missing(specs, retry_failed=retry_failed)
        if missing:
            console.print(f"{figure.name}: training {len(missing)} of {len(specs)} runs")
        store.train_missing(specs, device=device, retry_failed=retry_failed)
        try:
            runs = [store.load(spec) for spec in specs]
        except StoreError as error:
            console.print(f"{figure.name}: not drawn: {error}")
            left_out[figure.name] = error
            return None
        return with_scale(figure.compute(runs), scale)

    _write(figures, trained_table, out, console)
    if left_out:
        raise StoreError(
            f"not drawn: {', '.join(left_out)}; {next(iter(left_out.values()))}. A damaged run is trained again "
            f"once its folder in {store.path} is moved away, one that failed by --retry-failed"
        )


def redraw(figures: Sequence[Figure], stores: Sequence[RunStore], out: Path, *, corpus: Corpus | None = None) -> None:
    """Write every figure at the best scale that can be had without training (``best_stored_table``)."""
    console = _console()

    def stored_table(figure: Figure) -> pl.DataFrame | None:
        table = best_stored_table(figure, stores, out, corpus)
        if table is None:
            console.print(f"{figure.name}: nothing stored to draw it from; --scale quick trains what it needs")
        return table

    if not _write(figures, stored_table, out, console):
        raise ValueError("nothing was drawn")


def _write(
    figures: Sequence[Figure], table_of: Callable[[Figure], pl.DataFrame | None], out: Path, console: Console
) -> bool:
    """Write the figures that have a table, and the page that lists them; whether there was any."""
    drawn: list[Drawn] = []
    for figure in figures:
        table = table_of(figure)
        if table is None:
            continue
        write_table(table, figure.name, out)
        drawn.append(Drawn(figure, table, figure.plot(table)))
        console.print(f"{figure.name}: {write_html(drawn[-1].drawing, figure.name, out)}")
    if not drawn:
        return False
    # With those of earlier drawings, which --only leaves as they are.
    comparison = paper_vs_ours.paper_vs_ours(written_tables(paper_vs_ours.COMPARED, out))
    if len(comparison):
        write_table(comparison, paper_vs_ours.NAME, out)
    note = write_images({one.figure.name: one.drawing for one in drawn}, out)
    if note:
        console.print(f"No PNG and SVG images: {note}. The HTML pages are complete.")
    console.print(f"All figures: {write_index(drawn, comparison, out, has_images=note is None)}")
    return True


def _console() -> Console:
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
