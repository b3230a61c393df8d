"""Figure 3: residues on circles in the trained token embedding."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl
import torch
from plotly.subplots import make_subplots

from rtinterp.analysis import (
    circle_fits,
    correct_logits,
    distance_irrelevance,
    dominant_frequencies,
    gradient_symmetricity,
    principal_components,
)
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.models.parameters import TOKEN_EMBEDDING
from rtinterp.papers.random_transformers import published
from rtinterp.training.run import Run

N_COMPONENTS = 10
N_CIRCLES = 3
MAX_SEEDS_SHOWN = 3
#: Draws the triples of gradient symmetricity.
TRIPLES_SEED = 0


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """One row per run, circle and residue: its coordinates in the two components that hold the circle.

    Component numbers count from 1, as in the paper. ``dominant_share`` is the share of the embedding's power at the
    frequencies that stand out; ``frequencies`` lists them, strongest first. The last two columns are the run's gradient
    symmetricity and distance irrelevance (arXiv 2306.17844).
    """
    return pl.concat(with_run_columns(run, _circles(run).with_columns(**_circuit(run))) for run in runs)


def _circuit(run: Run) -> dict[str, pl.Expr]:
    """Whether the model treats both numbers alike, and how little it minds how far apart they are."""
    model, task = run.model, run.spec.task
    symmetricity = gradient_symmetricity(model, task, torch.Generator().manual_seed(TRIPLES_SEED))
    with torch.no_grad():
        irrelevance = distance_irrelevance(correct_logits(model, task))
    return {"gradient_symmetricity": pl.lit(symmetricity), "distance_irrelevance": pl.lit(irrelevance)}


def _circles(run: Run) -> pl.DataFrame:
    W_E = run.trained[TOKEN_EMBEDDING]
    components = principal_components(W_E, N_COMPONENTS)
    dominant = dominant_frequencies(W_E)
    circles = []
    for rank, fit in enumerate(_disjoint(circle_fits(components.scores)).iter_rows(named=True), start=1):
        x, y = fit["component_x"], fit["component_y"]
        share = components.explained_variance_ratio[[x, y]].sum().item()
        columns = {
            "circle": rank,
            "component_x": x + 1,
            "component_y": y + 1,
            "frequency": fit["frequency"],
            "r_squared": fit["r_squared"],
            "share_of_variance": share,
            "dominant_share": dominant["share"].sum(),
            "frequencies": " ".join(map(str, dominant["frequency"])),
        }
        points = {
            "residue": range(len(W_E)),
            "x": components.scores[:, x].tolist(),
            "y": components.scores[:, y].tolist(),
        }
        circles.append(pl.DataFrame(points).with_columns(pl.lit(v).alias(k) for k, v in columns.items()))
    return pl.concat(circles).select(*columns, *points)


def _disjoint(fits: pl.DataFrame) -> pl.DataFrame:
    """The best circles of which no two share a component."""
    taken: set[int] = set()
    chosen = []
    for fit in fits.iter_rows(named=True):
        pair = {fit["component_x"], fit["component_y"]}
        if len(chosen) < N_CIRCLES and not taken & pair:
            taken |= pair
            chosen.append(fit)
    return pl.DataFrame(chosen)


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
        _add_circle(figure, panel, row, column, shows_scale=row == column == 1)
    style.axes(figure)
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
    frequency, r_squared, seed = panel["frequency"][0], panel["r_squared"][0], panel["seed"][0]
    return f"seed {seed} · frequency {frequency} · R² {r_squared:.2f}"


def _add_circle(figure: go.Figure, panel: pl.DataFrame, row: int, column: int, shows_scale: bool) -> None:
    p, frequency = len(panel), panel["frequency"][0]
    panel = panel.with_columns(turn=(pl.col("residue") * frequency) % p / p).sort("turn")
    closed = [*panel.rows(named=True), panel.row(0, named=True)]
    figure.add_scatter(
        x=[point["x"] for point in closed],
        y=[point["y"] for point in closed],
        mode="lines",
        line={"color": style.GRID, "width": 1},
        hoverinfo="skip",
        showlegend=False,
        row=row,
        col=column,
    )
    marker = {"color": panel["turn"].to_list(), "colorscale": "Phase", "cmin": 0, "cmax": 1, "size": 8}
    if shows_scale:
        marker |= {"showscale": True, "colorbar": {"title": "k · residue<br>mod p, / p", "thickness": 14}}
    figure.add_scatter(
        x=panel["x"].to_list(),
        y=panel["y"].to_list(),
        text=panel["residue"].to_list(),
        hovertemplate="residue %{text}<extra></extra>",
        mode="markers",
        marker=marker,
        showlegend=False,
        row=row,
        col=column,
    )
    share = panel["share_of_variance"][0]
    figure.update_xaxes(title_text=f"component {panel['component_x'][0]} ({share:.0%} for both)", row=row, col=column)
    figure.update_yaxes(title_text=f"component {panel['component_y'][0]}", title_standoff=2, row=row, col=column)


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
    opens_models=True,
)
