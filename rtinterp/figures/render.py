"""Write a figure: its table as csv, the plot as interactive HTML, and as images where a browser is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go
import polars as pl

DATA_FOLDER = "data"
IMAGE_FORMATS = ("png", "svg")
PNG_SCALE = 2


def table_path(name: str, folder: Path) -> Path:
    """Return the place of a figure's tidy table in the folder of its paper."""
    return folder / DATA_FOLDER / f"{name}.csv"


def write_table(table: pl.DataFrame, name: str, folder: Path) -> Path:
    """Write the tidy table of a figure, and return where it lies."""
    path = table_path(name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside: the next drawing may read it, and this one may be killed.
    unfinished = path.with_suffix(".csv.tmp")
    table.write_csv(unfinished, float_precision=6)
    unfinished.replace(path)
    return path


def write_html(figure: go.Figure, name: str, folder: Path) -> Path:
    """Write an interactive page, and return where it lies; all pages of a folder share one plotly.min.js."""
    path = folder / f"{name}.html"
    figure.write_html(path, include_plotlyjs="directory", full_html=True)
    return path


def write_images(figures: Mapping[Path, go.Figure]) -> str | None:
    """Write PNG and SVG of every figure, in one browser session; returns why there are none, or None.

    Args:
        figures: by the path of its files without their ending.
    """
    try:
        import kaleido
        from choreographer import errors
    except ImportError:
        return "kaleido is not installed (pip install 'rtinterp[images]')"
    images = [
        {
            "fig": figure.to_dict(),
            "path": path.with_name(f"{path.name}.{image_format}"),
            "opts": {"format": image_format, "scale": PNG_SCALE if image_format == "png" else 1},
        }
        for path, figure in figures.items()
        for image_format in IMAGE_FORMATS
    ]
    try:
        kaleido.write_fig_from_object_sync(images, kopts={"n": 1, "mathjax": False})
    except errors.ChromeNotFoundError:
        return "no Chrome or Chromium was found on this machine"
    except (errors.BrowserFailedError, errors.BrowserClosedError) as error:
        return f"the browser does not start: {error}"
    return None
