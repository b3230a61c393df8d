"""How many directions of each basis reach half, and nearly all, of the accuracy above guessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from rtinterp.analysis import area
from rtinterp.figures import style
from rtinterp.figures.figure import TASK, Figure
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.mechanism.bases import BASES, FOUND
from rtinterp.papers.mechanism.figure_rank_curves import site_name
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.papers.mechanism.rank_measurements import (
    MEASUREMENT,
    N_TEST_SEQUENCES,
    SHARES,
    least_rank_or_none,
    measured,
)
from rtinterp.training.run import Run

#: Columns of a curve that are those of its summary.
KEPT = ("intact", "n_test_rows", "floor", "floor_accuracy", "heuristic", "heuristic_accuracy")
#: Names of bases that need two lines.
HEADINGS = {
    "principal": "largest variance<br>(PCA)",
    "coordinates": "coordinates,<br>largest variance",
    "untrained": "PCA of the<br>untrained model",
    "other seed": "PCA of<br>another seed",
}
NOT_LEARNT = "not learnt"


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, site and basis.

    ``k50`` and ``k95`` are the least measured ranks from which on 50 and 95 % of what lies between guessing and the
    intact accuracy are reached, at all larger measured ranks, too; null where nothing was learnt. ``area`` is the mean
    of that share over the logarithm of the rank.
    """
    return pl.concat(_ranks(one.curves) for one in measured(runs))


def _ranks(curves: pl.DataFrame) -> pl.DataFrame:
    kept = curves.filter(pl.col("effect") == "keep", pl.col("basis") != "matched")
    place = kept.columns.index("site")
    return pl.DataFrame(
        [
            {**of_basis.row(0, named=True), **_summary(of_basis)}
            for of_basis in kept.partition_by("site", "basis", maintain_order=True)
        ],
        schema_overrides={"k50": pl.Int64, "k95": pl.Int64, "area": pl.Float64},
    ).select(*kept.columns[:place], "site", "basis", *SHARES, "area", *KEPT)


def _summary(curve: pl.DataFrame) -> dict[str, Any]:
    intact, floor = curve["intact"][0], curve["floor_accuracy"][0]
    ranks = {name: least_rank_or_none(curve, intact, floor, share) for name, share in SHARES.items()}
    values = curve.select("rank", pl.col("accuracy").alias("value"))
    return {**ranks, "area": area(values, intact, floor) if intact > floor else None}


def plot(table: pl.DataFrame) -> go.Figure:
    bases = [basis for basis in BASES if basis in set(table["basis"])]
    rows = [_row(of_site, bases) for of_site in table.partition_by("task", "trainable", "site", maintain_order=True)]
    figure = style.table_figure(
        ["task, site", *(HEADINGS.get(b, BASES[b]) for b in bases)], rows, [2.1, *[1.0] * len(bases)]
    )
    text = (
        f"{style.subtitle(table)}<br>k95, the least number of directions with 95 % of the accuracy above guessing: "
        "median over seeds; below it minimum to maximum, and k50<br>of PCA and those read most to within 1/16; of the "
        "others, which are measured at powers of four, the first that suffices"
    )
    return style.finish_table_with(figure, "How many directions suffice", text, width=1160)


def _row(of_site: pl.DataFrame, bases: list[str]) -> list[str]:
    task, trainable, site = of_site.select("task", "trainable", "site").row(0)
    label = f"{style.task_title(task)}, {site_name(site)}"
    return [label + style.small(regime_name(trainable)), *(_cell(of_site, basis) for basis in bases)]


def _cell(of_site: pl.DataFrame, basis: str) -> str:
    runs = of_site.filter(pl.col("basis") == basis)
    if runs.is_empty():
        return ""
    if (runs["intact"] <= runs["heuristic_accuracy"]).any() or runs["k95"].null_count():
        return NOT_LEARNT
    spread = f"{runs['k95'].min()} to {runs['k95'].max()}; " if len(runs) > 1 else ""
    return f"{runs['k95'].median():.0f}" + style.small(f"{spread}k50 {runs['k50'].median():.0f}")


FIGURE = Figure(
    name="table_ranks",
    title="How many directions suffice",
    caption=(
        "Claim tested: of all directions at a site, a random transformer uses a few that training has selected. k95 is "
        "the least number of a basis's first directions that, kept alone, reach 95 % of the accuracy above guessing, "
        "and do at all larger numbers that were measured, so that a chance success does not count; k50 is the same of "
        "50 %. The subspace was selected where a basis found on the trained model needs far fewer than random "
        "directions, than the coordinates, and than those of the untrained model. Of "
        f"{' and '.join(BASES[basis] for basis in FOUND)} k95 is found by bisection between powers of two. Measured on "
        f"{N_TEST_SEQUENCES} test sequences. The csv has the area under each curve over the logarithm of k. Found: "
        "yes, a few were selected; but fully trained models use fewer still after either layer."
    ),
    experiment="subspaces",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK, "trainable"),
    measurement=MEASUREMENT,
)
