"""Figure 8: how recall grows during training."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import style
from rtinterp.figures.curves import add_floor
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.figures.regime_style import regime_colour, regime_name
from rtinterp.papers.random_transformers.scales import MEMORIZATION_IN_CODE
from rtinterp.papers.random_transformers.table3_memorization import hyper_parameters
from rtinterp.plot.history import add_run
from rtinterp.plot.look import axes
from rtinterp.training.run import Run


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run and evaluation; ``recall`` and ``chance`` are shares of the pairs."""
    return pl.concat(with_run_columns(run, _history(run)) for run in runs)


def _history(run: Run) -> pl.DataFrame:
    constant = {**hyper_parameters(run), "chance": run.spec.task.floors()["chance"]}
    columns = {name: pl.lit(value) for name, value in constant.items()}
    return run.history.select("step", "train_loss", "test_loss", recall="test_accuracy", **columns)


def plot(table: pl.DataFrame) -> go.Figure:
    figure = go.Figure()
    for run in table.partition_by("d_model", "trainable", *MEMORIZATION_IN_CODE, "seed", maintain_order=True):
        trainable, rate, seed = (run[column][0] for column in ("trainable", "learning_rate", "seed"))
        name, colour = f"{regime_name(trainable)}, learning rate {rate:g}", regime_colour(trainable)
        look = {"name": name, "colour": colour, "dash": _dash(rate), "number_format": ".1%"}
        add_run(figure, run["step"].to_list(), run["recall"].to_list(), seed=seed, **look)
    add_floor(figure, table["chance"][0], "chance")
    axes(figure)
    figure.update_xaxes(title_text="training step", rangemode="tozero")
    figure.update_yaxes(title_text="share of pairs recalled", tickformat=".0%", rangemode="tozero")
    figure.update_layout(legend={"x": 0.01, "y": 0.99, "yanchor": "top", "bgcolor": "rgba(255,255,255,0.7)"})
    style.finish(figure, "Figure 8: memorization during training", table, width=860, height=400)
    return figure.update_layout(margin_r=80)


def _dash(learning_rate: float) -> str:
    return "solid" if learning_rate == MEMORIZATION_IN_CODE["learning_rate"] else "dash"


FIGURE = Figure(
    name="figure8_memorization",
    title="Figure 8: memorization curves",
    caption=(
        "Share of the random labels that models recall, during training: one line for each seed. Watch where each kind "
        "of model levels off. All pairs are trained on and tested. Solid: with learning rate and weight decay of the "
        "official code; dashed: of the paper's text. Dotted: guessing."
    ),
    experiment="memorization",
    compute=compute,
    plot=plot,
    hyper_parameters=tuple(MEMORIZATION_IN_CODE),
)
