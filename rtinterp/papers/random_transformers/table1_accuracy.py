"""Table 1: which models solve which tasks."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.analysis import accuracy, exact_match
from rtinterp.figures import certainty
from rtinterp.figures.accuracies import Part, accuracies, accuracy_table
from rtinterp.figures.figure import TASK, Figure
from rtinterp.models.regimes import Trainable
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.grid import whole_sums
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.tasks import ModularAddition
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
    """Make one row per run: accuracy and exact match in [0, 1], test rows and floors.

    ``size`` is "narrow" for the narrowest models of a scale and "wide" for the others; ``n_scored`` counts the scored
    predictions of a sequence. ``accuracy_without_twin`` is of the ``n_rows_without_twin`` test pairs (a, b) of modular
    addition of which (b, a) is not trained on either; null for other tasks.
    """
    without_twin = [without_twin_columns(run) for run in runs]
    return accuracies(runs).with_columns(
        pl.Series("size", [size_of(run.spec) for run in runs]),
        pl.Series("n_scored", list(map(n_scored, runs))),
        pl.Series("exact_match", list(map(exact_match_of, runs))),
        pl.Series("n_rows_without_twin", [n for n, _ in without_twin], dtype=pl.Int64),
        pl.Series("accuracy_without_twin", [share for _, share in without_twin], dtype=pl.Float64),
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


def without_twin_columns(run: Run) -> tuple[int | None, float | None]:
    """Count the test pairs whose commuted twin is not trained on, and measure the accuracy on them."""
    task = run.spec.task
    if not isinstance(task, ModularAddition):
        return None, None
    test_set = task.test_set()
    rows = test_set[~task.twin_is_trained(test_set.tokens)]
    return len(rows), accuracy(run.model, rows) if len(rows) else None


def plot(table: pl.DataFrame) -> go.Figure:
    columns = {
        header: (pl.col("body") == body) & (pl.col("size") == size) & (pl.col("trainable") == trainable)
        for header, (body, size, trainable) in MODELS.items()
    }
    title = "Table 1: test accuracy, %"
    return accuracy_table(
        title, table, columns, said=published.accuracy, parts_of=parts_of, note=published.note(table, "accuracy")
    )


def parts_of(of_task: pl.DataFrame) -> list[Part]:
    """Whole sequences where several predictions of one count, and pairs that commuting does not give away."""
    parts = []
    if of_task["n_scored"][0] > 1:
        described = f"all {of_task['n_scored'][0]} scored predictions right"
        parts.append(Part("exact match", described, "exact_match", "n_effective_rows"))
    if "n_rows_without_twin" in of_task.columns and of_task["n_rows_without_twin"].max():
        n_rows, chance = of_task["n_rows_without_twin"].max(), of_task["floor_accuracy"][0]
        described = f"(b, a) not trained on: {n_rows:,} rows"
        parts.append(Part("twins apart", described, "accuracy_without_twin", "n_rows_without_twin", floor=chance))
    return parts


FIGURE = Figure(
    name="table1_accuracy",
    title="Table 1: test accuracy",
    caption=(
        "Which models solve which tasks: random transformers, of which only the embeddings are trained, fully trained "
        "(normal) ones, and LSTMs as wide as the wide ones; of the random LSTM, which the paper does not report, only "
        "embeddings and decoder are trained. Accuracy is per scored token, beside what guessing and the best simple "
        f"heuristic reach. {certainty.CAPTION} Decimal addition is scored as the official code does it, from the "
        "second digit of the sum on; <i>exact match</i> counts the sums of which every scored token is right. Most of "
        "modular addition's test pairs (a, b) have their twin (b, a) among the training pairs; the others are shown "
        "apart. <i>paper</i>: the paper's number, under models of its own size alone."
    ),
    experiment="table1",
    compute=compute,
    plot=plot,
    rows=(TASK,),
    keeps_all_seeds=True,
)
