"""From runs to a folder of figures: each is drawn as soon as its runs are there."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch
from rich.console import Console

from rtinterp.executors.slurm import SlurmOptions
from rtinterp.executors.sweep import Sweep
from rtinterp.executors.sweep import train as train_in_processes
from rtinterp.executors.workers import plan_workers
from rtinterp.figures.computing import Wanted, by_run, compute_here, computed_elsewhere
from rtinterp.figures.figure import Figure
from rtinterp.figures.growing_page import GrowingPage
from rtinterp.figures.paper import Paper
from rtinterp.figures.provenance import Origin, origins, with_provenance
from rtinterp.figures.stored_tables import best_choice, best_stored_table
from rtinterp.figures.training_order import by_completion
from rtinterp.store import RunStore, StoreError
from rtinterp.store.training import train
from rtinterp.tasks import Corpus
from rtinterp.training.environment import resolve_device
from rtinterp.training.loop import DivergenceError
from rtinterp.training.spec import RunSpec


def draw(
    papers: Sequence[Paper],
    store: RunStore,
    out: Path,
    *,
    scale: str,
    n_seeds: int,
    corpus: Corpus | None = None,
    corpus_path: str | None = None,
    shipped: Path | None = None,
    device: str | None = None,
    retry_failed: bool = False,
    n_workers: int = 1,
) -> None:
    """Write csv, HTML and images of every figure of papers, each as soon as its runs are trained.

    Runs that the store has, or that came with the repository, are not trained again.

    Args:
        out: gets a folder for each paper, and the page that lists all figures.
        corpus_path: what other processes open as ``corpus``.
        shipped: the folder of what came with the repository, whose ``runs`` are used too; it is only read.
        retry_failed: train runs again that diverged before.
        n_workers: train in so many processes, while this one draws, and compute the tables of what is trained in as
            many; 1 is this process alone.

    Raises:
        NoCorpusError: a figure is about language, and there is no corpus. Nothing is trained then.
        StoreError: a run diverged, or is damaged in the store, or cannot be saved. The other figures are drawn first.
        ValueError: the corpus is too small for the scale, or the device is not there.
    """
    console = _console()
    needed = {
        (paper, figure): paper.specs(figure, scale, n_seeds, corpus)
        for paper in papers
        for figure in paper.figures.values()
    }
    wanted = Sweep(store, [], resolve_device(device), corpus=corpus_path, retry_failed=retry_failed)
    with GrowingPage(papers, out, console) as page:
        drawing = _Drawing(page, scale, needed, origins(store, out, shipped), wanted, console)
        if n_workers > 1:
            drawing.train_in_processes(n_workers)
            drawing.draw_from_processes(n_workers)
        drawing.draw_complete()
        drawing.train_and_draw()
    if drawing.left_out:
        raise StoreError(
            f"not drawn: {', '.join(drawing.left_out)}; {next(iter(drawing.left_out.values()))}. A damaged run is "
            f"trained again once its folder in {store.path} is moved away, one that failed by --retry-failed"
        )


def redraw(
    papers: Sequence[Paper],
    store: RunStore,
    out: Path,
    *,
    corpus: Corpus | None = None,
    corpus_path: str | None = None,
    shipped: Path | None = None,
    n_workers: int = 1,
) -> None:
    """Write every figure without training, each of its rows at the best scale that is stored.

    Args:
        corpus_path: what other processes open as ``corpus``.
        shipped: the folder of what came with the repository, runs and tables; it is only read.
        n_workers: compute tables in so many processes, while this one draws; 1 is this process alone.

    Raises:
        ValueError: nothing is stored to draw from.
    """
    console, stored = _console(), origins(store, out, shipped)
    left = [(paper, figure) for paper in papers for figure in paper.figures.values()]
    with GrowingPage(papers, out, console) as page:
        if n_workers > 1:
            choices = {one: best_choice(*one, stored, corpus) for one in left if one[1].experiment is not None}
            chosen = {one: choice for one, choice in choices.items() if choice is not None}
            wanted = {one: Wanted(choice.figure, choice.runs) for one, choice in chosen.items()}
            with contextlib.closing(computed_elsewhere(wanted, n_workers, corpus_path)) as tables:
                for one, table in tables:
                    page.add(*one, chosen[one].table(table))
                    left.remove(one)
        for paper, figure in left:
            table = best_stored_table(paper, figure, stored, corpus)
            if table is None:
                console.print(f"{figure.name}: nothing stored to draw it from; --scale quick trains what it needs")
            else:
                page.add(paper, figure, table)
        if not len(page):
            raise ValueError("nothing was drawn")


@dataclasses.dataclass
class _Drawing:
    """What is drawn, and what is to be trained for it.

    Attributes:
        needed: the runs of every figure that is neither drawn nor left out.
        left_out: why, by name of the figure.
    """

    page: GrowingPage
    scale: str
    needed: dict[tuple[Paper, Figure], list[RunSpec]]
    origins: list[Origin]
    sweep: Sweep
    console: Console
    left_out: dict[str, Exception] = dataclasses.field(default_factory=dict)

    def draw_complete(self) -> None:
        """Draw the figures whose runs are all stored by now, those of the fewest runs first."""
        for one in sorted(self._complete(), key=lambda one: len(self.needed[one])):
            self._draw(*one)

    def draw_from_processes(self, n_workers: int) -> None:
        """Draw those of them of which other processes can compute the tables, those first that come first."""
        wanted = {
            one: Wanted(one[1], [(self._origin(spec).runs, spec) for spec in dict.fromkeys(self.needed[one])])
            for one in self._complete()
        }
        with contextlib.closing(computed_elsewhere(wanted, n_workers, self.sweep.corpus)) as tables:
            for one, table in tables:
                self._add(*one, table)

    def train_in_processes(self, n_workers: int) -> None:
        """Train what is missing, and draw meanwhile; what could not be trained is told again by its figures."""
        specs = [spec for added in self._in_order().values() for spec in added]
        if not self._missing(specs):
            return
        workers = plan_workers(
            "loky", self.sweep.device, n_workers, None, SlurmOptions(), n_gpus=torch.cuda.device_count()
        )
        sweep = dataclasses.replace(self.sweep, specs=specs)
        for line in train_in_processes(sweep, workers, self.console, self.draw_complete).errors:
            self.console.print(f"not trained: {line}")
        self.sweep = dataclasses.replace(self.sweep, retry_failed=False)

    def train_and_draw(self) -> None:
        """Train in this process what the rest of the figures lack, one figure after the other, and draw each."""
        for one, added in self._in_order().items():
            missing = self._missing(added)
            if missing:
                self.console.print(f"{one[1].name}: training {len(missing)} of {len(self.needed[one])} runs")
            try:
                train(
                    added, store=self.sweep.store, device=str(self.sweep.device), retry_failed=self.sweep.retry_failed
                )
            except (StoreError, DivergenceError) as error:
                self._leave_out(one, error)
            else:
                self._draw(*one)

    def _in_order(self) -> dict[tuple[Paper, Figure], list[RunSpec]]:
        """What the store is to have for each figure, in the order in which to train it."""
        own = {one: self._not_shipped(specs) for one, specs in self.needed.items()}
        everything = [spec for specs in own.values() for spec in specs]
        return by_completion(own, set(everything).difference(self._missing(everything)))

    def _missing(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Those that are neither stored nor shipped, nor known to fail."""
        store = self.sweep.store
        return self._not_shipped(store.missing(specs, retry_failed=self.sweep.retry_failed))

    def _not_shipped(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        _, *shipped = self.origins
        for origin in shipped:
            specs = origin.runs.missing(specs, retry_failed=True)
        return list(specs)

    def _complete(self) -> list[tuple[Paper, Figure]]:
        return [one for one, specs in self.needed.items() if not self._missing(specs)]

    def _draw(self, paper: Paper, figure: Figure) -> None:
        try:
            runs = [self._origin(spec).runs.load(spec) for spec in dict.fromkeys(self.needed[paper, figure])]
        except StoreError as error:
            self._leave_out((paper, figure), error)
            return
        self._add(paper, figure, compute_here(figure, runs) if runs else figure.compute([]))

    def _add(self, paper: Paper, figure: Figure, table: pl.DataFrame) -> None:
        specs = list(dict.fromkeys(self.needed[paper, figure]))
        if specs:
            rows = by_run(figure, table, specs)
            table = pl.concat(with_provenance(rows[spec], self.scale, self._origin(spec).source) for spec in specs)
        self.page.add(paper, figure, table)
        del self.needed[paper, figure]

    def _origin(self, spec: RunSpec) -> Origin:
        """The first origin that has the run; the own one if none has."""
        return next((origin for origin in self.origins if spec in origin.runs), self.origins[0])

    def _leave_out(self, one: tuple[Paper, Figure], error: Exception) -> None:
        name = one[1].name
        self.console.print(f"{name}: not drawn: {error}")
        self.left_out[name] = error
        del self.needed[one]


def _console() -> Console:
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
