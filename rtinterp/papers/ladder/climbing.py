"""Look for least widths: train what bisection asks for into a store, and tell what is known so far."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl
import torch
from rich.console import Console

from rtinterp.executors.sweep import Sweep, train
from rtinterp.executors.workers import Workers
from rtinterp.models.regimes import Trainable
from rtinterp.papers.ladder.bisection import dearest, next_width
from rtinterp.papers.ladder.bodies import body_of
from rtinterp.papers.ladder.rungs import Rung
from rtinterp.papers.ladder.tables import failed_row, run_row, suffices, threshold_table
from rtinterp.store import RunStore
from rtinterp.training.cost import Cost, cost
from rtinterp.training.spec import RunSpec

#: How many searches advance beside each other for every worker: enough that few of them wait for the end of a round.
SEARCHES_PER_WORKER = 4


@dataclasses.dataclass(frozen=True)
class Search:
    """One least width that is looked for.

    Attributes:
        body: its name.
        trainable: what of the body trains.
        widths: that come into question, ascending.
    """

    rung: Rung
    body: str
    trainable: Trainable
    widths: tuple[int, ...]
    seeds: tuple[int, ...]

    def specs(self, width: int) -> list[RunSpec]:
        """List the runs of a width, one for each seed.

        Raises:
            ValueError: the body cannot be of this width.
        """
        return self.rung.runs(body_of(self.body, width), self.trainable, self.seeds)


class Climb:
    """Searches over one store, whose runs are all that it remembers.

    Args:
        workers: who trains.
        deadline: when training must have stopped, in seconds since the epoch; None for no limit.
        tell: called with a line for whatever could not be trained.
    """

    def __init__(
        self,
        store: RunStore,
        device: torch.device,
        workers: Workers,
        deadline: float | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._store, self._device, self._workers = store, device, workers
        self._deadline, self._tell = deadline, tell
        self._n_beside = 1 if workers.n_workers == 1 else SEARCHES_PER_WORKER * workers.n_workers
        self._rows: dict[RunSpec, dict[str, Any]] = {}
        self.n_trained = 0

    def climb(self, searches: Iterable[Search], after_round: Callable[[], None] = lambda: None) -> None:
        """Train widths until every least one is decided, the time is over or nothing of what is left can be trained.

        One worker ends each search before it begins the next. Several advance several searches in rounds: of each a
        width, the next one when all of these are in the store. What is trained is the same.

        Args:
            after_round: called after every round.

        Raises:
            KeyboardInterrupt, SystemExit: after a checkpoint, at SIGINT and SIGTERM.
        """
        left = list(searches)
        while not self._is_late and (asked := self._asked(left)):
            self._train(asked.values())
            left = [one for one in left if one not in asked or not self._store.missing(asked[one])]
            after_round()

    def known_runs(self, searches: Iterable[Search]) -> pl.DataFrame:
        """Make the table of all runs of these searches that are in the store, one row each; see ``runs_table``."""
        rows = [row for search in searches for width in search.widths for row in self._rows_of(search.specs(width))]
        return pl.DataFrame(rows, infer_schema_length=None)

    def known_widths(self, searches: Sequence[Search]) -> pl.DataFrame:
        """Make the table of what is known of the least widths; see ``threshold_table``."""
        tables = [threshold_table(runs, one.widths) for one in searches if len(runs := self._whole(one))]
        return pl.concat(tables, how="diagonal_relaxed") if tables else pl.DataFrame()

    def at_most(self, search: Search, peak: float) -> Cost:
        """Estimate the most that a search may still cost.

        Args:
            peak: of the device, in floating-point operations per second.
        """

        def missing(width: int) -> list[RunSpec]:
            return self._store.missing(search.specs(width))

        course = dearest(search.widths, self._known(search), lambda width: cost(missing(width), peak).flops)
        return cost([spec for width in course for spec in missing(width)], peak)

    @property
    def _is_late(self) -> bool:
        return self._deadline is not None and time.time() >= self._deadline

    def _asked(self, searches: Iterable[Search]) -> dict[Search, list[RunSpec]]:
        """The runs of the next round: a width of each of the first searches that are not decided."""
        asked: dict[Search, list[RunSpec]] = {}
        for search in searches:
            width = next_width(search.widths, self._known(search))
            if width is not None:
                asked[search] = search.specs(width)
            if len(asked) == self._n_beside:
                break
        return asked

    def _train(self, asked: Iterable[list[RunSpec]]) -> None:
        """Train these runs, the longest first, so that several workers end at about the same time."""
        ordered = sorted(asked, key=lambda specs: cost(self._store.missing(specs), 1.0).flops, reverse=True)
        sweep = Sweep(self._store, [spec for specs in ordered for spec in specs], self._device, self._deadline)
        report = train(sweep, self._workers, Console(stderr=True))
        self.n_trained += report.n_trained
        for line in report.errors:
            self._tell(f"not trained: {line}")

    def _known(self, search: Search) -> dict[int, bool]:
        runs = self._whole(search)
        return suffices(runs) if len(runs) else {}

    def _whole(self, search: Search) -> pl.DataFrame:
        """The rows of the widths of which every seed is in the store, as a finished or as a diverged run."""
        rows = [
            row
            for width in search.widths
            if not self._store.missing(specs := search.specs(width))
            for row in self._rows_of(specs)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def _rows_of(self, specs: Iterable[RunSpec]) -> list[dict[str, Any]]:
        """The rows of what is in the store of these, each run measured once."""
        specs = list(specs)
        new = [spec for spec in specs if spec not in self._rows]
        finished = [spec for spec in new if spec in self._store]
        self._rows |= {spec: run_row(self._store.load(spec)) for spec in finished}
        if len(finished) < len(new):
            failed = {failure.spec: failure for failure in self._store.failed()}
            self._rows |= {spec: failed_row(failed[spec]) for spec in new if spec in failed}
        return [self._rows[spec] for spec in specs if spec in self._rows]
