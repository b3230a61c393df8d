"""What lies on a grid: attention weights, a number for every head, a number for every layer and position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl
from jaxtyping import Float, Int64
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import attention_patterns
from rtinterp.plot.look import CELL_WIDTH, colour_bar, finish_cell

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Panels of attention in a row.
MAX_COLUMNS = 4
#: Pixels: what a panel of attention has besides its drawing, a row of a table of numbers, and the largest and the
#: smallest label of a position.
PANEL_HEADING, ROW_HEIGHT, LARGEST_LABEL, SMALLEST_LABEL = 40, 42, 11, 5


def attention(model: HookedModel, tokens: Int64[Tensor, "*batch pos"], labels: Sequence[str]) -> go.Figure:
    """Draw where every head looks in one sequence: a panel for each head, a row for each position that looks.

    Args:
        tokens: one sequence, [pos] or [1 pos].
        labels: what to call each position, such as ``[task.token_label(token) for token in tokens]``; they may repeat.

    Raises:
        ValueError: several sequences, not one label per position, or what ``attention_patterns`` refuses.
    """
    patterns = attention_patterns(model, tokens)
    n_layers, n_sequences, n_heads, n_pos, _ = patterns.shape
    if n_sequences != 1:
        raise ValueError(f"{n_sequences} sequences were given; pass one, such as tokens[0]")
    if len(labels) != n_pos:
        raise ValueError(f"{len(labels)} labels for {n_pos} positions; pass one label per position")
    names = [f"layer {layer}, head {head}" for layer in range(n_layers) for head in range(n_heads)]
    n_columns = min(n_heads, MAX_COLUMNS)
    n_rows = -(-len(names) // n_columns)
    height = n_rows * (CELL_WIDTH // n_columns + PANEL_HEADING)
    figure = make_subplots(
        n_rows, n_columns, subplot_titles=names, horizontal_spacing=0.05, vertical_spacing=PANEL_HEADING / height
    )
    size = max(SMALLEST_LABEL, min(LARGEST_LABEL, CELL_WIDTH // n_columns // (n_pos + 2)))
    for index, pattern in enumerate(patterns.flatten(0, 2)):
        row, column = divmod(index, n_columns)
        add_heatmap(figure, pattern.tolist(), labels, labels, row=row + 1, col=column + 1)
    figure.update_xaxes(tickfont_size=size, tickangle=0).update_yaxes(tickfont_size=size)
    return finish_cell(figure.update_layout(coloraxis=weight_colours()), height)


def heads(scores: Float[Tensor, "layer head"] | Mapping[str, Float[Tensor, "layer head"]]) -> go.Figure:
    """Draw a number for every head: a row for each layer, a column for each head, both counted from 0.

    Args:
        scores: such as ``attention_score`` gives or what an ablation costs; several by name stand above each other, on
            one scale of colours.

    Raises:
        ValueError: no scores, or scores that are not [layer head].
    """
    panels = dict(scores) if isinstance(scores, Mapping) else {"": scores}
    if not panels:
        raise ValueError("no scores were given; pass a [layer head] tensor, or several by name")
    for name, values in panels.items():
        if values.ndim != 2 or not values.numel():
            raise ValueError(f"scores {name!r} have shape {tuple(values.shape)}; pass [layer head], not empty")
    n_rows = sum(len(values) + 1 for values in panels.values())
    figure = make_subplots(
        len(panels), 1, subplot_titles=list(panels), row_heights=[len(values) for values in panels.values()],
        vertical_spacing=min(0.3, 1.5 / n_rows),
    )  # fmt: skip
    for row, values in enumerate(panels.values(), start=1):
        n_layers, n_heads = values.shape
        layers, columns = _counted("layer", n_layers), _counted("head", n_heads)
        add_heatmap(figure, values.tolist(), columns, layers, with_numbers=True, row=row, col=1)
    extent = [value for values in panels.values() for value in (values.min().item(), values.max().item())]
    return finish_cell(figure.update_layout(coloraxis=colours_of(min(extent), max(extent))), ROW_HEIGHT * n_rows)


def patching(table: pl.DataFrame) -> go.Figure:
    """Draw how much of the clean answer a patch brings back, for every layer and position.

    Args:
        table: as ``recovery_table`` makes it, with the columns ``layer``, ``pos``, ``label`` and ``recovery``: 0 as
            corrupted, 1 as clean.

    Raises:
        ValueError: a column is missing, or a layer and a position have several rows or none.
    """
    missing = {"layer", "pos", "label", "recovery"}.difference(table.columns)
    if missing:
        raise ValueError(f"the table has no column {', '.join(sorted(missing))}; make it by recovery_table")
    if table.select("layer", "pos").is_duplicated().any():
        raise ValueError("several rows have one layer and position; draw one experiment at a time")
    table = table.sort("layer", "pos")
    n_layers, n_pos = table["layer"].n_unique(), table["pos"].n_unique()
    if len(table) != n_layers * n_pos:
        raise ValueError(f"{len(table)} rows for {n_layers} layers and {n_pos} positions; some are missing")
    layers = [f"layer {layer}" for layer in table["layer"].unique(maintain_order=True)]
    figure = go.Figure()
    recovery = table["recovery"].to_numpy().reshape(n_layers, n_pos).tolist()
    add_heatmap(figure, recovery, table["label"][:n_pos].to_list(), layers, with_numbers=True)
    figure.update_xaxes(title_text="position")
    return finish_cell(figure.update_layout(coloraxis=colours_of(-1, 1)), ROW_HEIGHT * (n_layers + 1))


def add_heatmap(
    figure: go.Figure,
    values: Sequence[Sequence[float]],
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    with_numbers: bool = False,
    row: int | None = None,
    col: int | None = None,
) -> None:
    """Add one grid of values, the first row on top, in the figure's common colours; labels may repeat.

    Args:
        with_numbers: write each value into its field.
        row, col: the panel, where there are several.
    """
    numbers = "%{z:.2f}" if with_numbers else None
    shown = "%{y}, %{x}: %{z:.3f}<extra></extra>"
    figure.add_heatmap(z=values, coloraxis="coloraxis", texttemplate=numbers, hovertemplate=shown, row=row, col=col)
    x, y = ({"tickvals": list(range(len(labels))), "ticktext": list(labels)} for labels in (columns, rows))
    figure.update_xaxes(x | {"showgrid": False}, row=row, col=col)
    figure.update_yaxes(y | {"showgrid": False, "autorange": "reversed"}, row=row, col=col)


def weight_colours() -> dict[str, Any]:
    """Return the colours of attention weights."""
    return {"colorscale": "Blues", "cmin": 0, "cmax": 1, "colorbar": colour_bar("weight")}


def colours_of(least: float, most: float) -> dict[str, Any]:
    """Return colours from white to blue for values that are not negative, and else colours around white at zero."""
    if least >= 0:
        return {"colorscale": "Blues", "cmin": 0, "cmax": most, "colorbar": colour_bar()}
    extent = max(-least, most)
    return {"colorscale": "RdBu", "cmin": -extent, "cmax": extent, "colorbar": colour_bar()}


def _counted(name: str, n: int) -> list[str]:
    return [f"{name} {index}" for index in range(n)]
