"""Depth: accuracy by number of layers, and how far tokens keep apart before any training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.analysis import propagation_table
from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.curves import FLOOR_LABEL, add_curve
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.papers.random_attention.grid import OF_DEPTH
from rtinterp.papers.random_attention.regimes import COLOUR_OF, regime_of
from rtinterp.plot.look import axes
from rtinterp.training.run import Run

#: Test sequences whose tokens are followed through the layers.
N_ROWS = 256
#: Dash, symbol, and how far from its number of layers a regime is drawn, so that none lies under another.
LOOKS: dict[str, tuple[str, str, float]] = {
    "random transformer": ("solid", "circle", 0.0),
    "frozen QK": ("solid", "square", -0.15),
    "MixiT, code": ("dot", "diamond", 0.15),
}
TITLES = ("accuracy after training", "cosine of tokens at initialisation", "their mean square at initialisation")


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run and number of layers passed: ``cosine`` and ``mean_square`` of the initial model there.

    They are means over test sequences, as ``propagation_table`` has them; ``test_accuracy`` is the trained model's, in
    [0, 1].
    """
    return pl.concat(with_run_columns(run, _propagation(run)) for run in runs)


def _propagation(run: Run) -> pl.DataFrame:
    table = propagation_table(run.initial_model, run.spec.task.test_set().tokens[:N_ROWS])
    of_run = {"regime": regime_of(run.spec), "test_accuracy": run.test_accuracy, **floor_columns(run.spec.task)}
    return table.with_columns(pl.lit(value).alias(name) for name, value in of_run.items())


def plot(table: pl.DataFrame) -> go.Figure:
    figure = make_subplots(1, 3, subplot_titles=TITLES, horizontal_spacing=0.09)
    figure.update_annotations(font_size=13)
    deepest = table.filter(pl.col("n_layers") == pl.col("n_layers").max())
    for name in OF_DEPTH:
        of_regime: Any = pl.col("regime") == name
        dash, symbol, aside = LOOKS[name]
        look: dict[str, Any] = {"name": name, "colour": COLOUR_OF[name], "dash": dash, "symbol": symbol}
        runs = table.filter(of_regime, pl.col("layer") == 0).with_columns(pl.col("n_layers") + aside)
        add_curve(figure, runs, "n_layers", "test_accuracy", **look, row=1, col=1)
        if name == "frozen QK":
            continue  # it starts as the random transformer does
        for column, measured in ((2, "cosine"), (3, "mean_square")):
            place: dict[str, Any] = {"row": 1, "col": column}
            add_curve(figure, deepest.filter(of_regime), "layer", measured, **look, in_legend=False, **place)
    for name in ("floor", "heuristic"):
        _add_floor(figure, table[f"{name}_accuracy"][0], table[name][0])
    axes(figure).update_yaxes(tickformat=".0%", range=[0, 1.03], col=1)
    figure.update_xaxes(title_text="layers", tickvals=table["n_layers"].unique().sort().to_list(), col=1)
    for column in (2, 3):
        figure.update_xaxes(title_text="layers passed", col=column)
    figure.update_yaxes(rangemode="tozero", col=3)
    style.finish(figure, "Depth", table, width=1100, height=340)
    return figure.update_layout(margin_b=110, legend={"orientation": "h", "x": 0, "y": -0.22})


def _add_floor(figure: go.Figure, height: float, label: str) -> None:
    place: dict[str, Any] = {"row": 1, "col": 1}
    figure.add_hline(y=height, line={"color": style.FLOOR_COLOUR, "dash": "dot"}, **place)
    figure.add_annotation(
        x=0.02, xref="x domain", xanchor="left", y=height, yanchor="top", text=label, showarrow=False, font=FLOOR_LABEL,
        **place,
    )  # fmt: skip


FIGURE = Figure(
    name="figure_depth",
    title="Depth: what is lost with more layers",
    caption=(
        "Claim tested: random attention lets tokens become alike with depth, so that deep random transformers fail, "
        "and MixiT's scaled residual stream does not. Left, decimal addition by number of layers; dotted: guessing, "
        "and the best simple heuristic. Beside it, of the deepest models before training: the mean cosine of two "
        "positions of a sequence after each layer, and the mean square of the residual stream. Frozen QK starts as the "
        "random transformer does. Points are seeds, lines medians; on the left, those of frozen QK and MixiT are moved "
        "aside, since they would cover each other."
    ),
    experiment="depth",
    compute=compute,
    plot=plot,
    more_columns={"regime": regime_of},
)
