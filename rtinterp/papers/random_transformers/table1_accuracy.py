"""Table 1: which models solve which tasks."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.analysis import exact_match
from rtinterp.figures.accuracies import accuracies, accuracy_table
from rtinterp.figures.figure import TASK, Figure
from rtinterp.models.regimes import Trainable
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.grid import whole_sums
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

#: Body, size and regime of every column.
MODELS: dict[str, tuple[str, published.Size, Trainable]] = {
    "random<br>wide": ("transformer", "wide", "embeddings"),
    "normal<br>wide": ("transformer", "wide", "all"),
    "random<br>narrow": ("transformer", "narrow", "embeddings"),
    "normal<br>narrow": ("transformer", "narrow", "all"),
    "LSTM<br>trained": ("lstm", "wide", "all"),
    "LSTM<br>random": ("lstm", "wide", "embeddings"),
}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: accuracy and exact match in [0, 1], floors, and the paper's accuracy where it is known.

    ``size`` is "narrow" for the narrowest models of a scale and "wide" for the others; ``n_scored`` counts the scored
    predictions of a sequence.
    """
    sizes: list[published.Size] = [size_of(run.spec) for run in runs]
    known = [
        published.accuracy(run.spec.task, run.spec.model.label, size, run.spec.trainable)
        for run, size in zip(runs, sizes, strict=True)
    ]
    return accuracies(runs).with_columns(
        pl.Series("size", sizes),
        pl.Series("n_scored", list(map(n_scored, runs))),
        pl.Series("exact_match", list(map(exact_match_of, runs))),
        pl.Series("paper_accuracy", known, dtype=pl.Float64),
    )


def size_of(spec: RunSpec) -> published.Size:
    """Tell what a model stands for, by the scale that has its task."""
    narrow = {
        budget.narrow
        for scale in SCALES.values()
        for budget in (*scale.algorithmic, whole_sums(scale))
        if budget.task == spec.task
    }
    return "narrow" if spec.model.d_model in narrow else "wide"


def n_scored(run: Run) -> int:
    """Count the most predictions that a test sequence scores."""
    return int(run.spec.task.test_set().scored.sum(dim=1).max())


def exact_match_of(run: Run) -> float:
    """Measure the share of test sequences all of whose scored predictions are right."""
    if n_scored(run) == 1:
        return run.test_metric("accuracy")
    return exact_match(run.model, run.spec.task.test_set())


def plot(table: pl.DataFrame) -> go.Figure:
    columns = {
        header: (pl.col("body") == body) & (pl.col("size") == size) & (pl.col("trainable") == trainable)
        for header, (body, size, trainable) in MODELS.items()
    }
    widths = " and ".join(map(str, published.PAPER_WIDTHS.values()))
    note = f"paper: what it reports for its own sizes and budgets, at width {widths}"
    return accuracy_table("Table 1: test accuracy, %", table, columns, paper="paper_accuracy", note=note)


FIGURE = Figure(
    name="table1_accuracy",
    title="Table 1: test accuracy",
    caption=(
        "Wide random transformers, of which only the embeddings are trained, solve the tasks that fully trained "
        "(normal) ones solve; narrow random ones do not. The LSTMs are as wide; of the random one, which the paper "
        "does not report, only embeddings and decoder are trained. Median over seeds, minimum to maximum below; "
        "accuracy per scored token, beside what guessing and the best simple heuristic reach. Decimal addition is "
        "scored as the official code does it, from the second digit of the sum on; <i>exact match</i> counts the sums "
        "of which every scored token is right. <i>paper</i>: the paper's number, where it is known, for "
        "its own sizes and budgets."
    ),
    experiment="table1",
    compute=compute,
    plot=plot,
    rows=(TASK,),
)
