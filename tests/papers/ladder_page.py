"""What figures/ladder/README.md says, and what the shipped tables hold, to be compared."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

FOLDER = Path(__file__).parents[2] / "figures" / "ladder"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


def table(name: str) -> pl.DataFrame:
    return pl.read_csv(FOLDER / "data" / f"{name}.csv", infer_schema_length=None)


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def spread(runs: pl.DataFrame, column: str = "accuracy") -> str:
    """Median, and the least and most of the seeds, in %."""
    least, median, most = (getattr(runs[column], name)() for name in ("min", "median", "max"))
    return f"{percent(median)} {ends(least, most)}".strip()


def ends(least: float, most: float) -> str:
    """The least and most in brackets, unless they are printed alike."""
    low, high = percent(least), percent(most)
    return "" if low == high else f"({low} to {high})"


def said(pattern: str) -> list[float]:
    """The numbers in the one place of the page that reads so; # stands for a number."""
    text = " ".join(PAGE.split())
    (found,) = re.findall(re.escape(pattern).replace(r"\#", r"(-?[\d.]+)"), text)
    return [float(number.rstrip(".")) for number in ([found] if isinstance(found, str) else found)]
