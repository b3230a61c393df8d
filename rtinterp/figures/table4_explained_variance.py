"""Table 4: how few directions the residual stream occupies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
import polars as pl
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.analysis import positions_that_feed, residual_explained_variance
from rtinterp.experiments import SCALES
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.figures.table1_accuracy import REGIMES
from rtinterp.tasks import Task
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

N_SEQUENCES = 1000
SEQUENCES_PER_PASS = 200


def specs(scale: str, n_seeds: int) -> list[RunSpec]:
    return [
        run
        for experiment in SCALES[scale]
        for trainable in REGIMES
        for run in experiment.runs(experiment.wide, trainable, n_seeds)
    ]


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """One row per run and site; shares of variance in [0, 1]."""
    return pl.concat(
        with_run_columns(run, residual_explained_variance(run.model, _test_activations(run.spec.task))) for run in runs
    )


def _test_activations(task: Task) -> Iterator[tuple[Int64[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]]:
    """Test sequences, and which of their positions count: pads and the final answer do not."""
    test_set = task.test_set()[:N_SEQUENCES]
    for start in range(0, len(test_set), SEQUENCES_PER_PASS):
        batch = test_set[start : start + SEQUENCES_PER_PASS]
        yield batch.tokens, positions_that_feed(batch.scored)


def plot(table: pl.DataFrame) -> go.Figure:
    sites = table["site"].unique(maintain_order=True).to_list()
    rows = [
        [
            style.task_title(task) + style.small(style.REGIME_NAMES[trainable]),
            *(
                style.median_and_range(group.filter(pl.col("site") == site)[f"share_{kind}"])
                for kind in ("principal_components", "coordinates")
                for site in sites
            ),
        ]
        for (task, trainable), group in table.group_by(["task", "trainable"], maintain_order=True)
    ]
    k = table["k"][0]
    header = ["task", *(f"{kind}<br>{site}" for kind in (f"top {k} PCs", f"top {k} neurons") for site in sites)]
    figure = style.table_figure(header, rows, [2.0, *[1.0] * (len(header) - 1)])
    title = f"Table 4: residual variance in {k} directions, %"
    return style.finish_table(figure, title, table, width=1080, n_rows=len(rows))


FIGURE = Figure(
    name="table4_explained_variance",
    title="Table 4: explained variance",
    caption=(
        "Share of the residual stream's variance in its ten largest principal components, and in the ten residual "
        "coordinates of largest variance (the paper's <i>neurons</i>). Few directions suffice, and they are not the "
        "coordinate axes. Centred; test sequences without padding and answers; the last layer before the final "
        "LayerNorm. Median over seeds, minimum to maximum below."
    ),
    specs=specs,
    compute=compute,
    plot=plot,
)
