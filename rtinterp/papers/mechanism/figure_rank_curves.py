"""How few directions of the residual stream suffice, how few are missed, and which: variance against use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
import torch
from plotly.subplots import make_subplots

from rtinterp.analysis import (
    SiteStatistics,
    Subspace,
    accuracy,
    project,
    random_subspace,
    rank_curve,
    ranks_up_to,
    remove,
    site_statistics,
    variance_share,
)
from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.curves import FLOOR_LABEL, log_axis
from rtinterp.figures.figure import TASK, Figure, with_run_columns
from rtinterp.figures.regime_style import regime_name
from rtinterp.plot.look import COLOURS, axes
from rtinterp.training.run import Run

#: Training sequences that bases are found from, in batches; test sequences on which effects are measured.
N_BATCHES, BATCH_SIZE, N_TEST_SEQUENCES = 4, 128, 256
N_RANDOM_SUBSPACES = 3
BASES_SEED = 0
#: ``project``: the first k directions are kept. ``remove``: they are taken out.
EFFECTS = {"keep": project, "remove": remove}
BASES = {
    "principal": "largest variance",
    "sensitive": "read most",
    "coordinates": "coordinates of largest variance",
    "random": "random",
}
DASHES = {"keep": "solid", "remove": "dot"}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, site, basis, draw, effect and rank: the accuracy on test sequences, in [0, 1].

    ``variance`` is the share of the site's variance in these directions; ``intact`` the accuracy without intervention
    on the same sequences. Floors are of the whole test set.
    """
    return pl.concat(with_run_columns(run, _curves(run)) for run in runs)


def _curves(run: Run) -> pl.DataFrame:
    model, task = run.model, run.spec.task
    generator = torch.Generator().manual_seed(BASES_SEED)
    batches = [task.sample(BATCH_SIZE, generator) for _ in range(N_BATCHES)]
    test_set = task.test_set()
    chosen = torch.randperm(len(test_set), generator=generator)[:N_TEST_SEQUENCES]
    batch = test_set[chosen]
    layers = range(model.cfg.n_layers)
    sites = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in layers)]
    parts: list[pl.DataFrame] = []
    for site in sites:
        statistics = site_statistics(model, batches, site)
        for basis, draw, subspace in _subspaces(statistics, generator):
            ranks = ranks_up_to(subspace.d_model)
            shares = [variance_share(statistics.covariance, subspace.first(rank)) for rank in ranks]
            for effect, make in EFFECTS.items():
                curve = rank_curve(model, batch, site, subspace, ranks, make)
                labels = {"site": site, "basis": basis, "draw": draw, "effect": effect}
                named = curve.rename({"value": "accuracy"}).with_columns(pl.Series("variance", shares))
                parts.append(
                    named.select(*(pl.lit(value).alias(name) for name, value in labels.items()), *named.columns)
                )
    extra = {"intact": accuracy(model, batch), "n_test_rows": len(batch), **floor_columns(task)}
    return pl.concat(parts).with_columns(**{name: pl.lit(value) for name, value in extra.items()})


def _subspaces(statistics: SiteStatistics, generator: torch.Generator) -> Iterator[tuple[str, int, Subspace]]:
    yield "principal", 0, statistics.principal
    yield "sensitive", 0, statistics.sensitive
    yield "coordinates", 0, statistics.coordinates
    for draw in range(N_RANDOM_SUBSPACES):
        yield "random", draw, random_subspace(len(statistics.mean), statistics.mean, generator)


def plot(table: pl.DataFrame) -> go.Figure:
    models = table.select("task", "trainable").unique(maintain_order=True).rows()
    sites = table["site"].unique(maintain_order=True).to_list()
    titles = [
        f"{style.task_title(task)}, {regime_name(trainable)}{style.small(_site_name(site))}"
        for task, trainable in models
        for site in sites
    ]
    figure = make_subplots(
        len(models),
        len(sites),
        subplot_titles=titles,
        horizontal_spacing=0.05,
        vertical_spacing=0.3 / len(models) ** 0.9,
    )
    for row, (task, trainable) in enumerate(models, 1):
        of_model = table.filter(pl.col("task") == task, pl.col("trainable") == trainable)
        for column, site in enumerate(sites, 1):
            _add_panel(figure, of_model.filter(pl.col("site") == site), row, column)
    axes(figure).update_yaxes(range=[-0.03, 1.05], tickformat=".0%")
    figure.update_annotations(font_size=12)
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.3 / len(models)})
    text = f"{style.subtitle(table)}<br>solid: only the first k directions are kept; dotted: they are taken out"
    style.finish_with(
        figure, "How few directions suffice, and how few are missed", text, width=1080, height=250 * len(models)
    )
    return figure.update_layout(margin_b=110)


def _add_panel(figure: go.Figure, table: pl.DataFrame, row: int, column: int) -> None:
    place: dict[str, Any] = {"row": row, "col": column}
    for (basis, name), colour in zip(BASES.items(), COLOURS, strict=False):
        for effect, dash in DASHES.items():
            curves = table.filter(pl.col("basis") == basis, pl.col("effect") == effect, pl.col("rank") > 0)
            medians = curves.group_by("rank", maintain_order=True).agg(pl.col("accuracy").median())
            figure.add_scatter(
                x=medians["rank"].to_list(), y=medians["accuracy"].to_list(), name=name, legendgroup=name,
                showlegend=(row, column, effect) == (1, 1, "keep"), mode="lines+markers",
                line={"color": colour, "width": 1.8, "dash": dash}, marker={"size": 4}, **place,
            )  # fmt: skip
    floor = table["heuristic_accuracy"][0]
    figure.add_hline(y=floor, line={"color": style.FLOOR_COLOUR, "dash": "dash", "width": 1}, **place)
    figure.add_annotation(
        x=0, xref="x domain", y=floor, yanchor="bottom", xanchor="left", text=table["heuristic"][0], showarrow=False,
        font=FLOOR_LABEL, **place,
    )  # fmt: skip
    log_axis(figure, table.filter(pl.col("rank") > 0)["rank"].unique().sort().to_list(), "", **place)


def _site_name(site: str) -> str:
    _, layer, name = site.split(".")
    return "embedding" if name == "hook_resid_pre" else f"after layer {layer}"


FIGURE = Figure(
    name="figure_rank_curves",
    title="How few directions suffice, and how few are missed",
    caption=(
        "Claim tested: a random transformer computes in a subspace of few dimensions. Of the residual stream at a "
        "site, only the first k directions of a basis are kept at all positions, and the mean stands in the place of "
        "the rest (solid); or they are taken out (dotted). Bases are found on training sequences: the directions of "
        "largest variance (PCA), those that the rest of the model reads most (gradients of the logit difference, "
        "in the order of how much activity moves it through them), the coordinates of largest variance, and, as a "
        "control, random directions. Where few directions suffice and random ones do not, the subspace was selected; "
        "where directions of large variance can be taken out at no cost, variance is not use. Accuracy on test "
        "sequences, median over seeds and draws; dashed: the best simple heuristic."
    ),
    experiment="subspaces",
    compute=compute,
    plot=plot,
    rows=(TASK, "trainable"),
)
