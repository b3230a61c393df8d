"""Table 4: how few directions the residual stream occupies; table 7 asks the same of narrower models."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rtinterp.analysis import positions_that_feed, residual_explained_variance
from rtinterp.figures import style
from rtinterp.figures.figure import TASK, Figure, with_run_columns
from rtinterp.figures.regime_style import regime_name
from rtinterp.tasks import Task
from rtinterp.tasks.base import FIXED_SEED
from rtinterp.training.run import Run

N_SEQUENCES = 1000
SEQUENCES_PER_PASS = 200


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run and site; shares of variance are in [0, 1]."""
    return pl.concat(
        with_run_columns(run, residual_explained_variance(run.model, _test_activations(run.spec.task))) for run in runs
    )


def _test_activations(task: Task) -> Iterator[tuple[Int64[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]]:
    """Test sequences, and which of their positions count: pads and the final answer do not.

    They are drawn at random, since not every test set is in random order: memorization's goes through its pairs.
    """
    test_set = task.test_set()
    chosen = random.Random(FIXED_SEED).sample(range(len(test_set)), min(N_SEQUENCES, len(test_set)))
    for start in range(0, len(chosen), SEQUENCES_PER_PASS):
        batch = test_set[torch.tensor(chosen[start : start + SEQUENCES_PER_PASS])]
        yield batch.tokens, positions_that_feed(batch.scored)


def plot(table: pl.DataFrame, number: int) -> go.Figure:
    sites = table["site"].unique(maintain_order=True).to_list()
    rows = [
        [
            style.task_title(task) + style.small(regime_name(trainable)) + style.standing(group),
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
    title = f"Table {number}: residual variance in {k} directions, %"
    return style.finish_table(figure, title, table, width=1080, n_rows=len(rows))


def explained_variance_figure(number: int, caption: str, experiment: str) -> Figure:
    """Make one of the paper's tables of explained variance, by its number."""
    return Figure(
        name=f"table{number}_explained_variance",
        title=f"Table {number}: explained variance",
        caption=caption,
        experiment=experiment,
        compute=compute,
        plot=functools.partial(plot, number=number),
        rows=(TASK, "trainable"),
    )


FIGURE = explained_variance_figure(
    number=4,
    caption=(
        "Share of the residual stream's variance in its ten largest principal components, and in the ten residual "
        "coordinates of largest variance (the paper's <i>neurons</i>). Where the first is large and the second is not, "
        "few directions suffice, and they are not the coordinate axes. Centred; test sequences without padding and "
        "answers; the last layer before the final LayerNorm. Median over seeds, minimum to maximum below."
    ),
    experiment="table4",
)
