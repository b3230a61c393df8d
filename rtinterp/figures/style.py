"""One look for every figure, and the words they share."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import polars as pl

FONT = "Helvetica, Arial, sans-serif"
INK = "#222222"
GRID = "#e6e6e6"

#: Pixels above the drawing without a subtitle, and per line of it; pixels below the drawing.
HEADING_HEIGHT = 82
SUBTITLE_LINE_HEIGHT = 19
FOOT_HEIGHT = 60
TABLE_HEADER_HEIGHT = 46
TABLE_ROW_HEIGHT = 46

#: Colour-blind safe (Okabe and Ito).
REGIME_COLOURS = {"embeddings": "#0072b2", "all": "#d55e00"}
REGIME_NAMES = {"embeddings": "random transformer", "all": "fully trained"}
SHORT_REGIME_NAMES = {"embeddings": "random", "all": "normal"}
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


def task_parameters(task: str) -> str:
    """The parameters of a task as words, switches that are off left out."""
    parameters = re.findall(r"(\w+)=(\w+)", task)
    return ", ".join(f"{name} = {value}" for name, value in parameters if value != "False")


def subtitle(table: pl.DataFrame) -> str:
    """Task sizes, widths, seeds, steps and device of a table's rows, for the lines under the title."""
    tasks = [_task_and_budget(of_task) for _, of_task in table.group_by("task", maintain_order=True)]
    widths = ", ".join(map(str, table["d_model"].unique().sort()))
    n_seeds = table["seed"].n_unique()
    seeds = f"{n_seeds} seed{'s' if n_seeds > 1 else ''}"
    devices = ", ".join(sorted(set(table["device"])))
    return "<br>".join([*tasks, f"width {widths} · {seeds} · {devices}"])


def _task_and_budget(table: pl.DataFrame) -> str:
    """``"Modular addition (p = 113): 800 steps × 500"``, regime by regime where budgets differ."""
    budgets = {
        SHORT_REGIME_NAMES[trainable]: f"{n_steps:,} steps × {batch_size:,}"
        for trainable, n_steps, batch_size in table.unique("trainable", maintain_order=True)
        .select("trainable", "n_steps", "batch_size")
        .iter_rows()
    }
    if len(set(budgets.values())) > 1:
        text = ", ".join(f"{name} {budget}" for name, budget in budgets.items())
    else:
        text = next(iter(budgets.values()))
    task = table["task"][0]
    return f"{task_title(task)} ({task_parameters(task)}): {text}"


def finish(figure: go.Figure, title: str, table: pl.DataFrame, *, width: int, height: int) -> go.Figure:
    """Title, subtitle and look; ``height`` is that of the drawing, the heading comes on top of it."""
    text = subtitle(table)
    heading = HEADING_HEIGHT + SUBTITLE_LINE_HEIGHT * (text.count("<br>") + 1)
    return figure.update_layout(
        title={
            "text": f"<b>{title}</b><br><span style='font-size:12px;color:#555'>{text}</span>",
            "x": 0.02,
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 16},
            "font": {"size": 17},
        },
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        width=width,
        height=heading + height + FOOT_HEIGHT,
        margin={"l": 70, "r": 30, "t": heading, "b": FOOT_HEIGHT},
    )


def axes(figure: go.Figure) -> go.Figure:
    """Light grid, dark frame."""
    look = {"showgrid": True, "gridcolor": GRID, "zeroline": False, "showline": True, "linecolor": INK, "mirror": True}
    return figure.update_xaxes(**look).update_yaxes(**look)


def rgba(colour: str, alpha: float) -> str:
    """``"#rrggbb"`` made translucent."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def table_figure(header: list[str], rows: list[list[str]], widths: list[float]) -> go.Figure:
    """A plotly table of two-line cells.

    Args:
        widths: relative widths of the columns.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    return go.Figure(
        go.Table(
            columnwidth=widths,
            header={
                "values": [f"<b>{h}</b>" for h in header],
                "align": "left",
                "fill_color": "#f2f2f2",
                "height": TABLE_HEADER_HEIGHT,
            },
            cells={
                "values": columns,
                "align": "left",
                "height": TABLE_ROW_HEIGHT,
                "fill_color": "white",
                "line_color": GRID,
            },
        )
    )


def finish_table(figure: go.Figure, title: str, table: pl.DataFrame, *, width: int, n_rows: int) -> go.Figure:
    """``finish`` at the height of the table's rows."""
    height = TABLE_HEADER_HEIGHT + TABLE_ROW_HEIGHT * n_rows
    return finish(figure, title, table, width=width, height=height).update_layout(margin_l=24, margin_r=24)


def small(text: str) -> str:
    """A second, smaller line in a cell or heading."""
    return f"<br><span style='font-size:11px;color:#555'>{text}</span>"


def median_and_range(shares: pl.Series) -> str:
    """Median of shares in [0, 1] as a percentage, and below it minimum to maximum where there are several."""
    median = f"{shares.median():.1%}".rstrip("%")
    return median if len(shares) == 1 else median + small(f"{shares.min() * 100:.1f} to {shares.max() * 100:.1f}")
