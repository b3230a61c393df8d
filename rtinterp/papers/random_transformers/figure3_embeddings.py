"""Figure 3: residues on circles in the trained token embedding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import polars as pl
import torch
from plotly.subplots import make_subplots

from rtinterp.analysis import (
    Estimate,
    bootstrap,
    correct_logits_at,
    dominant_frequencies,
    gradient_cosines,
    irrelevance_of,
    residue_circles,
)
from rtinterp.figures import style
from rtinterp.figures.comparison import Published
from rtinterp.figures.figure import Figure, task_of, with_run_columns
from rtinterp.models.parameters import TOKEN_EMBEDDING
from rtinterp.papers.random_transformers import published
from rtinterp.plot.circles import add_circle, circle_title
from rtinterp.plot.look import axes
from rtinterp.tasks import ModularAddition
from rtinterp.training.run import Run

N_CIRCLES = 3
MAX_SEEDS_SHOWN = 3
#: The cosines of triples have a standard deviation of about 0.2 at width 1024: so many leave a mean uncertain by 0.006.
N_TRIPLES = 4000
#: Differences a - b, of each of which all pairs are read: of 199, a quarter of the pairs, which leave distance
#: irrelevance uncertain by 0.05. Both measures take half a minute of a CPU core at width 1024.
N_DISTANCES = 50
#: Draws triples, distances and resamples.
SAMPLE_SEED = 0


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, circle and residue: its coordinates in the two components that hold the circle.

    Component numbers count from 1, as in the paper. ``dominant_share`` is the share of the embedding's power at the
    frequencies that stand out; ``frequencies`` lists them, strongest first. The last columns are the run's gradient
    symmetricity and distance irrelevance (arXiv 2306.17844), the ends of their 95 % intervals over triples and over
    distances, ``_low`` and ``_high``, and how many of these they are from.
    """
    return pl.concat(with_run_columns(run, _circles(run).with_columns(**_circuit(run))) for run in runs)


def _circuit(run: Run) -> dict[str, pl.Expr]:
    """Whether the model treats both numbers alike, and how little it minds how far apart they are."""
    model, task = run.model, task_of(run, ModularAddition)
    generator = torch.Generator().manual_seed(SAMPLE_SEED)
    cosines = gradient_cosines(model, task, generator, N_TRIPLES)
    distances = torch.randperm(task.p, generator=generator)[:N_DISTANCES]
    logits = correct_logits_at(model, task, distances)
    estimates = {
        "gradient_symmetricity": bootstrap(cosines, torch.mean, generator),
        "distance_irrelevance": bootstrap(logits, irrelevance_of, generator),
    }
    columns = {name: value for measure, one in estimates.items() for name, value in _columns(measure, one).items()}
    return {
        name: pl.lit(value)
        for name, value in {**columns, "n_triples": N_TRIPLES, "n_distances": len(distances)}.items()
    }


def _columns(measure: str, estimate: Estimate) -> dict[str, float]:
    return {measure: estimate.value, f"{measure}_low": estimate.low, f"{measure}_high": estimate.high}


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
    text = f"{style.subtitle(table)}<br>{_circuit_lines(table)}"
    style.finish_with(figure, title, text, width=1080, height=340 * len(seeds))
    return figure.update_layout(margin_r=90)


def _circuit_lines(table: pl.DataFrame) -> str:
    """What each measure is, seed by seed, and to which of the two circuits it is nearer."""
    runs = table.unique("seed", maintain_order=True).sort("seed")
    ours = [f"{measure.replace('_', ' ')} {_values(runs, measure)}" for measure in published.CIRCUIT_MEASURES]
    nearer = [_nearer_circuit(run) for run in runs.iter_rows(named=True)]
    counted = ", ".join(f"{nearer.count(circuit)} of {len(nearer)} {circuit}-like" for circuit in dict.fromkeys(nearer))
    theirs = [f"a {circuit} {_numbers(values)}" for circuit, values in published.CIRCUITS.items()]
    paper = f"{', '.join(theirs)}; the paper prints {_numbers(published.CIRCUIT_MEASURES)}"
    return "<br>".join([*ours, f"{counted}: {paper}"])


def _values(runs: pl.DataFrame, measure: str) -> str:
    """``"0.31 (0.30 to 0.32)"`` of every seed; tables of earlier drawings have no intervals."""
    ends = [f"{measure}_low", f"{measure}_high"]
    known = set(ends) <= set(runs.columns)
    values = runs.select(measure, *(ends if known else ())).rows()
    return ", ".join(
        f"{value:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval and None not in interval else "")
        for value, *interval in values
    )


def _numbers(measures: Mapping[str, Published]) -> str:
    return " and ".join(f"{measures[name].value:.2f}" for name in published.CIRCUIT_MEASURES)


def _nearer_circuit(run: Mapping[str, float]) -> str:
    """The circuit whose two measures lie nearer to those of the run."""

    def distance(circuit: str) -> float:
        measures = published.CIRCUITS[circuit]
        return math.dist([run[name] for name in measures], [float(one.value) for one in measures.values()])

    return min(published.CIRCUITS, key=distance)


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
        f"0 for one that averages (a <i>pizza</i>); of every seed, with 95 % intervals over {N_TRIPLES:,} triples and "
        f"{N_DISTANCES} distances. By the measures' own reference (arXiv 2306.17844) a clock has 0.33 and 0.85, and a "
        "pizza 0.99 and 0.17. The paper prints 0.88 and 0.88 and concludes that its model is clock-like: where ours "
        "are, its conclusion is reproduced, and its first number is not and cannot be a clock's."
    ),
    experiment="figure3",
    compute=compute,
    plot=plot,
)
