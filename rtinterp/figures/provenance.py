"""Where the rows of a table come from: their scale, and whether their runs came with the repository."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import polars as pl

from rtinterp.store import RunStore
from rtinterp.training.spec import TrainSpec

Source = Literal["shipped", "trained here"]

#: Columns that tell runs apart, where a table has them.
_OF_A_RUN = {
    *("source", "task", "body", "n_layers", "d_model", "trainable", "seed"),
    *(field.name for field in dataclasses.fields(TrainSpec)),
}


@dataclasses.dataclass(frozen=True)
class Origin:
    """Runs and tables of one source.

    Attributes:
        source: what the column ``source`` says of them.
        folder: of earlier drawings, with a folder for each paper.
    """

    source: Source
    runs: RunStore
    folder: Path


def origins(store: RunStore, out: Path, shipped: Path | None) -> list[Origin]:
    """List what figures can be drawn from: what a user's store and drawings have, then what came with the repository.

    Args:
        out: where is drawn to. What lies in the folder of what is shipped is shipped, whoever trained it.
        shipped: the folder of what came with the repository, with runs in ``runs``; None if nothing did.
    """
    own: Source = "trained here" if shipped is None or out.resolve() != shipped.resolve() else "shipped"
    theirs = [] if shipped is None else [Origin("shipped", RunStore(shipped / "runs"), shipped)]
    return [Origin(own, store, out), *theirs]


def with_provenance(table: pl.DataFrame, scale: str, source: Source) -> pl.DataFrame:
    """Put the columns ``scale`` and ``source`` in front of the rows of a run."""
    columns = {"scale": pl.lit(scale), "source": pl.lit(source)}
    return table.select(**columns, **{name: pl.col(name) for name in table.columns if name not in columns})


def seeds_of(rows: pl.DataFrame) -> str:
    """Tell the number of seeds of a model, fewest to most where models differ in it."""
    model = [name for name in rows.columns if name in _OF_A_RUN - {"source", "seed"}]
    counts = rows.group_by(model).agg(pl.col("seed").n_unique()) if model else rows.select(pl.col("seed").n_unique())
    fewest, most = counts["seed"].min(), counts["seed"].max()
    return f"{most} seed{'s' if most != 1 else ''}" if fewest == most else f"{fewest} to {most} seeds"


def sources_of(rows: pl.DataFrame) -> str:
    """Tell whose runs these are, such as ``"shipped"`` or ``"4 runs trained here, 12 shipped"``; "" if unknown."""
    if "source" not in rows.columns:
        return ""
    of_runs = rows.select(name for name in rows.columns if name in _OF_A_RUN).unique()
    (first, n), *others = of_runs.group_by("source").len().sort("source", descending=True).iter_rows()
    if not others:
        return first
    return f"{n:,} run{'s' if n > 1 else ''} {first}, " + ", ".join(f"{n:,} {source}" for source, n in others)


def standing(rows: pl.DataFrame) -> list[str]:
    """Tell scale, seeds and sources of rows of one scale, in a line or, if runs of several sources are in it, two."""
    scale = f"{rows['scale'][0]} scale, " if "scale" in rows.columns else ""
    seeds, sources = scale + seeds_of(rows), sources_of(rows)
    several = rows["source"].n_unique() > 1 if sources else False
    return [seeds, sources] if several else [", ".join(filter(None, [seeds, sources]))]
