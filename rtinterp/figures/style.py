"""One look for every figure, and the words they share."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import provenance
from rtinterp.figures.regime_style import regime_name
from rtinterp.plot.look import FONT, GRID, INK

#: Pixels above the drawing without a subtitle, and per line of it; pixels below the drawing.
HEADING_HEIGHT = 94
SUBTITLE_LINE_HEIGHT = 19
#: Pixels of the title's letters, and from the top edge to their baseline, where plotly sets a title of several lines.
TITLE_SIZE, TITLE_BASELINE = 17, 28
FOOT_HEIGHT = 60
TABLE_HEADER_HEIGHT = 46
#: Of a row: for each line of its tallest cell, and around them; the lines that the lowest row has room for.
TABLE_LINE_HEIGHT = 16
TABLE_CELL_PADDING = 16
TABLE_LEAST_LINES = 2
TABLE_LAST_LINE_HEIGHT = 3

BODY_NAMES = {"transformer": "", "linearised transformer": "linearised", "lstm": "LSTM", "rnn": "RNN"}
FLOOR_COLOUR = "#999999"


def task_title(task: str) -> str:
    """Make a heading of a task: ``"Modular addition"`` of ``"ModularAddition(p=113)"``, ``"K-hop induction"``.

    A single letter and "multi" are no words of their own.
    """
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", task.split("(")[0]).capitalize()
    return re.sub(r"^(\w|Multi) ", r"\1-", words)


def task_parameters(task: str) -> str:
    """Tell the parameters of a task in words; switches are told by their names, if they are on."""
    words = []
    for name, value in re.findall(r"(\w+)='?([\w ]+)", task):
        if value in ("True", "False"):
            words += [name.replace("_", " ")] * (value == "True")
        else:
            words.append(f"{name} = {value}")
    return ", ".join(words)


def subtitle(table: pl.DataFrame) -> str:
    """Tell task sizes and steps of a table's rows, and scales, seeds, sources, widths and devices, under the title."""
    tasks = [_task_and_budget(of_task) for _, of_task in table.group_by("task", maintain_order=True)]
    of_scales = table.partition_by("scale", maintain_order=True) if "scale" in table.columns else [table]
    return "<br>".join([*tasks, *map(_scale_line, of_scales)])


def _scale_line(table: pl.DataFrame) -> str:
    """``"quick scale, 3 seeds, shipped · width 16, 512 · cpu (x86_64)"``."""
    widths = ", ".join(map(str, table["d_model"].unique().sort()))
    devices = ", ".join(sorted(set(table["device"])))
    return f"{', '.join(provenance.standing(table))} · width {widths} · {devices}"


def model_name(body: str, trainable: str) -> str:
    """Name a model in a word or two, such as ``"random"`` or ``"normal LSTM"``; softmax goes without saying."""
    return f"{regime_name(trainable, short=True)} {BODY_NAMES.get(body, body)}".strip()


def _task_and_budget(table: pl.DataFrame) -> str:
    """``"Modular addition (p = 113): 800 steps × 500"``, model by model where budgets differ."""
    models: dict[str, list[str]] = {}
    for body, trainable, n_steps, batch_size in (
        table.select("body", "trainable", "n_steps", "batch_size").unique(maintain_order=True).iter_rows()
    ):
        models.setdefault(f"{n_steps:,} steps × {batch_size:,}", []).append(model_name(body, trainable))
    if len({tuple(names) for names in models.values()}) == 1:
        text = " and ".join(models)
    else:
        text = "; ".join(f"{', '.join(names)} {budget}" for budget, names in models.items())
    task = table["task"][0]
    return f"{task_title(task)} ({task_parameters(task)}): {text}"


def finish(figure: go.Figure, title: str, table: pl.DataFrame, *, width: int, height: int) -> go.Figure:
    """Set title, subtitle and look; ``height`` is that of the drawing, the heading comes on top of it."""
    return finish_with(figure, title, subtitle(table), width=width, height=height)


def finish_with(figure: go.Figure, title: str, text: str, *, width: int, height: int) -> go.Figure:
    """Do what ``finish`` does, with another text under the title."""
    heading = HEADING_HEIGHT + SUBTITLE_LINE_HEIGHT * (text.count("<br>") + 1)
    return figure.update_layout(
        title={
            "text": f"<b>{title}</b><br><span style='font-size:12px;color:#555'>{text}</span>",
            "x": 0.02,
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": TITLE_BASELINE},
            "font": {"size": TITLE_SIZE},
        },
        # A page that has room for it writes the subtitle itself.
        meta={"subtitle": text},
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        width=width,
        height=heading + height + FOOT_HEIGHT,
        margin={"l": 70, "r": 30, "t": heading, "b": FOOT_HEIGHT},
    )


def rgba(colour: str, alpha: float) -> str:
    """Make ``"#rrggbb"`` translucent."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def table_figure(header: list[str], rows: list[list[str]], widths: list[float]) -> go.Figure:
    """Draw a table whose rows are as high as their tallest cells; ``small`` makes the second and third lines of a cell.

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
                # Of the lowest row: plotly lets the others grow.
                "height": _row_height(TABLE_LEAST_LINES),
                "fill_color": "white",
                "line_color": GRID,
            },
        )
    )


def finish_table(
    figure: go.Figure, title: str, table: pl.DataFrame, *, width: int, n_wrapped_lines: int = 0
) -> go.Figure:
    """Do what ``finish`` does, at the height of the table's rows."""
    return finish_table_with(figure, title, subtitle(table), width=width, n_wrapped_lines=n_wrapped_lines)


def finish_table_with(figure: go.Figure, title: str, text: str, *, width: int, n_wrapped_lines: int = 0) -> go.Figure:
    """Do what ``finish_with`` does, at the height of the table's rows.

    Args:
        n_wrapped_lines: what to leave room for below the lines that the cells have: those that plotly wraps.
    """
    columns = figure.to_dict()["data"][0]["cells"]["values"]
    heights = [_row_height(max(cell.count("<br>") + 1 for cell in row)) for row in zip(*columns, strict=True)]
    height = TABLE_HEADER_HEIGHT + sum(heights) + TABLE_LINE_HEIGHT * n_wrapped_lines + TABLE_LAST_LINE_HEIGHT
    return finish_with(figure, title, text, width=width, height=height).update_layout(margin_l=24, margin_r=24)


def _row_height(n_lines: int) -> int:
    return TABLE_CELL_PADDING + TABLE_LINE_HEIGHT * max(TABLE_LEAST_LINES, n_lines)


def small(text: str) -> str:
    """Write a second, smaller line in a cell or heading."""
    return f"<br>{small_print(text)}"


def small_print(text: str) -> str:
    """Write smaller, on the same line."""
    return f"<span style='font-size:11px;color:#555'>{text}</span>"


def ends(least: str, most: str) -> str:
    """Write ``"3 to 5"``, or ``"3"`` where both are printed alike."""
    return least if least == most else f"{least} to {most}"


def standing(rows: pl.DataFrame) -> str:
    """Write smaller lines that say at which scale the rows of a cell stand, of how many seeds, and who trained them."""
    return "".join(map(small, provenance.standing(rows)))


def median_and_range(shares: pl.Series) -> str:
    """Write the median of shares in [0, 1] as a percentage, and below it minimum to maximum where there are several."""
    return median_and_range_of(shares * 100, ".1f")


def median_of(shares: pl.Series) -> str:
    """Write the median of shares in [0, 1] as a percentage."""
    return median_and_range(shares).split("<br>", 1)[0]


def median_and_range_of(values: pl.Series, number_format: str) -> str:
    """Write the median of any numbers, and below it minimum to maximum where there are several."""
    least, median, most = (format(value, number_format) for value in (values.min(), values.median(), values.max()))
    return median if len(values) == 1 else median + small(f"{least} to {most}")
