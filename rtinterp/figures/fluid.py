"""A drawing that takes the width it is given: as it was made where there is room, and else its panels in one column."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.utils import PlotlyJSONEncoder

#: Of a drawing that does not set its own, in pixels; plotly's.
DEFAULT_HEIGHT = 450
DEFAULT_MARGIN = {"l": 80, "r": 80, "t": 100, "b": 80}
#: Pixels above the drawing once the page tells the title: with titles of panels, in one column, and without any.
TITLED_MARGIN, STACKED_MARGIN, UNTITLED_MARGIN = 46, 62, 24
#: Pixels from the panels to a legend below them, and for each row of it.
LEGEND_GAP, LEGEND_ROW = 62, 30
#: Pixels of a drawing in one column: its panels, and what is between them (the labels of one, the title of the next).
PANEL_HEIGHT, PANEL_GAP = 300, 112
NARROW_LEFT, NARROW_RIGHT, COLOUR_BAR_MARGIN, COLOUR_BAR_LENGTH = 52, 12, 66, 280
#: Pixels for what stands to the right of a single drawing, such as the labels of floors.
MAX_NOTES_MARGIN = 110
#: Characters in a line of a panel's title.
TITLE_CHARACTERS, TITLE_SIZE = 50, 12


class Panel(NamedTuple):
    """The names of a panel's axes in the layout, and what of the drawing it takes: shares from the left and below."""

    xaxis: str
    yaxis: str
    x: tuple[float, float]
    y: tuple[float, float]


class Fluid(NamedTuple):
    """A drawing without a width, as JSON for plotly.js with ``data``, ``wide`` and ``narrow``; heights in pixels."""

    json: str
    wide_height: int
    narrow_height: int


def fluid(drawing: go.Figure) -> Fluid:
    """Make a drawing that takes the width of its place; the title that ``style.finish`` gave it is left to the page."""
    figure = drawing.to_dict()
    wide = _wide(figure["layout"], figure["data"])
    narrow = _narrow(wide, figure["data"])
    text = json.dumps({"data": figure["data"], "wide": wide, "narrow": narrow}, cls=PlotlyJSONEncoder)
    # No text of a drawing may end the script that holds it.
    return Fluid(text.replace("<", "\\u003c"), round(wide["height"]), round(narrow["height"]))


def subtitle_of(drawing: go.Figure) -> str:
    """Return the text under the title that ``style.finish`` gave a drawing, in plotly's markup; empty without one."""
    return (drawing.to_dict()["layout"].get("meta") or {}).get("subtitle", "")


def _wide(layout: dict[str, Any], data: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Without width, and without a title that stands on the page."""
    wide = {**copy.deepcopy(layout), "autosize": True}
    wide.pop("width", None)
    margin = wide["margin"] = {**DEFAULT_MARGIN, **wide.get("margin", {})}
    wide.setdefault("height", DEFAULT_HEIGHT)
    if "subtitle" in (wide.get("meta") or {}):
        del wide["title"]
        top = TITLED_MARGIN if _titles(wide) else UNTITLED_MARGIN
        wide["height"] += top - margin["t"]
        margin["t"] = top
    # In two rows at most: the narrowest of the wide drawings has room for half of the entries.
    _place_legend(wide, n_rows=min(2, _n_entries(data)), **wide.get("legend", {}))
    return wide


def _narrow(wide: dict[str, Any], data: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One panel under another, the legend below them, an entry in a row."""
    narrow = copy.deepcopy(wide)
    panels, margin = _panels(narrow), narrow["margin"]
    if len(panels) > 1:
        plot_height = len(panels) * (PANEL_HEIGHT + PANEL_GAP) - PANEL_GAP
        _stack(narrow, panels, plot_height)
        margin["t"] = STACKED_MARGIN
        narrow["height"] = plot_height + margin["t"] + margin["b"]
    # A finger on the drawing scrolls the page.
    narrow["dragmode"] = False
    margin.update(l=NARROW_LEFT, r=NARROW_RIGHT if len(panels) > 1 else min(MAX_NOTES_MARGIN, margin["r"]))
    if "coloraxis" in narrow or any("colorbar" in trace.get("marker", {}) for trace in data):
        margin["r"] = COLOUR_BAR_MARGIN
    if "coloraxis" in narrow:
        place = {"lenmode": "pixels", "len": COLOUR_BAR_LENGTH, "y": 1, "yanchor": "top"}
        narrow["coloraxis"]["colorbar"] = {**narrow["coloraxis"].get("colorbar", {}), **place}
    one_a_row = {"x": 0, "xanchor": "left", "entrywidth": 1, "entrywidthmode": "fraction"}
    _place_legend(narrow, n_rows=_n_entries(data), **{**narrow.get("legend", {}), **one_a_row})
    return narrow


def _place_legend(layout: dict[str, Any], *, n_rows: int, **legend: Any) -> None:
    """Put a horizontal legend below the axes and their titles, and make room for its rows."""
    if legend.get("orientation") != "h":
        return
    margin = layout["margin"]
    plot_height = layout["height"] - margin["t"] - margin["b"]
    margin["b"] = LEGEND_GAP + LEGEND_ROW * n_rows
    layout["height"] = margin["t"] + plot_height + margin["b"]
    layout["legend"] = {**legend, "y": -LEGEND_GAP / plot_height, "yanchor": "top"}


def _n_entries(data: Sequence[dict[str, Any]]) -> int:
    return len({trace["name"] for trace in data if "name" in trace and trace.get("showlegend", True)})


def _titles(layout: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations that stand above panels."""
    return [one for one in layout.get("annotations", []) if (one.get("xref"), one.get("yref")) == ("paper", "paper")]


def _panels(layout: dict[str, Any]) -> list[Panel]:
    """The panels of a grid as they are read, row by row; none if some lie on others."""
    panels, axes = [], {name: axis for name, axis in layout.items() if name[1:].startswith("axis")}
    if any("overlaying" in axis for axis in axes.values()):
        return []
    for xaxis in (name for name in axes if name[0] == "x"):
        yaxis = f"yaxis{axes[xaxis].get('anchor', 'y')[1:]}"
        x, y = (tuple(axes.get(axis, {}).get("domain", (0, 1))) for axis in (xaxis, yaxis))
        panels.append(Panel(xaxis, yaxis, x, y))
    return sorted(panels, key=lambda panel: (-panel.y[1], panel.x[0]))


def _stack(layout: dict[str, Any], panels: Sequence[Panel], plot_height: float) -> None:
    """Give every panel the whole width, its title the place above it, and the titles of axes that it shared."""
    titles = [(title["x"], title["y"], title) for title in _titles(layout)]
    for index, panel in enumerate(panels):
        top = 1 - index * (PANEL_HEIGHT + PANEL_GAP) / plot_height
        layout[panel.xaxis]["domain"] = [0, 1]
        layout[panel.yaxis]["domain"] = [max(0, top - PANEL_HEIGHT / plot_height), top]
        for x, y, title in titles:
            if y == panel.y[1] and panel.x[0] <= x <= panel.x[1]:
                text = wrapped(title["text"], TITLE_CHARACTERS)
                title.update(x=0.5, y=top, text=text, font={**title.get("font", {}), "size": TITLE_SIZE})
    for axes in zip(*(panel[:2] for panel in panels), strict=True):
        shared = {layout[axis].get("title", {}).get("text") for axis in axes} - {None}
        if len(shared) == 1:
            for axis in axes:
                layout[axis]["title"] = {**layout[axis].get("title", {}), "text": next(iter(shared))}


def wrapped(text: str, n_characters: int) -> str:
    """Break the lines of a text in plotly's markup between words, so that none is longer if no word is."""
    return "<br>".join(_broken(line, n_characters) for line in text.split("<br>"))


def _broken(line: str, n_characters: int) -> str:
    broken, length = "", 0
    for word in re.findall(r"(?:<[^>]*>|[^ ])+", line):
        n = len(re.sub(r"<[^>]*>", "", word))
        fits = length + 1 + n <= n_characters
        broken += f"{(' ' if fits else '<br>') if broken else ''}{word}"
        length = length + 1 + n if fits and length else n
    return broken
