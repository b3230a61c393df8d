"""Figure 3: residues on circles in the trained token embedding."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl
import torch
from plotly.subplots import make_subplots

from rtinterp.analysis import (
    correct_logits,
    distance_irrelevance,
    dominant_frequencies,
    gradient_symmetricity,
    residue_circles,
)
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, task_of, with_run_columns
from rtinterp.models.parameters import TOKEN_EMBEDDING
from rtinterp.papers.random_transformers import published
from rtinterp.plot.circles import add_circle, circle_title
from rtinterp.plot.look import axes
from rtinterp.tasks import ModularAddition
from rtinterp.training.run import Run

N_CIRCLES = 3
MAX_SEEDS_SHOWN = 3
#: Draws the triples of gradient symmetricity.
TRIPLES_SEED = 0


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, circle and residue: its coordinates in the two components that hold the circle.

    Component numbers count from 1, as in the paper. ``dominant_share`` is the share of the embedding's power at the
    frequencies that stand out; ``frequencies`` lists them, strongest first. The last two columns are the run's gradient
    symmetricity and distance irrelevance (arXiv 2306.17844).
    """
    return pl.concat(with_run_columns(run, _circles(run).with_columns(**_circuit(run))) for run in runs)


def _circuit(run: Run) -> dict[str, pl.Expr]:
    """Whether the model treats both numbers alike, and how little it minds how far apart they are."""
    model, task = run.model, task_of(run, ModularAddition)
    symmetricity = gradient_symmetricity(model, task, torch.Generator().manual_seed(TRIPLES_SEED))
    with torch.no_grad():
        irrelevance = distance_irrelevance(correct_logits(model, task))
    return {"gradient_symmetricity": pl.lit(symmetricity), "distance_irrelevance": pl.lit(irrelevance)}


def _circles(run: Run) -> pl.DataFrame:
    W_E = run.trained[TOKEN_EMBEDDING]
    dominant = dominant_frequencies(W_E)
    points = ("residue", "x", "y")
    return (
        residue_circles(W_E, N_CIRCLES)
        .select(
            pl.exclude(*points),
            pl.lit(dominant["share"].sum()).alias("dominant_share"),
            pl.lit(" ".join(map(str, dominant["frequency"]))).alias("frequencies"),
            *points,
        )
        .with_columns(pl.col("component_x", "component_y") + 1)
    )


def plot(table: pl.DataFrame) -> go.Figure:
    seeds = table["seed"].unique().sort().to_list()[:MAX_SEEDS_SHOWN]
    panels = [((row, circle), _panel(table, seed, circle)) for row, seed in enumerate(seeds, 1) for circle in (1, 2, 3)]
    figure = make_subplots(
        len(seeds),
        N_CIRCLES,
        subplot_titles=[_panel_title(panel) for _, panel in panels],
        horizontal_spacing=0.08,
        vertical_spacing=0.28 / len(seeds),
    )
    for (row, column), panel in panels:
        add_circle(figure, panel, shows_scale=row == column == 1, row=row, col=column)
    axes(figure)
    title = "Figure 3: modular addition, the token embedding in its principal components"
    text = f"{style.subtitle(table)}<br>{_circuit_line(table)}"
    style.finish_with(figure, title, text, width=1080, height=340 * len(seeds))
    return figure.update_layout(margin_r=90)


def _circuit_line(table: pl.DataFrame) -> str:
    """Medians of the two measures, and what the paper reports."""
    runs = table.unique("seed")
    return ", ".join(
        f"{column.replace('_', ' ')} {runs[column].median():.2f} (paper: {number.value:.2f})"
        for column, number in published.CIRCUIT_MEASURES.items()
    )


def _panel(table: pl.DataFrame, seed: int, circle: int) -> pl.DataFrame:
    return table.filter(pl.col("seed") == seed, pl.col("circle") == circle)


def _panel_title(panel: pl.DataFrame) -> str:
    return f"seed {panel['seed'][0]} · {circle_title(panel)}"


FIGURE = Figure(
    name="figure3_embeddings",
    title="Figure 3: circular embeddings",
    caption=(
        "Rows of the trained W<sub>E</sub> in the pairs of principal components that hold the best circles. On one "
        "of frequency k, residue n stands at the angle 2πkn/p; residues are coloured by that angle, so a circle shows "
        "as a wheel of colours, and grey lines join its neighbours. R² is the share of the two components' variance "
        "that the circle explains. Gradient symmetricity is 1 where the model reads the two numbers only through the "
        "sum of their embeddings; distance irrelevance is near 1 for a model that multiplies (a <i>clock</i>) and near "
        "0 for one that averages (a <i>pizza</i>); medians over seeds."
    ),
    experiment="figure3",
    compute=compute,
    plot=plot,
)
