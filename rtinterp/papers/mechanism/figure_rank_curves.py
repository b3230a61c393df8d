"""How few directions of the residual stream suffice, how few are missed, and which: variance against use."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.figures import style
from rtinterp.figures.curves import FLOOR_LABEL, log_axis
from rtinterp.figures.figure import TASK, Figure
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.mechanism.bases import BASES
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.papers.mechanism.rank_measurements import MEASUREMENT, N_TEST_SEQUENCES, measured
from rtinterp.plot.look import COLOURS, axes
from rtinterp.training.run import Run

DASHES = {"keep": "solid", "remove": "dot"}
#: Pixels of a row of panels, and to the right of them, where the heuristics are named.
ROW_HEIGHT, MARGIN_RIGHT = 235, 110
#: Of a line of a heuristic's name.
LABEL_CHARACTERS = 16
#: Ticks nearer to each other would overlap.
MIN_TICK_RATIO = 2


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, site, basis, effect and rank, measured on test sequences.

    ``accuracy`` is in [0, 1], ``cross_entropy`` and ``kl_divergence`` (from the intact model) in nats,
    ``logit_difference`` that of the right answer and the strongest wrong one. ``variance`` is the share of the site's
    variance in these directions; ``intact`` the accuracy without intervention on the same sequences. Floors are of the
    whole test set.
    """
    return pl.concat(one.curves for one in measured(runs))


def plot(table: pl.DataFrame) -> go.Figure:
    models = table.select("task", "trainable").unique(maintain_order=True).rows()
    pictured = table.filter(~pl.col("site").str.ends_with("resid_mid"))
    sites = pictured["site"].unique(maintain_order=True).to_list()
    titles = [
        f"{style.task_title(task)}, {regime_name(trainable)}{style.small(site_name(site))}"
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
    figure.update_annotations(font_size=12)
    for row, (task, trainable) in enumerate(models, 1):
        of_model = pictured.filter(pl.col("task") == task, pl.col("trainable") == trainable)
        for column, site in enumerate(sites, 1):
            _add_panel(figure, of_model.filter(pl.col("site") == site), row, column)
        _name_heuristic(figure, of_model, row, len(sites))
    axes(figure).update_yaxes(range=[-0.03, 1.05], tickformat=".0%")
    figure.update_xaxes(title_font_size=11, title_standoff=4)
    figure.update_yaxes(title_text="accuracy", title_font_size=11, col=1)
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.3 / len(models)})
    text = f"{style.subtitle(table)}<br>solid: only the first k directions are kept; dotted: they are taken out"
    title = "How few directions suffice, and how few are missed"
    style.finish_with(figure, title, text, width=1140, height=ROW_HEIGHT * len(models))
    return figure.update_layout(margin_b=110, margin_r=MARGIN_RIGHT)


def _add_panel(figure: go.Figure, table: pl.DataFrame, row: int, column: int) -> None:
    place: dict[str, Any] = {"row": row, "col": column}
    for (basis, name), colour in zip(BASES.items(), COLOURS, strict=True):
        for effect, dash in DASHES.items():
            curves = table.filter(pl.col("basis") == basis, pl.col("effect") == effect, pl.col("rank") > 0)
            if curves.is_empty():
                continue
            # Ranks at which not every seed was measured would make a median of others.
            of_rank = curves.group_by("rank").agg(pl.col("accuracy").median(), pl.len())
            medians = of_rank.filter(pl.col("len") == curves["seed"].n_unique()).sort("rank")
            figure.add_scatter(
                x=medians["rank"].to_list(), y=medians["accuracy"].to_list(), name=name, legendgroup=name,
                showlegend=(row, column, effect) == (1, 1, "keep"), mode="lines+markers",
                line={"color": colour, "width": 1.8, "dash": dash}, marker={"size": 4}, **place,
            )  # fmt: skip
    floor = table["heuristic_accuracy"][0]
    figure.add_hline(y=floor, line={"color": style.FLOOR_COLOUR, "dash": "dash", "width": 1}, **place)
    random = table.filter(pl.col("basis") == "random", pl.col("rank") > 0)["rank"].unique().sort().to_list()
    log_axis(figure, random[:-1] if random[-1] < MIN_TICK_RATIO * random[-2] else random, "k directions", **place)


def _name_heuristic(figure: go.Figure, table: pl.DataFrame, row: int, column: int) -> None:
    """Name the dashed line to the right of the last panel, where no curve can lie."""
    figure.add_annotation(
        x=1.02, xref="x domain", xanchor="left", y=table["heuristic_accuracy"][0], align="left", showarrow=False,
        text="<br>".join(textwrap.wrap(table["heuristic"][0], LABEL_CHARACTERS)), font=FLOOR_LABEL, row=row, col=column,
    )  # fmt: skip


def site_name(site: str) -> str:
    """Name a site of the residual stream in words."""
    _, layer, name = site.split(".")
    if name == "hook_resid_pre":
        return "embedding"
    return f"after layer {layer}" if name == "hook_resid_post" else f"after attention {layer}"


FIGURE = Figure(
    name="figure_rank_curves",
    title="How few directions suffice, and how few are missed",
    caption=(
        "Claim tested: a random transformer computes in a subspace of few dimensions. Of the residual stream at a "
        "site, only the first k directions of a basis are kept at all positions, and the mean stands in the place of "
        "the rest (solid); or they are taken out (dotted). Bases are found on training sequences: the directions of "
        "largest variance (PCA), and those that the rest of the model reads most (gradients of the logit difference, "
        "in the order of how much activity moves it through them). Controls: the coordinates of largest variance, the "
        "principal directions of the same body before training and of another seed, random directions, and random "
        "ones that hold as much variance as those read most. Where few directions suffice and random ones do not, the "
        "subspace was selected; where directions of large variance can be taken out at no cost, variance is not use. "
        f"Accuracy on {N_TEST_SEQUENCES} test sequences, median over seeds; dashed: the best simple heuristic. The "
        "csv has the sites after attention, too, and loss, logit difference and KL divergence. Found, of random "
        "transformers: yes, at most 46 principal directions suffice in any seed and site, where controls need 64 or "
        "more, so the subspace is selected; the directions read most are fewer still after the last layer, and many "
        "more at the embedding."
    ),
    experiment="subspaces",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK, "trainable"),
    measurement=MEASUREMENT,
)
