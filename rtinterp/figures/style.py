"""One look for every figure, and the words they share."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import polars as pl

FONT = "Helvetica, Arial, sans-serif"
INK = "#222222"
GRID = "#e6e6e6"

#: Colour-blind safe (Okabe and Ito).
REGIME_COLOURS = {"embeddings": "#0072b2", "all": "#d55e00"}
REGIME_NAMES = {"embeddings": "random transformer", "all": "fully trained"}
FLOOR_COLOUR = "#999999"

TASK_TITLES = {
    "ModularAddition": "Modular addition",
    "NeedleInAHaystack": "Needle in a haystack",
    "DecimalAddition": "Decimal addition",
    "ParenthesisBalancing": "Parenthesis balancing",
    "Memorization": "Memorization",
}


def task_title(task: str) -> str:
    """``"ModularAddition(p=113)"`` as a heading: ``"Modular addition"``."""
    return TASK_TITLES[task.split("(")[0]]


def task_heading(task: str) -> str:
    """Title and parameters, on two lines."""
    return f"{task_title(task)}<br><span style='font-size:11px'>{task_parameters(task)}</span>"


def task_parameters(task: str) -> str:
    """The parameters of a task as words, switches that are off left out."""
    parameters = re.findall(r"(\w+)=(\w+)", task)
    return ", ".join(f"{name} = {value}" for name, value in parameters if value != "False")


def subtitle(table: pl.DataFrame) -> str:
    """Task sizes, widths, seeds, steps and device of a table's rows, for the line under the title."""
    budgets = table.select("task", "n_steps", "batch_size").unique(maintain_order=True)
    tasks = [
        f"{task_title(task)} ({task_parameters(task)}): {n_steps:,} steps × {batch_size:,}"
        for task, n_steps, batch_size in budgets.iter_rows()
    ]
    widths = ", ".join(map(str, table["d_model"].unique().sort()))
    n_seeds = table["seed"].n_unique()
    seeds = f"{n_seeds} seed{'s' if n_seeds > 1 else ''}"
    devices = ", ".join(sorted(set(table["device"])))
    lines = ["; ".join(tasks[start : start + 2]) for start in range(0, len(tasks), 2)]
    return "<br>".join([*lines, f"width {widths} · {seeds} · {devices}"])


def finish(figure: go.Figure, title: str, table: pl.DataFrame, *, width: int, height: int) -> go.Figure:
    """Title, subtitle and look; ``height`` is that of the drawing, the heading comes on top of it."""
    text = subtitle(table)
    heading = 70 + 17 * (text.count("<br>") + 1)
    return figure.update_layout(
        title={
            "text": f"<b>{title}</b><br><span style='font-size:12px;color:#555'>{text}</span>",
            "x": 0.02,
            "xanchor": "left",
            "y": 1 - 14 / (height + heading),
            "yanchor": "top",
            "font": {"size": 17},
        },
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        width=width,
        height=height + heading,
        margin={"l": 70, "r": 30, "t": heading, "b": 60},
    )


def axes(figure: go.Figure) -> go.Figure:
    """Light grid, dark frame."""
    look = {"showgrid": True, "gridcolor": GRID, "zeroline": False, "showline": True, "linecolor": INK, "mirror": True}
    return figure.update_xaxes(**look).update_yaxes(**look)


def rgba(colour: str, alpha: float) -> str:
    """``"#rrggbb"`` made translucent."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def table_figure(header: list[str], rows: list[list[str]]) -> go.Figure:
    """A plotly table, first column to the left, the rest centred."""
    align = ["left", *["center"] * (len(header) - 1)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    return go.Figure(
        go.Table(
            columnwidth=[2.2, *[1] * (len(header) - 1)],
            header={"values": [f"<b>{h}</b>" for h in header], "align": align, "fill_color": "#f2f2f2", "height": 44},
            cells={"values": columns, "align": align, "height": 40, "fill_color": "white", "line_color": GRID},
        )
    )


def median_and_range(values: pl.Series, percent: bool = True) -> str:
    """Median, and below it minimum to maximum where there are several."""
    scale, digits = (100, 1) if percent else (1, 2)
    median = f"{values.median() * scale:.{digits}f}"
    if len(values) == 1:
        return median
    spread = f"{values.min() * scale:.{digits}f} to {values.max() * scale:.{digits}f}"
    return f"{median}<br><span style='font-size:10px'>{spread}</span>"
