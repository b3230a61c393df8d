"""The best table of a figure that can be had without training: from stored runs, or as an earlier drawing left it."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from rtinterp.figures.computing import by_run, compute_here
from rtinterp.figures.figure import BUDGET_COLUMNS, TASK_WHATEVER_ITS_ROWS, Figure
from rtinterp.figures.paper import Paper
from rtinterp.figures.provenance import Origin, Source, with_provenance
from rtinterp.figures.render import table_path
from rtinterp.figures.standing import Models, Place, best_places
from rtinterp.store import RunStore, StoreError
from rtinterp.tasks import Corpus
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec


@dataclasses.dataclass(frozen=True)
class Held:
    """What is stored of a run: itself in a store, or its rows in a table."""

    source: Source
    run: tuple[RunStore, RunSpec] | None = None
    rows: pl.DataFrame = dataclasses.field(default_factory=pl.DataFrame)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the table of a figure is made of, of all that is stored.

    Attributes:
        held: what is stored of each run that is shown, by its place and in this order.
    """

    figure: Figure
    held: Mapping[Place, Held]

    @property
    def runs(self) -> list[tuple[RunStore, RunSpec]]:
        """The runs that are computed anew."""
        return [one.run for one in self.held.values() if one.run is not None]

    def table(self, computed: pl.DataFrame | None) -> pl.DataFrame:
        """Put the table together.

        Args:
            computed: that of ``runs``; None if there are none.
        """
        of_runs = {} if computed is None else by_run(self.figure, computed, [spec for _, spec in self.runs])
        parts = []
        for place, one in self.held.items():
            rows = one.rows if one.run is None else of_runs[one.run[1]]
            if computed is not None and one.run is None:
                schema = computed.schema
                rows = rows.select(pl.col(name).cast(schema[name]) for name in schema if name in rows.columns)
            parts.append(with_provenance(rows, place.scale, one.source))
        # Diagonal: a column may be newer than a table.
        return pl.concat(parts, how="diagonal_relaxed")


def best_stored_table(
    paper: Paper, figure: Figure, origins: Sequence[Origin], corpus: Corpus | None = None
) -> pl.DataFrame | None:
    """Make the table of a figure each of whose rows is at the largest scale that is stored; None if nothing is.

    Nothing is trained. Of equal runs, the first origin's are taken. Runs that are stored there are computed anew, of
    others the rows are as the tables of earlier drawings have them; of the other origins, runs that no table has are
    computed. See ``best_places`` for which stand in the table.
    """
    if figure.experiment is None:
        return figure.compute([])
    damaged: set[tuple[RunStore, RunSpec]] = set()
    while (choice := best_choice(paper, figure, origins, corpus, damaged)) is not None:
        runs = _load(choice.runs, damaged)
        if runs is not None:
            return choice.table(compute_here(figure, runs) if runs else None)
    return None


def best_choice(
    paper: Paper,
    figure: Figure,
    origins: Sequence[Origin],
    corpus: Corpus | None = None,
    damaged: Collection[tuple[RunStore, RunSpec]] = (),
) -> Choice | None:
    """Choose what ``best_stored_table`` is made of, of a figure that needs runs; None if nothing is stored.

    Args:
        damaged: runs that are left out.
    """
    specs = _specs(paper, figure, origins, corpus)
    places = {scale: _places(figure, scale, of_scale) for scale, of_scale in specs.items()}
    wanted = dict.fromkeys(place.of_any_seed for of_scale in places.values() for place in of_scale)
    held: dict[Place, Held] = {}
    for number, origin in enumerate(origins):
        ways = [_held_runs(specs, places, origin), _held_rows(paper, figure, origin)]
        for place, one in itertools.chain(*(ways if number == 0 else reversed(ways))):
            if one.run not in damaged:
                held.setdefault(place, one)
    chosen = best_places(
        list(paper.scales),
        _in_order(held, wanted),
        wanted,
        with_incomplete=bool(figure.rows),
        n_bodies=figure.n_bodies,
        keeps_all_seeds=figure.keeps_all_seeds,
    )
    return Choice(figure, {place: held[place] for place in chosen}) if chosen else None


def written_tables(names: Iterable[str], folder: Path) -> dict[str, pl.DataFrame]:
    """Read the tables that drawings, this one or earlier ones, have left in a folder and marked with their scale."""
    paths = {name: table_path(name, folder) for name in names}
    tables = {name: _read(path) for name, path in paths.items() if path.is_file()}
    return {name: table for name, table in tables.items() if "scale" in table.columns}


def _read(path: Path) -> pl.DataFrame:
    """Read a table; a column without any value has no type, and takes that of a table that it is put together with."""
    table = pl.read_csv(path, infer_schema_length=None)
    return table.with_columns(
        pl.lit(None).alias(name) for name in table.columns if table[name].null_count() == len(table)
    )


def _specs(paper: Paper, figure: Figure, origins: Sequence[Origin], corpus: Corpus | None) -> dict[str, list[RunSpec]]:
    """The runs of each scale, of as many seeds as have something stored, and at least of one."""
    if paper.needs_corpus(figure) and corpus is None:
        return {}
    return {scale: _specs_at(paper, figure, scale, origins, corpus) for scale in paper.scales}


def _specs_at(
    paper: Paper, figure: Figure, scale: str, origins: Sequence[Origin], corpus: Corpus | None
) -> list[RunSpec]:
    specs = paper.specs(figure, scale, 1, corpus)
    for n_seeds in itertools.count(2):
        more = paper.specs(figure, scale, n_seeds, corpus)
        new = set(more).difference(specs)
        if all(len(origin.runs.missing(new, retry_failed=True)) == len(new) for origin in origins):
            break
        specs = more
    return list(dict.fromkeys(specs))


def _places(figure: Figure, scale: str, specs: Sequence[RunSpec]) -> list[Place]:
    """Where runs of a scale belong."""
    return _places_of(figure, pl.DataFrame([{"scale": scale, **figure.key_of(spec)} for spec in specs]))


def _places_of(figure: Figure, keys: pl.DataFrame) -> list[Place]:
    """Where the rows of a table belong that has a scale and the columns of ``Figure.key_of``."""
    rows = keys.select(figure.rows).rows() if figure.rows else [()] * len(keys)
    models = keys.select(pl.exclude("scale", "seed")).rows()
    kinds = keys.select(TASK_WHATEVER_ITS_ROWS, pl.exclude("scale", "seed", "task", *BUDGET_COLUMNS)).rows()
    return list(map(Place, keys["scale"], rows, models, kinds, keys["seed"]))


def _held_runs(
    specs: Mapping[str, Sequence[RunSpec]], places: Mapping[str, Sequence[Place]], origin: Origin
) -> Iterator[tuple[Place, Held]]:
    for scale, of_scale in specs.items():
        missing = set(origin.runs.missing(of_scale, retry_failed=True))
        for spec, place in zip(of_scale, places[scale], strict=True):
            if spec not in missing:
                yield place, Held(origin.source, run=(origin.runs, spec))


def _held_rows(paper: Paper, figure: Figure, origin: Origin) -> Iterator[tuple[Place, Held]]:
    """What the table of an earlier drawing has of the origin's own source, run by run."""
    path = table_path(figure.name, origin.folder / paper.name)
    if not path.is_file():
        return
    table = _read(path)
    key = ["scale", *figure.key]
    if not set(key) <= set(table.columns) or table.is_empty() or not set(table["scale"]) <= set(paper.scales):
        scales = ", ".join(paper.scales)
        warnings.warn(f"left out {path}: it does not say at which of the scales {scales}", stacklevel=2)
        return
    if "source" in table.columns:
        table = table.filter(pl.col("source") == origin.source)
    parts = table.partition_by(key, maintain_order=True)
    if parts:
        keys = pl.concat(part.select(key).head(1) for part in parts)
        for place, part in zip(_places_of(figure, keys), parts, strict=True):
            yield place, Held(origin.source, rows=part)


def _in_order(held: Iterable[Place], wanted: Iterable[Models]) -> list[Place]:
    """Rows and models as the experiment lists them, then others, each with its seeds."""
    held = list(held)
    everything = [*wanted, *(place.of_any_seed for place in held)]
    rows, models = (
        {one: number for number, one in enumerate(dict.fromkeys(of))}
        for of in ((row for _, row, *_ in everything), (model for _, _, model, _ in everything))
    )
    return sorted(held, key=lambda place: (rows[place.row], models[place.model], place.seed))


def _load(stored: Iterable[tuple[RunStore, RunSpec]], damaged: set[tuple[RunStore, RunSpec]]) -> list[Run] | None:
    """Load runs; None if one of them is damaged, which then is among those that are."""
    runs = []
    for store, spec in stored:
        try:
            runs.append(store.load(spec))
        except StoreError as error:
            warnings.warn(f"left out a damaged run: {error}", stacklevel=3)
            damaged.add((store, spec))
            return None
    return runs
