"""The best table of a figure that can be had without training: from stored runs, or as an earlier drawing left it."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from rtinterp.figures.figure import Figure, run_columns, with_scale
from rtinterp.figures.paper import Paper
from rtinterp.figures.render import table_path
from rtinterp.store import RunStore, StoreError
from rtinterp.tasks import Corpus
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec


class Standing(NamedTuple):
    """The scale of a table, and its number of seeds."""

    scale: str
    n_seeds: int


def best_stored_table(
    paper: Paper, figure: Figure, stores: Sequence[RunStore], folder: Path, corpus: Corpus | None = None
) -> pl.DataFrame | None:
    """Find the table of the largest scale, of the most seeds; None if there is none. Nothing is trained.

    It is computed anew if the stores have all of its runs. If they have some, and the figure opens its models, the rows
    of those are computed anew, and the rest is as the table in the paper's folder has it.
    """
    if figure.experiment is None:
        return figure.compute([])

    def rank(standing: Standing) -> tuple[int, int]:
        return list(paper.scales).index(standing.scale), standing.n_seeds

    stored = _stored_table(paper, figure, folder)
    best = max(_complete(paper, figure, stores, corpus), key=rank, default=None)
    if best is not None and (stored is None or rank(best) >= rank(standing_of(stored))):
        runs = _runs(paper.specs(figure, best.scale, best.n_seeds, corpus), stores)
        return with_scale(figure.compute(list(runs)), best.scale)
    if stored is None or not figure.opens_models:
        return stored
    scale, n_seeds = standing_of(stored)
    return _renewed(stored, figure, list(_runs(paper.specs(figure, scale, n_seeds, corpus), stores)))


def standing_of(table: pl.DataFrame) -> Standing:
    """Read the standing of a table that ``with_scale`` has marked."""
    return Standing(table["scale"][0], table["seed"].n_unique())


def written_tables(names: Iterable[str], folder: Path) -> dict[str, pl.DataFrame]:
    """Read the tables that drawings, this one or earlier ones, have left in a folder and marked with their scale."""
    paths = {name: table_path(name, folder) for name in names}
    tables = {name: pl.read_csv(path, infer_schema_length=None) for name, path in paths.items() if path.is_file()}
    return {name: table for name, table in tables.items() if "scale" in table.columns}


def _stored_table(paper: Paper, figure: Figure, folder: Path) -> pl.DataFrame | None:
    path = table_path(figure.name, folder)
    if not path.is_file():
        return None
    table = pl.read_csv(path, infer_schema_length=None)
    if "scale" not in table.columns or table.is_empty() or table["scale"][0] not in paper.scales:
        scales = ", ".join(paper.scales)
        warnings.warn(f"left out {path}: it does not say at which of the scales {scales}", stacklevel=2)
        return None
    return table


def _complete(paper: Paper, figure: Figure, stores: Sequence[RunStore], corpus: Corpus | None) -> Iterator[Standing]:
    """The scales at which the stores have every run, with the number of seeds for which they do."""
    if paper.needs_corpus(figure) and corpus is None:
        return
    for scale in paper.scales:
        has_all = (not _missing(paper.specs(figure, scale, n_seeds, corpus), stores) for n_seeds in itertools.count(1))
        n_seeds = sum(1 for _ in itertools.takewhile(bool, has_all))
        if n_seeds:
            yield Standing(scale, n_seeds)


def _missing(specs: Iterable[RunSpec], stores: Sequence[RunStore]) -> Iterable[RunSpec]:
    """Those that no store has finished."""
    for store in stores:
        specs = store.missing(specs, retry_failed=True)
    return specs


def _runs(specs: Sequence[RunSpec], stores: Sequence[RunStore]) -> Iterator[Run]:
    """Those of the runs that are stored somewhere; damaged ones are left out with a warning."""
    for spec in specs:
        store = next((store for store in stores if spec in store), None)
        if store is None:
            continue
        try:
            yield store.load(spec)
        except StoreError as error:
            warnings.warn(f"left out a damaged run: {error}", stacklevel=2)


def _renewed(stored: pl.DataFrame, figure: Figure, runs: Sequence[Run]) -> pl.DataFrame:
    """The stored table, with the rows of these runs computed anew, in their old places."""
    if not runs:
        return stored
    computed = figure.compute(runs)
    key = [name for name in run_columns(runs[0]) if name in stored.columns and name != "device"]
    old, new = (
        table.partition_by(key, as_dict=True, maintain_order=True)
        for table in (stored.select(computed.columns).cast(computed.schema), computed)
    )
    return with_scale(pl.concat(new.get(run, rows) for run, rows in old.items()), stored["scale"][0])
