"""Write a figure: its table as csv, and the plot as interactive HTML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
import polars as pl
from plotly.offline import get_plotlyjs

from rtinterp.figures.images import IMAGE_FORMATS

DATA_FOLDER = "data"
PLOTLY_FILE = "plotly.min.js"


def table_path(name: str, folder: Path) -> Path:
    """Return the place of a figure's tidy table in the folder of its paper."""
    return folder / DATA_FOLDER / f"{name}.csv"


def write_table(table: pl.DataFrame, name: str, folder: Path) -> Path:
    """Write the tidy table of a figure, and return where it lies."""
    return write_aside(table_path(name, folder), lambda path: table.write_csv(path, float_precision=6))


def write_html(figure: go.Figure, name: str, folder: Path) -> Path:
    """Write an interactive page, and return where it lies; all pages share the plotly.min.js beside its folder."""
    script = folder.parent / PLOTLY_FILE
    # Another version of plotly may have left its own.
    if not script.is_file() or script.read_text(encoding="utf-8") != get_plotlyjs():
        write_aside(script, lambda aside: aside.write_text(get_plotlyjs(), encoding="utf-8"))
    shared = f"../{PLOTLY_FILE}"
    return write_aside(folder / f"{name}.html", lambda aside: figure.write_html(aside, include_plotlyjs=shared))


def write_aside(path: Path, write: Callable[[Path], object]) -> Path:
    """Put a file in its place when it is whole: others may read it, and this process may be killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.tmp")
    write(unfinished)
    unfinished.replace(path)
    return path


def remove_drawing(name: str, folder: Path) -> None:
    """Remove the page and the images of a figure that were drawn earlier, of another table maybe."""
    for kind in ("html", *IMAGE_FORMATS):
        (folder / f"{name}.{kind}").unlink(missing_ok=True)
