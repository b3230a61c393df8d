"""Table 5: how few directions the residual stream of a language model occupies."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import certainty, style
from rtinterp.figures.figure import Figure
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.random_transformers.table4_explained_variance import (
    SELECTION_CAPTION,
    before_note,
    compute,
    of_anything,
    share_cell,
)

KINDS = {"principal_components": "principal components", "coordinates": "neurons"}


def plot(table: pl.DataFrame) -> go.Figure:
    sites, k = table["site"].unique(maintain_order=True).to_list(), table["k"][0]
    models = table.partition_by("trainable", maintain_order=True)
    rows = [_row(of_model, kind, k) for of_model in models for kind in KINDS]
    figure = style.table_figure(["model", *sites], rows, [2.3, *[1.0] * len(sites)])
    title = f"Table 5: residual variance of language models in {k} directions, %"
    text = "<br>".join([style.subtitle(table), before_note(table), success_note(table)])
    return style.finish_table_with(figure, title, text, width=940)


def _row(table: pl.DataFrame, kind: str, k: int) -> list[str]:
    shares = [share_cell(rows, f"share_{kind}") for rows in table.partition_by("site", maintain_order=True)]
    name = f"{regime_name(table['trainable'][0])} {_mark(table)}".rstrip() + style.small(f"top {k} {KINDS[kind]}")
    return [name + style.small(of_anything(table)) + style.standing(table), *shares]


def _mark(table: pl.DataFrame) -> str:
    """Mark models that are not better in every seed than one that knows pairs of tokens."""
    if "bigram_entropy" not in table.columns or table["bigram_entropy"].null_count():
        return ""
    is_better = (table["test_loss"] < table["bigram_entropy"]).all()
    return "" if is_better else certainty.NOT_ABOVE_HEURISTIC


def success_note(table: pl.DataFrame) -> str:
    """Tell the losses, and what the mark means."""
    if "bigram_entropy" not in table.columns or table["bigram_entropy"].null_count():
        return "losses: not in this table, see figure 4"
    losses = table.group_by("trainable", maintain_order=True).agg(pl.col("test_loss").median())
    told = ", ".join(f"{regime_name(trainable)} {loss:.2f}" for trainable, loss in losses.iter_rows())
    return (
        f"nats per token: {told}; a bigram model {table['bigram_entropy'][0]:.2f}, "
        f"{certainty.NOT_ABOVE_HEURISTIC} not better than it in every seed"
    )


FIGURE = Figure(
    name="table5_language_variance",
    title="Table 5: explained variance of language models",
    caption=(
        "As table 4, for the widest and deepest language models of the scale: share of the residual stream's variance "
        "in its ten largest principal components, and in the ten residual coordinates of largest variance (the paper's "
        "<i>neurons</i>). Centred; test windows without their last token; the last layer before the final LayerNorm. "
        f"Median over seeds, minimum to maximum below. {SELECTION_CAPTION}"
    ),
    experiment="table5",
    compute=compute,
    plot=plot,
    rows=("trainable",),
)
