"""Figure 4: language-modelling loss against width, at two depths."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import style
from rtinterp.figures.curves import add_curve, add_floor, log_axis
from rtinterp.figures.figure import Figure, run_columns, task_of
from rtinterp.figures.regime_style import regime_colour, regime_name
from rtinterp.papers.random_transformers.grid import RANDOM_AND_NORMAL
from rtinterp.plot.look import axes
from rtinterp.tasks import LanguageModelling
from rtinterp.training.run import Run

#: Dash and symbol of the lines of the shallowest, the next and a third depth.
DEPTH_LOOKS = (("solid", "circle"), ("dash", "square-open"), ("dot", "diamond-open"))


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: test loss, and what n-gram models of its corpus reach there, in nats per token.

    Raises:
        ValueError: the corpus is not open.
    """
    tasks = [task_of(run, LanguageModelling) for run in runs]
    floors = {task: _floors(task) for task in dict.fromkeys(tasks)}
    rows = ({"test_loss": run.test_loss, **floors[task]} for run, task in zip(runs, tasks, strict=True))
    return pl.DataFrame([{**run_columns(run), **row} for run, row in zip(runs, rows, strict=True)])


def _floors(task: LanguageModelling) -> dict[str, float]:
    return {"unigram_entropy": task.unigram_entropy(), "bigram_entropy": task.bigram_entropy()}


def plot(table: pl.DataFrame) -> go.Figure:
    figure = go.Figure()
    depths = table["n_layers"].unique().sort().to_list()
    for trainable in RANDOM_AND_NORMAL:
        for n_layers, (dash, symbol) in zip(depths, DEPTH_LOOKS, strict=False):
            runs = table.filter(pl.col("trainable") == trainable, pl.col("n_layers") == n_layers)
            name = f"{regime_name(trainable)}, {n_layers} layers"
            colour = regime_colour(trainable)
            add_curve(figure, runs, "d_model", "test_loss", name=name, colour=colour, dash=dash, symbol=symbol)
    for kind in ("unigram", "bigram"):
        height = table[f"{kind}_entropy"][0]
        add_floor(figure, height, f"{kind} model<br>{height:.2f}")
    axes(figure)
    log_axis(figure, table["d_model"].unique().sort().to_list(), "width (d<sub>model</sub>)")
    figure.update_yaxes(title_text="test loss, nats per token")
    two_columns = {"entrywidth": 0.45, "entrywidthmode": "fraction"}
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.15, **two_columns})
    text = f"{style.subtitle(table)}<br>{_worse_than_bigrams(table)}"
    style.finish_with(figure, "Figure 4: language-modelling loss against width", text, width=820, height=430)
    return figure.update_layout(margin_b=120, margin_r=110)


def _worse_than_bigrams(table: pl.DataFrame) -> str:
    """``"worse than the bigram model (3.40): random transformer: all 6 models; fully trained: width 16, 2 layers"``."""
    told = []
    for trainable in RANDOM_AND_NORMAL:
        of_kind = table.filter(pl.col("trainable") == trainable)
        models = of_kind.group_by("n_layers", "d_model").agg(pl.col("test_loss", "bigram_entropy").median())
        worse = models.filter(pl.col("test_loss") > pl.col("bigram_entropy")).sort("n_layers", "d_model")
        names = "; ".join(f"width {d_model}, {n} layers" for n, d_model in worse.select("n_layers", "d_model").rows())
        names = "none" if worse.is_empty() else f"all {len(models)} models" if len(worse) == len(models) else names
        told.append(f"{regime_name(trainable)}: {names}")
    return f"medians worse than the bigram model ({table['bigram_entropy'][0]:.2f}): {'. '.join(told)}"


FIGURE = Figure(
    name="figure4_language_loss",
    title="Figure 4: language modelling",
    caption=(
        "Cross-entropy on held-out stories, in nats per token of the corpus's own byte-pair encoding: each point is a "
        "seed, lines join the medians. Compare at one height: how much wider is a random transformer of the same loss? "
        "Dotted: models that know how frequent tokens are (unigram), or how often one follows another (bigram). A "
        "transformer below the second uses more than the current token; which are above it, and so do not show that "
        "they do, stands under the title. Training windows are drawn with replacement."
    ),
    experiment="figure4",
    compute=compute,
    plot=plot,
)
