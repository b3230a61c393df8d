"""How few directions the residual stream occupies, site by site."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from rtinterp.plot.look import COLOURS, axes, finish_cell

HEIGHT = 300
#: Column, what it is called, and the dash of its lines.
KINDS = (
    ("share_principal_components", "principal components", "solid"),
    ("share_coordinates", "coordinates", "dot"),
)
#: What ``residual_explained_variance`` writes of a site; other columns tell models apart.
OF_A_SITE = {"site", "layer", "n_activations", "k", *(column for column, _, _ in KINDS)}


def explained_variance(table: pl.DataFrame) -> go.Figure:
    """Draw the share of the variance in the leading principal components and in the leading coordinates of every site.

    Args:
        table: rows of ``residual_explained_variance``, of one model or of several that other columns tell apart, such
            as ``table.with_columns(model=pl.lit("before"))``.

    Raises:
        ValueError: a column is missing, models that nothing tells apart, or several numbers of directions.
    """
    missing = OF_A_SITE.difference(table.columns)
    if missing:
        raise ValueError(
            f"the table has no column {', '.join(sorted(missing))}; make it by residual_explained_variance"
        )
    of_models = [name for name in table.columns if name not in OF_A_SITE]
    if table.select(*of_models, "site").is_duplicated().any():
        raise ValueError("a site has several rows of one model; tell models apart by a column of their names")
    if table["k"].n_unique() != 1:
        raise ValueError(f"the shares are of {sorted(set(table['k']))} directions; draw one number at a time")
    models = table.partition_by(of_models, maintain_order=True) if of_models else [table]
    figure = go.Figure()
    for index, model in enumerate(models):
        colour = COLOURS[index % len(COLOURS)]
        name = ", ".join(str(model[column][0]) for column in of_models)
        for column, kind, dash in KINDS:
            figure.add_scatter(
                x=model["site"].to_list(),
                y=model[column].to_list(),
                name=f"{name}: {kind}" if name else kind,
                mode="lines+markers",
                line={"color": colour, "dash": dash},
                marker={"size": 8},
            )
    title = f"variance in {table['k'][0]} directions"
    axes(figure).update_yaxes(title_text=title, range=[-0.02, 1.02], tickformat=".0%")
    figure.update_layout(legend={"orientation": "h", "y": -0.15})
    return finish_cell(figure, HEIGHT).update_layout(margin_b=50 + 25 * len(models))
