"""Table 2: which embeddings have to be trained."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import certainty
from rtinterp.figures.accuracies import accuracies, accuracy_table
from rtinterp.figures.figure import TASK, Figure
from rtinterp.models.regimes import Trainable
from rtinterp.papers.random_transformers import published

REGIMES: dict[str, Trainable] = {
    "unembedding": "unembedding",
    "input embeddings<br>(token, position)": "input_embeddings",
    "token embedding,<br>unembedding": "token_embedding+unembedding",
    "all<br>embeddings": "embeddings",
}


def plot(table: pl.DataFrame) -> go.Figure:
    columns = {header: pl.col("trainable") == trainable for header, trainable in REGIMES.items()}
    title = "Table 2: test accuracy by what is trained, %"
    note = published.note(table, "statement")
    return accuracy_table(title, table, columns, said=published.statement, note=note)


FIGURE = Figure(
    name="table2_subsets",
    title="Table 2: accuracy by what is trained",
    caption=(
        "Wide random transformers of which only some embeddings are trained; the others stay at their initial values, "
        "like the body. Compare each with training all embeddings, on the right, and with what guessing and the best "
        f"simple heuristic reach. {certainty.CAPTION} <i>paper</i>: whether the paper's models solve the task, under "
        "models of its size alone, where it is known."
    ),
    experiment="table2",
    compute=accuracies,
    plot=plot,
    rows=(TASK,),
    keeps_all_seeds=True,
)
