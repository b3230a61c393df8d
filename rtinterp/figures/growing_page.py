"""A folder of figures and the page that lists them, with those drawn there before; whole after every figure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import polars as pl
from rich.console import Console

from rtinterp.figures import claims, comparison
from rtinterp.figures.figure import Figure
from rtinterp.figures.images import ImageWriter
from rtinterp.figures.pages import Drawn, write_index
from rtinterp.figures.paper import Paper
from rtinterp.figures.render import remove_drawing, table_path, write_html, write_table
from rtinterp.figures.stored_tables import written_tables


class GrowingPage:
    """Writes figures one by one, and after each the page; a context manager.

    Args:
        papers: with the figures that are to be drawn, and in the order in which the page lists them all.
        out: gets a folder for each paper.
        console: is told what was drawn.
    """

    def __init__(self, papers: Sequence[Paper], out: Path, console: Console) -> None:
        self._papers, self._out, self._console = papers, out, console
        self._drawn: dict[tuple[str, str], Drawn] = {}
        self._earlier = {(one.paper.name, one.figure.name): one for one in _drawn_before(papers, out)}
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
        known = self._earlier | self._drawn
        places = [(of.name, one) for of in self._papers for one in of.listed]
        drawn = [known[place] for place in places if place in known]
        comparisons = {of.name: self._compare(of) for of in dict.fromkeys(one.paper for one in drawn)}
        self._index = write_index(drawn, comparisons, self._out)
        n_wanted = sum(len(of.figures) for of in self._papers)
        self._console.print(f"{name}: {path} ({len(self._drawn)} of {n_wanted} in {self._index})")

    def _compare(self, paper: Paper) -> pl.DataFrame:
        """Compare what is drawn, and earlier drawings, which ``--only`` leaves as they are, and write both tables."""
        folder = self._out / paper.name
        compared = comparison.paper_vs_ours(paper.compared, written_tables(paper.compared, folder))
        found = claims.findings(paper.claims, written_tables([claim.figure for claim in paper.claims], folder))
        for name, table in ((comparison.NAME, compared), (claims.NAME, claims.claims_table(found))):
            # Without rows, none of an earlier drawing may stay.
            if len(table) or table_path(name, folder).is_file():
                write_table(table, name, folder)
        return compared


def _drawn_before(papers: Sequence[Paper], out: Path) -> Iterator[Drawn]:
    """The figures that lie in the folder; one whose table is of another version is not listed until it is drawn."""
    for paper in papers:
        folder = out / paper.name
        for name, figure in paper.listed.items():
            path = table_path(name, folder)
            if (folder / f"{name}.html").is_file() and path.is_file():
                with contextlib.suppress(pl.exceptions.PolarsError):
                    table = pl.read_csv(path, infer_schema_length=None)
                    yield Drawn(paper, figure, table, figure.plot(table))
