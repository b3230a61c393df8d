"""Table 2: which embeddings have to be trained."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures.accuracies import accuracies, accuracy_table
from rtinterp.figures.figure import TASK, Figure
from rtinterp.models.regimes import Trainable
from rtinterp.papers.random_transformers import published
from rtinterp.training.run import Run

REGIMES: dict[str, Trainable] = {
    "unembedding": "unembedding",
    "input embeddings<br>(token, position)": "input_embeddings",
    "token embedding,<br>unembedding": "token_embedding+unembedding",
    "all<br>embeddings": "embeddings",
}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: accuracy and floors in [0, 1], and what the paper says of such models, if it is known."""
    said = [published.statement(run.spec.task, run.spec.trainable) for run in runs]
    return accuracies(runs).with_columns(pl.Series("paper_statement", said, dtype=pl.String))


def plot(table: pl.DataFrame) -> go.Figure:
    columns = {header: pl.col("trainable") == trainable for header, trainable in REGIMES.items()}
    title = "Table 2: test accuracy by what is trained, %"
    note = f"paper: what it reports for its own sizes and budgets, at width {published.PAPER_WIDTHS['wide']}"
    return accuracy_table(title, table, columns, paper="paper_statement", note=note)


FIGURE = Figure(
    name="table2_subsets",
    title="Table 2: accuracy by what is trained",
    caption=(
        "Wide random transformers of which only some embeddings are trained; the others stay at their initial values, "
        "like the body. Compare each with training all embeddings, on the right, and with what guessing and the best "
        "simple heuristic reach. Median over seeds, minimum to maximum below. <i>paper</i>: whether the paper's models "
        "solve the task, where it is known."
    ),
    experiment="table2",
    compute=compute,
    plot=plot,
    rows=(TASK,),
)
