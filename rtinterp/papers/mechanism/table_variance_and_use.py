"""Variance against use: the directions of largest variance that suffice beside those that are read most."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import style
from rtinterp.figures.figure import TASK, Figure
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.mechanism.figure_rank_curves import site_name
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.papers.mechanism.rank_measurements import BESIDE, MEASUREMENT, measured
from rtinterp.papers.mechanism.table_ranks import NOT_LEARNT
from rtinterp.training.run import Run

HEADER = [
    "task, site", "k95 of PCA", "variance<br>in these, %", "k95 of<br>those read most", "variance<br>in these, %",
    "overlap of<br>the two, %", "accuracy, %: as<br>many random", "random, of<br>equal variance",
]  # fmt: skip


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run and site; all but ranks and angles (in degrees) are shares in [0, 1].

    ``overlap`` is the mean squared cosine of the principal angles between the first ``k95_principal`` directions of
    largest variance and the first ``k95_sensitive`` of those read most, ``expected_overlap`` its expectation were one
    of them random. ``random_*`` and ``matched_*`` are accuracies, over draws, with as many random directions as the
    smaller of the two has (``rank``). All is null where nothing was learnt.
    """
    return pl.concat((one.sites for one in measured(runs)), how="vertical_relaxed")


def plot(table: pl.DataFrame) -> go.Figure:
    rows = [_row(of_site) for of_site in table.partition_by("task", "trainable", "site", maintain_order=True)]
    figure = style.table_figure(HEADER, rows, [2.1, *[1.0] * (len(HEADER) - 1)])
    text = (
        f"{style.subtitle(table)}<br>median over seeds, minimum to maximum below; overlap: mean squared cosine of the "
        "principal angles<br>random directions: median over draws, as many as the smaller k95; [ ]: most of all draws"
    )
    return style.finish_table_with(figure, "Variance against use", text, width=1160)


def _row(of_site: pl.DataFrame) -> list[str]:
    task, trainable, site = of_site.select("task", "trainable", "site").row(0)
    label = f"{style.task_title(task)}, {site_name(site)}" + style.small(regime_name(trainable))
    if of_site["overlap"].null_count() or (of_site["intact"] <= of_site["heuristic_accuracy"]).any():
        return [label, NOT_LEARNT, *[""] * (len(HEADER) - 2)]
    cells = []
    for basis in ("principal", "sensitive"):
        cells += [style.median_and_range_of(of_site[f"k95_{basis}"], ".0f"), _share(of_site, f"variance_{basis}")]
    at_random = style.median_of(of_site["expected_overlap"])
    overlap = style.median_of(of_site["overlap"]) + style.small(f"at random {at_random}")
    return [label, *cells, overlap, *(_of_draws(of_site, basis) for basis in BESIDE)]


def _share(of_site: pl.DataFrame, column: str) -> str:
    return style.median_and_range(of_site[column])


def _of_draws(of_site: pl.DataFrame, basis: str) -> str:
    known = of_site.drop_nulls(f"{basis}_median")
    if known.is_empty():
        return ""
    most = style.median_of(known[f"{basis}_max"].sort().tail(1))
    return style.median_of(known[f"{basis}_median"]) + style.small(f"[{most}]")


FIGURE = Figure(
    name="table_variance_and_use",
    title="Variance against use",
    caption=(
        "Claim tested: the directions that hold the variance are the directions that are used. Two bases of the same "
        "site are compared at the rank at which each suffices (95 % of the accuracy above guessing): PCA, and the "
        "directions that the rest of the model reads most. Their overlap is the mean squared cosine of the principal "
        "angles between the two subspaces; <i>at random</i> is its expectation for a random subspace of these sizes. "
        f"As a control, {BESIDE['random']} draws of random directions, as many as the smaller subspace has, and "
        f"{BESIDE['matched']} draws that hold as much variance as those read most. Where the two bases need very "
        "different numbers of directions, variance is not use; where they overlap more than at random, neither is it "
        "unrelated. The directions read most are found to first order, and are kept by an orthogonal projection: where "
        "they need more directions than PCA, that is no proof that fewer would not do. Found: no. After the last layer "
        "of random transformers the directions that are used hold less than a fifth of the variance; full training "
        "aligns the two."
    ),
    experiment="subspaces",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK, "trainable"),
    measurement=MEASUREMENT,
)
