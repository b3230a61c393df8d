"""A folder of figures and the page that lists them, which is whole after every figure that is added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import polars as pl
from rich.console import Console

from rtinterp.figures import comparison
from rtinterp.figures.figure import Figure
from rtinterp.figures.images import ImageWriter
from rtinterp.figures.pages import Drawn, write_index
from rtinterp.figures.paper import Paper
from rtinterp.figures.render import remove_drawing, write_html, write_table
from rtinterp.figures.stored_tables import written_tables


class GrowingPage:
    """Writes figures one by one, and after each the page; a context manager.

    Args:
        papers: with the figures that are to be drawn, in the order in which the page lists them.
        out: gets a folder for each paper.
        console: is told what was drawn.
    """

    def __init__(self, papers: Sequence[Paper], out: Path, console: Console) -> None:
        self._papers, self._out, self._console = papers, out, console
        self._drawn: dict[tuple[str, str], Drawn] = {}
        self._images = ImageWriter()
        self._index: Path | None = None

    def __enter__(self) -> GrowingPage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._images.close()
        if self._images.why_not:
            self._console.print(f"No PNG and SVG images: {self._images.why_not}. The HTML pages are complete.")
        if self._index is not None:
            n_wanted = sum(len(paper.figures) for paper in self._papers)
            n = len(self._drawn)
            what = "All figures" if n == n_wanted else f"{n} of {n_wanted} figures"
            self._console.print(f"{what}: {self._index}")

    def __len__(self) -> int:
        return len(self._drawn)

    def add(self, paper: Paper, figure: Figure, table: pl.DataFrame) -> None:
        """Write a figure's table, drawing and images in the place of earlier ones, and the page with it."""
        folder, name, drawing = self._out / paper.name, figure.name, figure.plot(table)
        # First: whatever happens now, no earlier picture lies beside the new table.
        remove_drawing(name, folder)
        write_table(table, name, folder)
        path = write_html(drawing, name, folder)
        self._images.write(drawing, folder / name)
        self._drawn[paper.name, name] = Drawn(paper, figure, table, drawing)
        listed = [(of.name, one) for of in self._papers for one in of.figures]
        drawn = [self._drawn[place] for place in listed if place in self._drawn]
        comparisons = {of.name: self._compare(of) for of in dict.fromkeys(one.paper for one in drawn)}
        self._index = write_index(drawn, comparisons, self._out)
        self._console.print(f"{name}: {path} ({len(drawn)} of {len(listed)} in {self._index})")

    def _compare(self, paper: Paper) -> pl.DataFrame:
        """Compare what is drawn, and earlier drawings, which ``--only`` leaves as they are, and write the table."""
        folder = self._out / paper.name
        compared = comparison.paper_vs_ours(paper.compared, written_tables(paper.compared, folder))
        if len(compared):
            write_table(compared, comparison.NAME, folder)
        return compared
