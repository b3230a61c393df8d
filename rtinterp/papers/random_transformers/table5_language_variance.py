"""Table 5: how few directions the residual stream of a language model occupies."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import style
from rtinterp.figures.figure import Figure
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.random_transformers.table4_explained_variance import compute

KINDS = {"principal_components": "principal components", "coordinates": "neurons"}


def plot(table: pl.DataFrame) -> go.Figure:
    sites, k = table["site"].unique(maintain_order=True).to_list(), table["k"][0]
    models = table.partition_by("trainable", maintain_order=True)
    rows = [_row(of_model, kind, k) for of_model in models for kind in KINDS]
    figure = style.table_figure(["model", *sites], rows, [1.9, *[1.0] * len(sites)])
    title = f"Table 5: residual variance of language models in {k} directions, %"
    return style.finish_table(figure, title, table, width=880, n_rows=len(rows))


def _row(table: pl.DataFrame, kind: str, k: int) -> list[str]:
    of_site = table.partition_by("site", maintain_order=True)
    shares = [style.median_and_range(rows[f"share_{kind}"]) for rows in of_site]
    name = regime_name(table["trainable"][0]) + style.small(f"top {k} {KINDS[kind]}")
    return [name + style.standing(table), *shares]


FIGURE = Figure(
    name="table5_language_variance",
    title="Table 5: explained variance of language models",
    caption=(
        "As table 4, for the widest and deepest language models of the scale: share of the residual stream's variance "
        "in its ten largest principal components, and in the ten residual coordinates of largest variance (the paper's "
        "<i>neurons</i>). Centred; test windows without their last token; the last layer before the final LayerNorm. "
        "Median over seeds, minimum to maximum below."
    ),
    experiment="table5",
    compute=compute,
    plot=plot,
    rows=("trainable",),
)
