"""What a model would predict after each layer, and what that is made of."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import layer_estimates, lens_table, next_term_estimates
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.papers.affine_recurrences.opened_models import FIRST_POSITION, N_ROWS, OUR_DESIGN
from rtinterp.plot.heatmaps import add_heatmap
from rtinterp.plot.look import colour_bar
from rtinterp.tasks import Batch
from rtinterp.training.run import Run

MODELS = {"trained": "after training", "untrained": "before training"}
#: What estimates are regressed on, and how it is written.
PREDICTORS = {
    "last": "x<sub>t</sub>",
    "before last": "x<sub>t-1</sub>",
    "last two": "x<sub>t</sub>, x<sub>t-1</sub>",
    "last difference": "x<sub>t</sub> - x<sub>t-1</sub>",
    "next difference": "x<sub>t+1</sub> - x<sub>t</sub>",
    "mean of two": "mean of two",
    "gradient step": "gradient step",
    "least squares": "least squares",
}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, state (trained or not), layer and predictor.

    ``layer`` -1 is what the embeddings say. ``r2`` is of the regression of the layer's estimate on the predictor, over
    test sequences and positions from the third on; ``mse`` the mean square of what they differ by.
    """
    return pl.concat(with_run_columns(run, _lens(run)) for run in runs)


def _lens(run: Run) -> pl.DataFrame:
    batch = run.spec.task.test_set()[:N_ROWS]
    parts = []
    for state, model in (("trained", run.model), ("untrained", run.initial_model)):
        table = lens_table(layer_estimates(model, batch.tokens), _predictors(batch), FIRST_POSITION)
        parts.append(table.select(pl.lit(state).alias("state"), *table.columns))
    return pl.concat(parts).with_columns(n_test_rows=pl.lit(N_ROWS))


def _predictors(batch: Batch) -> dict[str, Float[Tensor, "batch pos _"]]:
    assert batch.targets is not None
    now = batch.tokens
    before = now.roll(1, dims=1)
    estimates = next_term_estimates(batch)
    return {
        "last": now,
        "before last": before,
        "last two": torch.cat([now, before], dim=-1),
        "last difference": now - before,
        "next difference": batch.targets - now,
        **{name: estimates[name] for name in ("mean of two", "gradient step", "least squares")},
    }


def plot(table: pl.DataFrame) -> go.Figure:
    states = table["state"].unique(maintain_order=True).to_list()
    figure = make_subplots(1, len(states), subplot_titles=[MODELS[state] for state in states], horizontal_spacing=0.14)
    layers = table["layer"].unique().sort().to_list()
    rows = ["embeddings" if layer < 0 else f"after layer {layer}" for layer in layers]
    for column, state in enumerate(states, 1):
        medians = (
            table.filter(pl.col("state") == state)
            .group_by("layer", "predictor", maintain_order=True)
            .agg(pl.col("r2").median())
        )
        values = {(layer, predictor): value for layer, predictor, value in medians.rows()}
        grid = [[values[layer, predictor] for predictor in PREDICTORS] for layer in layers]
        add_heatmap(figure, grid, list(PREDICTORS.values()), rows, with_numbers=True, row=1, col=column)
    figure.update_layout(
        coloraxis={"colorscale": "Blues", "cmin": 0, "cmax": 1, "colorbar": colour_bar("R<sup>2</sup>")}
    )
    return style.finish(
        figure, "What each layer would predict, and what that is made of", table, width=1080, height=280
    )


FIGURE = Figure(
    name="figure_layer_lens",
    title="What each layer would predict, and what that is made of",
    caption=(
        "After each layer the residual stream is read out as after the last one, and this estimate regressed on what "
        "may have made it: the share of its variance that is explained, median over seeds, over test sequences and all "
        "positions from the third on. The abstract says that layer 0 forms an initial estimate by copying: if so, its "
        "estimate is made of the last two terms." + OUR_DESIGN
    ),
    experiment="opened",
    compute=compute,
    plot=plot,
)
