"""Table 9: transformers whose attention only sums what came before."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import certainty
from rtinterp.figures.accuracies import accuracies, accuracy_table
from rtinterp.figures.figure import TASK, Figure

BODIES = {"linearised<br>(prefix sums)": "linearised transformer", "softmax<br>attention": "transformer"}


def plot(table: pl.DataFrame) -> go.Figure:
    columns = {header: pl.col("body") == body for header, body in BODIES.items()}
    return accuracy_table("Table 9: test accuracy of fully trained transformers, %", table, columns)


FIGURE = Figure(
    name="table9_linearised",
    title="Table 9: linearised transformers",
    caption=(
        "Fully trained transformers in which a lower triangle of ones, not normalised, takes the place of the "
        "attention pattern, beside ones with softmax attention. Where the first do as well, summing over what came "
        "before is all the attention that the task needs. " + certainty.CAPTION
    ),
    experiment="table9",
    compute=accuracies,
    plot=plot,
    rows=(TASK,),
)
